"""Fixtures for every test: a clean environment, a sandbox on demand, clients that share nothing between tests."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.driver import Bench
from tests.support.garbage import KeepsWhatWasRead
from tests.support.measuring import Measuring
from tests.support.order import longest_first
from tests.support.postgres import MISSING, PostgresServer, binaries
from tests.support.thorough import THOROUGH, cases
from tests.support.unhurried import unhurry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


# A busy machine is not a wrong answer: pytest's own time limit is the one that counts. The suite tries the same
# examples each time, so that it says the same of the same code.
settings.register_profile(
    "flash",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=cases(30, 400),
    derandomize=not THOROUGH,
)
settings.load_profile("flash")


def pytest_configure(config: pytest.Config) -> None:
    """Let coverage trace no more than it measures, and the collector look at no more than what tests make."""
    config.pluginmanager.register(Measuring())
    config.pluginmanager.register(KeepsWhatWasRead())


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run two processes for each core of a small machine: the tests wait for half of their time."""
    cores = os.cpu_count() or 1
    return min(2 * cores, max(cores, 8)) if config.option.numprocesses == "auto" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take long, where several processes share the work: none of them is the last."""
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out, and what tests do out of the developer's files."""
    for name in [name for name in os.environ if name.startswith(("FLASH_", "LIGHTNING_HOST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLASH_JOURNAL_URL", "memory:")
    monkeypatch.setenv("FLASH_LINGER_SECONDS", "0")


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing fail that a busy machine does late."""
    unhurry(monkeypatch.setattr)


@pytest.fixture(scope="session", autouse=True)
def _signals_as_in_a_terminal() -> None:
    """Let Ctrl-C reach the programs that tests start: a shell that runs the tests in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server; without its binaries the test is skipped, in CI it fails."""
    folder = binaries()
    if folder is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    with PostgresServer(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_logging_from_other_tests() -> Iterator[None]:
    """Let a test that records logs leave nothing configured: structlog as it comes, and no handler of another test."""
    loggers = [logging.getLogger(name) for name in (None, "flash_driver", "lightning_host")]
    before = [list(logger.handlers) for logger in loggers]
    yield
    for logger, handlers in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a workbench that starts sandboxes and makes clients, and clears everything away afterwards."""
    async with AsyncExitStack() as stack:
        yield Bench(stack)
