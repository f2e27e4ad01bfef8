from __future__ import annotations

import asyncio
import random

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.transports.websocket.in_flight import Expiry, Slots
from tests.support.waiting import until


async def test_free_places_are_taken_at_once() -> None:
    """As many as there are places come in without waiting, and one who leaves makes room."""
    slots = Slots(2)
    assert [slots.enter_at_once() for _ in range(3)] == [True, True, False]
    slots.leave()
    assert slots.enter_at_once()


async def test_those_who_wait_come_in_by_the_order_they_came() -> None:
    """A place goes to who waits longest, and nobody slips past those who wait."""
    slots, entered = Slots(1), list[int]()
    assert slots.enter_at_once()

    async def come(number: int) -> None:
        assert await slots.enter(Deadline.after(20))
        entered.append(number)
        slots.leave()

    comers = [asyncio.create_task(come(number)) for number in range(5)]
    await asyncio.sleep(0)
    slots.leave()
    assert not slots.enter_at_once()
    await asyncio.gather(*comers)
    assert entered == [0, 1, 2, 3, 4]
    assert slots.enter_at_once()


async def test_who_gets_no_place_in_time_holds_none() -> None:
    """After a wait in vain the place goes to the next one."""
    slots = Slots(1)
    assert slots.enter_at_once()
    assert not await slots.enter(Deadline.after(0.01))
    slots.leave()
    assert await slots.enter(Deadline.after(0.01))


async def test_place_that_comes_too_late_is_passed_on() -> None:
    """Who is cancelled in the very moment that a place is free leaves it to others."""
    slots = Slots(1)
    assert slots.enter_at_once()
    waiting = [asyncio.create_task(slots.enter(Deadline.after(20))) for _ in range(2)]
    await asyncio.sleep(0)
    slots.leave()
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert await waiting[1]


async def test_who_gives_up_in_the_moment_that_another_leaves() -> None:
    """A place goes to the next one if the first of those who wait has just been cancelled."""
    slots = Slots(1)
    assert slots.enter_at_once()
    waiting = [asyncio.create_task(slots.enter(Deadline.after(20))) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    slots.leave()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert await waiting[1]


async def test_no_place_is_lost_or_made_up() -> None:
    """Whatever comers do, no more are inside than there are places, and at the end all places are free."""
    chance, places, inside, most = random.Random(7), 3, 0, 0  # noqa: S311 - no secret
    slots = Slots(places)

    async def come() -> None:
        nonlocal inside, most
        await asyncio.sleep(chance.random() / 50)
        if not await slots.enter(Deadline.after(chance.random() / 50)):
            return
        inside += 1
        most = max(most, inside)
        try:
            await asyncio.sleep(chance.random() / 200)
        finally:
            inside -= 1
            slots.leave()

    comers = [asyncio.create_task(come()) for _ in range(300)]
    for comer in comers[::7]:
        await asyncio.sleep(0)
        comer.cancel()
    await asyncio.gather(*comers, return_exceptions=True)
    assert most == places
    assert [slots.enter_at_once() for _ in range(places + 1)] == [True, True, True, False]


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
    for thing in (kept, lifted):
        expiry.set(thing, deadline)
    for _ in range(2):
        expiry.lift(lifted, deadline)
    await until(lambda: bool(kept.expired_at))
    expiry.lift(kept, deadline)
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
        thing, deadline = Thing(), Deadline.after(20)
        expiry.set(thing, deadline)
        expiry.lift(thing, deadline)
    assert sum(len(there) for there in expiry._moments.values()) == 0
    assert len(expiry._moments) < 100
