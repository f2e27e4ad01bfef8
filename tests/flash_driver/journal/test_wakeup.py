"""The wakeup."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flash_driver.journal.wakeup import Wakeup


async def test_wakes_everybody_at_once() -> None:
    """One call wakes all who wait, and nobody who starts waiting afterwards."""
    wakeup = Wakeup()
    with wakeup.waiting() as first, wakeup.waiting() as second:
        wakeup.wake()
        wakeup.wake()
        async with asyncio.timeout(20):
            await asyncio.gather(first, second)
    with wakeup.waiting() as third:
        await asyncio.sleep(0)
        assert not third.done()
    assert third.cancelled()


async def test_wakes_across_threads() -> None:
    """A call from another thread wakes who waits on this loop."""
    wakeup = Wakeup()
    with wakeup.waiting() as woken:
        thread = threading.Thread(target=wakeup.wake)
        thread.start()
        async with asyncio.timeout(20):
            await woken
        thread.join()


def test_a_closed_loop_harms_nobody() -> None:
    """A waiter whose loop is closed is passed over."""
    wakeup = Wakeup()

    async def wait() -> None:
        wakeup.waiting().__enter__()

    asyncio.run(wait())
    wakeup.wake()


async def test_tells_when_somebody_begins_to_wait() -> None:
    """What wakes them can begin its work at the first waiter."""
    begun: list[None] = []
    wakeup = Wakeup(lambda: begun.append(None))
    assert begun == []
    with wakeup.waiting():
        assert begun == [None]


async def test_nobody_is_left_waiting_after_a_failed_start() -> None:
    """When what rings can't begin, nobody is taken for a waiter."""

    def fail() -> None:
        raise RuntimeError("no")

    wakeup = Wakeup(fail)
    with pytest.raises(RuntimeError, match="no"), wakeup.waiting():
        pass
    assert wakeup._waiting == set()
