from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import CapturingLoggerFactory

from flash_driver.common.log import LogOnce, get_logger
from tests.support.logs import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _structlog_as_it_comes() -> None:
    """Forget what other tests did: recording events counts as configuring structlog."""
    structlog.reset_defaults()


@pytest.fixture
def structlog_of_the_host() -> Iterator[CapturingLoggerFactory]:
    """Configure structlog as a host might, and take that back."""
    factory = CapturingLoggerFactory()
    structlog.configure(
        processors=[structlog.processors.add_log_level],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    yield factory
    structlog.reset_defaults()


def test_into_the_hosts_structlog(structlog_of_the_host: CapturingLoggerFactory) -> None:
    """A host with structlog gets events with key-value pairs, at its own level."""
    log = get_logger(transport="http").bind(payment_hash="aa")
    log.debug("too fine")
    log.info("told", amount=5)
    calls = structlog_of_the_host.logger.calls
    assert [(call.method_name, call.kwargs) for call in calls] == [
        ("info", {"event": "told", "transport": "http", "payment_hash": "aa", "amount": 5, "level": "info"})
    ]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_each_level_keeps_its_name(level: str) -> None:
    """A host's wrapper of any kind gets the method that belongs to the level."""
    with structlog.testing.capture_logs() as entries:
        getattr(get_logger(), level)("told", key="value")
    assert entries == [{"event": "told", "key": "value", "log_level": level}]


@pytest.mark.parametrize("wrapper", [structlog.stdlib.BoundLogger, structlog.BoundLogger])
def test_any_wrapper_of_structlog_will_do(wrapper: Any, structlog_of_the_host: CapturingLoggerFactory) -> None:
    """Also loggers that only forward the call are called as they expect."""
    structlog.configure(wrapper_class=wrapper)
    get_logger().warning("told", key="value")
    (call,) = structlog_of_the_host.logger.calls
    assert (call.method_name, call.kwargs["event"], call.kwargs["key"]) == ("warning", "told", "value")


async def test_asynchronous_loggers_lose_nothing(structlog_of_the_host: CapturingLoggerFactory) -> None:
    """A host whose loggers are awaited gets each line all the same."""
    structlog.configure(wrapper_class=structlog.stdlib.AsyncBoundLogger)
    get_logger().warning("told", key="value")
    (call,) = structlog_of_the_host.logger.calls
    assert (call.method_name, call.kwargs["event"], call.kwargs["key"]) == ("warning", "told", "value")


class OnlyAwaited(structlog.BoundLogger):
    """A logger of a host's own whose methods can only be awaited."""

    async def warning(self, event: str, **values: Any) -> None:
        """Log."""


@pytest.mark.parametrize("wrapper", [structlog.BoundLogger, OnlyAwaited])
@pytest.mark.usefixtures("structlog_of_the_host")
def test_a_logger_that_fails_changes_no_result(wrapper: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What a processor of the host raises stays there, and the line goes to the standard logger."""

    def explode(*_: object) -> Any:
        raise KeyError("amount")

    structlog.configure(wrapper_class=wrapper, processors=[explode])
    get_logger().warning("told", key="value")
    (record,) = caplog.records
    assert record.getMessage().startswith("told key=value structlog_failed=")


@pytest.mark.usefixtures("structlog_of_the_host")
def test_where_every_logger_fails_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard logger whose handlers raise as well stops nobody."""

    def explode(*_: object, **__: object) -> Any:
        raise OSError("the disk is full")

    structlog.configure(processors=[explode])
    monkeypatch.setattr(logging.getLogger("flash_driver"), "log", explode)
    get_logger().error("told")


def test_into_logging_without_structlog(caplog: pytest.LogCaptureFixture) -> None:
    """Any other host finds one readable line under `flash_driver`, located where it was logged."""
    assert not structlog.is_configured()
    with caplog.at_level(logging.DEBUG, "flash_driver"):
        get_logger(transport="http").info("fell back", why="HTTP 401", hash="aa", none=None)
    (record,) = caplog.records
    assert record.getMessage() == "fell back transport=http why='HTTP 401' hash=aa none=None"
    assert (record.name, record.levelno, record.funcName) == (
        "flash_driver",
        logging.INFO,
        "test_into_logging_without_structlog",
    )


def test_silent_below_warning_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """A host that asks for nothing gets warnings and nothing below."""
    log = get_logger()
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"a {level}")
    assert [record.getMessage() for record in caplog.records] == ["a warning", "a error"]


@pytest.mark.parametrize("value", ["a\nb", "a\r[INFO] forged", "", "a=b", 'a"b', "a b", "\x1b[31m"])
def test_values_keep_to_their_line(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a server says can neither break a line nor look like another key."""
    get_logger().warning("told", why=value)
    (record,) = caplog.records
    assert record.getMessage() == f"told why={value!r}"


def test_percent_signs_are_text(caplog: pytest.LogCaptureFixture) -> None:
    """An event with a percent sign is not taken for a format."""
    get_logger().warning("100 %s %d")
    assert caplog.records[0].getMessage() == "100 %s %d"


def test_binding_leaves_the_logger_as_it_was() -> None:
    """A bound logger is a new one."""
    log = get_logger(a=1)
    log.bind(b=2)
    with structlog.testing.capture_logs() as entries:
        log.info("told")
    assert entries == [{"event": "told", "a": 1, "log_level": "info"}]


def test_importing_the_driver_configures_nothing() -> None:
    """Neither structlog nor logging is touched by the import of the driver and all its transports."""
    code = (
        "import logging, structlog\n"
        "before = (logging.root.level, list(logging.root.handlers))\n"
        "import flash_driver.transports.gql_client, flash_driver.transports.http, flash_driver.transports.router\n"
        "assert not structlog.is_configured()\n"
        "assert (logging.root.level, list(logging.root.handlers)) == before\n"
        "ours = [log for name, log in logging.root.manager.loggerDict.items() if name.startswith('flash_driver')]\n"
        "assert all(log.level == logging.NOTSET and not log.handlers for log in ours)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=root, timeout=50)


def test_each_thing_is_told_once() -> None:
    """The same event with other words is another thing; the same words again are not told."""
    tell_once = LogOnce(get_logger(part="test"))
    with recorded() as story:
        for _ in range(3):
            tell_once("odd", what="a")
            tell_once("odd", what="b")
            tell_once("strange", what="a")
    assert story.entries == [
        {"event": "odd", "what": "a", "part": "test", "log_level": "warning"},
        {"event": "odd", "what": "b", "part": "test", "log_level": "warning"},
        {"event": "strange", "what": "a", "part": "test", "log_level": "warning"},
    ]


def test_a_flood_is_cut_short() -> None:
    """Of a flood of different things the first are told, then that there are more; the next hour begins again."""
    now = [0.0]
    tell_once = LogOnce(get_logger(), most_of_a_kind=3, clock=lambda: now[0])
    with recorded() as story:
        for number in range(10):
            tell_once("odd", what=str(number))
        tell_once("strange", what="a")
        now[0] = 3600.0
        tell_once("odd", what="9")
    told = [(entry["event"], entry.get("what")) for entry in story.entries]
    assert told == [
        *(("odd", str(number)) for number in range(3)),
        ("more of the same kind is not logged for an hour", None),
        ("strange", "a"),
        ("odd", "9"),
    ]
