"""The bell."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flash_driver.journal.wakeup import Bell


async def test_wakes_everybody_at_once() -> None:
    """One ring wakes all who wait, and nobody who starts waiting afterwards."""
    bell = Bell()
    with bell.waiting() as first, bell.waiting() as second:
        bell.ring()
        bell.ring()
        async with asyncio.timeout(20):
            await asyncio.gather(first, second)
    with bell.waiting() as third:
        await asyncio.sleep(0)
        assert not third.done()
    assert third.cancelled()


async def test_rings_across_threads() -> None:
    """A ring from another thread wakes who waits on this loop."""
    bell = Bell()
    with bell.waiting() as ring:
        thread = threading.Thread(target=bell.ring)
        thread.start()
        async with asyncio.timeout(20):
            await ring
        thread.join()


def test_a_closed_loop_harms_nobody() -> None:
    """A waiter whose loop is closed is passed over."""
    bell = Bell()

    async def wait() -> None:
        bell.waiting().__enter__()

    asyncio.run(wait())
    bell.ring()


async def test_tells_when_somebody_begins_to_wait() -> None:
    """Whatever rings the bell can begin its work at the first waiter."""
    begun: list[None] = []
    bell = Bell(lambda: begun.append(None))
    assert begun == []
    with bell.waiting():
        assert begun == [None]


async def test_nobody_is_left_waiting_after_a_failed_start() -> None:
    """When what rings can't begin, nobody is taken for a waiter."""

    def fail() -> None:
        raise RuntimeError("no")

    bell = Bell(fail)
    with pytest.raises(RuntimeError, match="no"), bell.waiting():
        pass
    assert bell._waiting == set()
