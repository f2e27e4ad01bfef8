from __future__ import annotations

from structlog.testing import capture_logs

from flash_driver.common.log import get_logger
from flash_driver.transports.call_log import CallLog, shown


def test_names() -> None:
    """A transport is named as a person reads it; an unknown one by its own name."""
    assert [shown(name) for name in ("websocket", "http", "graphql", "pigeon")] == [
        "WebSocket",
        "HTTP",
        "GraphQL client",
        "pigeon",
    ]


def test_story() -> None:
    """The steps of a call at INFO, each told once, with the facts as values."""
    with capture_logs() as entries:
        call_log = CallLog(get_logger(amount="5"), "creating invoice", "invoice created")
        call_log.attempting("websocket")
        call_log.attempting("websocket")
        for _ in range(2):
            call_log.falling_back("websocket", "http", "refused")
        call_log.falling_back("websocket", "http", "another reason")
        call_log.sending("http")
        call_log.done("http", payment_hash="aa")
        call_log.skipping("graphql", "HTTP 401")
    assert [(entry["log_level"], entry["event"]) for entry in entries] == [
        ("info", "attempting WebSocket"),
        ("info", "fell back to HTTP because WebSocket failed"),
        ("info", "fell back to HTTP because WebSocket failed"),
        ("info", "creating invoice via HTTP"),
        ("info", "invoice created via HTTP"),
        ("debug", "passing over GraphQL client"),
    ]
    assert all(entry["amount"] == "5" for entry in entries)
    assert (entries[1]["transport"], entries[1]["failed"], entries[1]["why"]) == ("http", "websocket", "refused")
    assert (entries[4]["transport"], entries[4]["payment_hash"]) == ("http", "aa")
