"""What coverage traces: each room by the tests that mirror it, and greenlets only where there are any.

Tracing doubles the time of everything that it watches, also where it looks away, and asking at every call which
greenlet runs doubles it again. So it is off where it adds no line to what is measured: in tests of the host, of whole
programs and of benchmarks, in tests of many cases (`given`, or marked `many_cases`), which run the same lines again and
again, and on PostgreSQL outside the room of SQL, where the same test runs on SQLite as well. Nor does it watch how
pytest reads the tests: what is measured has been imported before.
"""

from __future__ import annotations

from enum import Enum, auto
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any, Final

import pytest
from greenlet import getcurrent  # type: ignore[import-untyped]  # it has no types
from hypothesis import is_hypothesis_test

import connection_strings
import flash_driver

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Measuring"]

_MIRRORS: Final = ("tests/connection_strings/", "tests/flash_driver/")
_SQL: Final = "tests/flash_driver/journal/sql/"


class _Traced(Enum):
    NOTHING = auto()
    THREADS = auto()
    GREENLETS = auto()


class Measuring:
    """Lets coverage trace what the next test needs; does nothing where coverage isn't measured."""

    def __init__(self) -> None:
        self._traced: _Traced | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Import what is measured, then trace nothing until the first test."""
        controller = _controller(session.config)
        if controller is not None and not session.config.pluginmanager.has_plugin("dsession"):
            _import_all()
            controller.pause()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Change what is traced where this test needs something else than the one before."""
        controller = _controller(item.config)
        if controller is not None and (wanted := _wanted(item)) is not self._traced:
            self._traced = wanted
            _trace(controller, wanted)
        return (yield)


def _controller(config: pytest.Config) -> Any:
    plugin = config.pluginmanager.getplugin("_cov")
    return None if plugin is None else plugin.cov_controller


def _import_all() -> None:
    """Import every module that is measured, so that coverage sees the lines that run at import."""
    for package in (connection_strings, flash_driver):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(".__main__"):
                import_module(module.name)


def _wanted(item: pytest.Item) -> _Traced:
    if not item.nodeid.startswith(_MIRRORS) or _has_many_cases(item):
        return _Traced.NOTHING
    # SQLAlchemy calls PostgreSQL, and nothing else in these rooms, from greenlets.
    if "postgres" not in getattr(item, "fixturenames", ()) and "postgres" not in item.nodeid:
        return _Traced.THREADS
    return _Traced.GREENLETS if item.nodeid.startswith(_SQL) else _Traced.NOTHING


def _has_many_cases(item: pytest.Item) -> bool:
    return is_hypothesis_test(getattr(item, "obj", None)) or item.get_closest_marker("many_cases") is not None


def _trace(controller: Any, wanted: _Traced) -> None:
    controller.pause()
    if wanted is not _Traced.NOTHING:
        controller.cov._collector.concur_id_func = getcurrent if wanted is _Traced.GREENLETS else None
        controller.resume()
