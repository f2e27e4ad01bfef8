from __future__ import annotations

import asyncio

import pytest

from flash_driver.accounts.calls import Calls


async def test_waits_for_the_last_call() -> None:
    """Those who wait are let go when no call is under way any more, however they overlap."""
    calls = Calls()
    await calls.ended(20)
    with calls.one():
        with calls.one():
            waiting = asyncio.create_task(calls.ended(20))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(20):
        await waiting


async def test_waits_no_longer_than_told() -> None:
    """A call that never ends holds nobody for ever."""
    calls = Calls()
    with calls.one():
        async with asyncio.timeout(20):
            await calls.ended(0.01)


async def test_a_call_that_fails_is_over() -> None:
    """A call that raises does not count any longer."""
    calls = Calls()
    with pytest.raises(ZeroDivisionError), calls.one():
        _ = 1 // 0
    async with asyncio.timeout(20):
        await calls.ended(20)
