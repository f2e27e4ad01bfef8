"""Tells the log once of what may come again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flash_driver.common.log import Log

__all__ = ["LogOnce"]

_REMEMBERED_AT_MOST: Final = 1000


class LogOnce:
    """Warns of each thing once.

    It remembers so many things at most, and then begins anew: a log that repeats itself after a thousand lines is
    better than a memory that grows.

    Args:
        log: Where to warn.
        at_most: How many things to remember.

    """

    def __init__(self, log: Log, at_most: int = _REMEMBERED_AT_MOST) -> None:
        self._log = log
        self._at_most = at_most
        self._told: set[tuple[str, ...]] = set()

    def __call__(self, event: str, **what: str) -> None:
        """Warn of an event, unless it has been told with these very words."""
        words = (event, *what.values())
        if words in self._told:
            return
        if len(self._told) >= self._at_most:
            self._told.clear()
        self._told.add(words)
        self._log.warning(event, **what)
