"""Tells the log once of what may come again and again, and of a flood no more than its beginning."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.common.log import Log

__all__ = ["LogOnce"]

_MOST_OF_A_KIND: Final = 50
_PERIOD_SECONDS: Final = 3600.0


@dataclass(slots=True)
class _Kind:
    """What was told of one kind of event in the period that began at `since`."""

    since: float
    told: set[tuple[str, ...]] = field(default_factory=set)


class LogOnce:
    """Warns of each thing once an hour, and of each kind of event a limited number of times an hour.

    A server that sends something odd with each message can neither fill the log nor the memory.

    Args:
        log: Where to warn.
        most_of_a_kind: How many different things of one kind are told in an hour; then one line says that more follow.
        clock: A steady clock, in seconds.

    """

    def __init__(
        self, log: Log, most_of_a_kind: int = _MOST_OF_A_KIND, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._most = most_of_a_kind
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def __call__(self, event: str, **what: str) -> None:
        """Warn of an event, unless it was told with these very words, or too many of its kind were."""
        now = self._clock()
        kind = self._kinds.get(event)
        if kind is None or now - kind.since >= _PERIOD_SECONDS:
            kind = self._kinds[event] = _Kind(now)
        words = tuple(what.values())
        if words in kind.told or len(kind.told) > self._most:
            return
        kind.told.add(words)
        if len(kind.told) > self._most:
            self._log.warning("more of the same kind is not logged for an hour", kind=event)
        else:
            self._log.warning(event, **what)
