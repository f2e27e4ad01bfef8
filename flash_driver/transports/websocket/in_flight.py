"""The operations of a connection that wait for their answers: how many, until when, and who wants one that is late."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from flash_driver.common.log import get_logger
from flash_driver.flash_api.outcomes import Evidence, TimedOut

if TYPE_CHECKING:
    from flash_driver.common.deadline import Deadline
    from flash_driver.transports.base import Late
    from flash_driver.transports.websocket.handshake import Limits

__all__ = ["EXPIRED", "Call", "Expiring", "Expiry", "InFlight", "Slots"]

EXPIRED: Final = TimedOut()
"""What a caller gets whose time is up."""

_log: Final = get_logger(transport="websocket")

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

    def set(self, what: Expiring, deadline: Deadline) -> None:
        """Have something expire then, at most a thirtieth of a second later."""
        moment = int(deadline.at * _PER_SECOND) + 1
        there = self._moments.get(moment)
        if there is None:
            there = self._moments[moment] = set()
            self._loop.call_at(moment / _PER_SECOND, self._strike, moment)
        there.add(what)

    def lift(self, what: Expiring, deadline: Deadline) -> None:
        """Let it live on, that was to expire then."""
        if (there := self._moments.get(int(deadline.at * _PER_SECOND) + 1)) is not None:
            there.discard(what)

    def _strike(self, moment: int) -> None:
        for what in self._moments.pop(moment):
            what.expire()


class Call:
    """An operation that is due exactly one answer.

    Args:
        late: Called with an answer that comes after the caller stopped waiting; None where nobody wants it then.

    Attributes:
        answer: What the caller waits for.
        began: When it was written, on the event loop's clock.

    """

    __slots__ = ("_late", "answer", "began")

    def __init__(self, late: Late | None) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Evidence] = loop.create_future()
        self.began = loop.time()
        self._late = late

    @property
    def awaited_late(self) -> bool:
        """Whether the answer is of use to somebody after its caller is gone."""
        return self._late is not None

    def expire(self) -> None:
        """Tell the caller that time is up."""
        if not self.answer.done():
            self.answer.set_result(EXPIRED)

    def settle(self, evidence: Evidence) -> None:
        """Give the answer to the caller, or to `late` if the caller is gone."""
        if not self.answer.done():
            self.answer.set_result(evidence)
        else:
            self._settle_late(evidence)

    def give_up(self) -> None:
        """The caller is gone: an answer that lies ready for it goes to `late`."""
        if self.answer.done() and not self.answer.cancelled() and (ready := self.answer.result()) is not EXPIRED:
            self._settle_late(ready)

    def _settle_late(self, evidence: Evidence) -> None:
        """Give the answer to `late`; what goes wrong there must not take the reader of the socket down."""
        if self._late is None:
            return
        try:
            self._late(evidence)
        except Exception as error:  # noqa: BLE001 - somebody else's code, called by the reader that everybody depends on
            _log.error("a late answer could not be taken in", error=type(error).__name__)


class InFlight:
    """The operations that one connection has written, by their ids.

    Args:
        limits: How many may wait at once, and of how many abandoned ones a late answer is still recognised.

    Attributes:
        slots: The places; each operation takes one before it is written.
        calls: What waits for its answer, the oldest first.
        late: What nobody waits for any more, though somebody wants the answer.

    """

    def __init__(self, limits: Limits) -> None:
        self.slots = Slots(limits.max_in_flight)
        self.calls: dict[str, Call] = {}
        self.late: dict[str, Call] = {}
        self._expiry = Expiry()
        self._most_late = limits.max_late

    def begin(self, operation_id: str, late: Late | None, deadline: Deadline) -> Call:
        """Wait for the answer to an operation that is about to be written."""
        call = self.calls[operation_id] = Call(late)
        self._expiry.set(call, deadline)
        return call

    def end(self, operation_id: str, call: Call, deadline: Deadline) -> None:
        """Stop waiting for an answer, but remember for a while who would want it late."""
        self._expiry.lift(call, deadline)
        if not call.answer.done():
            call.answer.cancel()
        if self.calls.pop(operation_id, None) is None or not call.awaited_late:
            return
        self.late[operation_id] = call
        if len(self.late) > self._most_late:
            del self.late[next(iter(self.late))]

    def settle(self, operation_id: str, evidence: Evidence) -> None:
        """Give an answer to whom it is due; one that nobody knows of belongs to an operation given up long ago."""
        call = self.calls.pop(operation_id, None) or self.late.pop(operation_id, None)
        if call is not None:
            call.settle(evidence)

    def end_all(self, why: Evidence) -> None:
        """Tell everybody who still waits why no answer comes any more."""
        self.late.clear()
        calls, self.calls = self.calls, {}
        for call in calls.values():
            if not call.answer.done():
                call.answer.set_result(why)
