"""Ends what is overdue, with one timer for all that fall due together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from flash_driver.common.deadline import Deadline

__all__ = ["Expiring", "Expiry"]

_PER_SECOND: Final = 32
"""How many moments a second has: what is overdue ends so much late at the most."""


class Expiring(Protocol):
    """What has a deadline."""

    def expire(self) -> None:
        """Time is up."""
        ...


class Expiry:
    """Deadlines that are rarely reached: setting one and lifting it again costs no timer of its own."""

    __slots__ = ("_loop", "_moments")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._moments: dict[int, set[Expiring]] = {}

    def set(self, what: Expiring, deadline: Deadline) -> int:
        """Have something expire then, at most a thirtieth of a second later; returns what `lift` takes."""
        moment = int(deadline.at * _PER_SECOND) + 1
        there = self._moments.get(moment)
        if there is None:
            there = self._moments[moment] = set()
            self._loop.call_at(moment / _PER_SECOND, self._strike, moment)
        there.add(what)
        return moment

    def lift(self, what: Expiring, moment: int) -> None:
        """Let it live on."""
        if (there := self._moments.get(moment)) is not None:
            there.discard(what)

    def _strike(self, moment: int) -> None:
        for what in self._moments.pop(moment):
            what.expire()
