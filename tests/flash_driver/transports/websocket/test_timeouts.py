from __future__ import annotations

import asyncio

from flash_driver.common.deadline import Deadline
from flash_driver.transports.websocket.timeouts import Expiry
from tests.support.waiting import until


class Thing:
    """Notes when it expires."""

    def __init__(self) -> None:
        self.expired_at: list[float] = []

    def expire(self) -> None:
        """Note it."""
        self.expired_at.append(asyncio.get_running_loop().time())


async def test_each_expires_once_and_not_before_its_time() -> None:
    """What is not lifted expires once, whatever shares its moment."""
    expiry = Expiry()
    deadlines = [Deadline.after(number / 300) for number in range(30)]
    things = [Thing() for _ in deadlines]
    for thing, deadline in zip(things, deadlines, strict=True):
        expiry.set(thing, deadline)
    await until(lambda: all(thing.expired_at for thing in things))
    await asyncio.sleep(0.1)
    assert [len(thing.expired_at) for thing in things] == [1] * 30
    assert all(thing.expired_at[0] >= deadline.at for thing, deadline in zip(things, deadlines, strict=True))


async def test_what_is_lifted_lives_on() -> None:
    """Lifting one leaves the others of the same moment as they are; lifting late or twice does no harm."""
    expiry, kept, lifted = Expiry(), Thing(), Thing()
    deadline = Deadline.after(0.05)
    moments = [expiry.set(thing, deadline) for thing in (kept, lifted)]
    for _ in range(2):
        expiry.lift(lifted, moments[1])
    await until(lambda: bool(kept.expired_at))
    expiry.lift(kept, moments[0])
    assert lifted.expired_at == []


async def test_a_deadline_that_has_passed() -> None:
    """What is overdue already expires soon."""
    thing = Thing()
    Expiry().set(thing, Deadline.after(-5))
    await until(lambda: bool(thing.expired_at))


async def test_nothing_lifted_is_kept() -> None:
    """Deadlines that were never reached hold on to nothing."""
    expiry = Expiry()
    for _ in range(1000):
        thing = Thing()
        expiry.lift(thing, expiry.set(thing, Deadline.after(20)))
    assert sum(len(there) for there in expiry._moments.values()) == 0
    assert len(expiry._moments) < 100
