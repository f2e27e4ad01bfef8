from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import structlog

from flash_driver.cli.logs import log_to
from flash_driver.cli.output import Output
from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    import pytest


def test_events_reach_whoever_listens() -> None:
    """Level, event and values of each event arrive; nothing goes anywhere else."""
    heard: list[tuple[str, str, dict[str, object]]] = []
    with log_to(Output(), lambda *event: heard.append((event[0], event[1], dict(event[2])))):
        get_logger(part="x").info("something happened", count=1)
    assert heard == [("info", "something happened", {"part": "x", "count": 1})]


def test_silent_without_listeners(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that nobody asked to be verbose shows no warning of the driver, nor of libraries below it."""
    with log_to(Output()):
        get_logger().warning("a detail")
        logging.getLogger("flash_driver.websockets").warning("another")
    assert capsys.readouterr() == ("", "")


def test_verbose_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """With --verbose each event is one line on standard error, also of libraries below the driver."""
    with log_to(Output(verbose=True)):
        get_logger().info("attempting WebSocket", transport="websocket")
        logging.getLogger("flash_driver.websockets").warning("hm")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["info    attempting WebSocket transport=websocket", "warning hm"]


def test_configuration_is_left_as_found() -> None:
    """Afterwards structlog is as it was, configured or not."""
    assert not structlog.is_configured()
    with log_to(Output()):
        assert not structlog.is_configured()
    with log_to(Output(verbose=True)):
        assert structlog.is_configured()
    assert not structlog.is_configured()
    structlog.configure(cache_logger_on_first_use=False)
    try:
        before = structlog.get_config()
        with log_to(Output(verbose=True)):
            pass
        assert structlog.is_configured()
        assert structlog.get_config() == before
    finally:
        structlog.reset_defaults()
