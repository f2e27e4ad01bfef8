"""What many operations in flight share: a limited number of places, and one timer for all that fall due together."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from flash_driver.common.deadline import Deadline

__all__ = ["Expiring", "Expiry", "Slots"]

_PER_SECOND: Final = 32
"""How many moments a second has: what is overdue ends so much late at the most."""


class Slots:
    """A semaphore whose usual case, a free place and nobody waiting, awaits nothing.

    Args:
        places: How many may be inside.

    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    def enter_at_once(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self._free <= 0 or self._waiting:
            return False
        self._free -= 1
        return True

    async def enter(self, deadline: Deadline) -> bool:
        """Wait for a place until the deadline; returns whether one was got, which is then to be left."""
        if self.enter_at_once():
            return True
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline.at):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place came too late to be used
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def leave(self) -> None:
        """Give a place back: to who waits longest, if anybody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


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
