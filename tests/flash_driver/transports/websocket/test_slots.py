from __future__ import annotations

import asyncio
import random

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.transports.websocket.slots import Slots


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
