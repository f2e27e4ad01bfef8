"""What the driver told its log, for tests that read the story."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Story", "recorded"]


class Story:
    """The events of a stretch of a test."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries

    @property
    def steps(self) -> list[str]:
        """The INFO events about creating an invoice, in order."""
        told = ("attempting", "WebSocket not connected", "creating invoice", "invoice created", "fell back")
        return [entry["event"] for entry in self.entries if entry["event"].startswith(told)]

    def entry(self, event: str) -> dict[str, Any]:
        """Return the one event with this text."""
        (found,) = [entry for entry in self.entries if entry["event"] == event]
        return dict(found)


@contextmanager
def recorded() -> Iterator[Story]:
    """Record what is logged inside the block, and leave structlog as configured, or not, as it was."""
    configured = structlog.is_configured()
    try:
        with capture_logs() as entries:
            yield Story(entries)
    finally:
        if not configured:
            structlog.reset_defaults()
