from __future__ import annotations

import asyncio

from flash_driver.common.cancelling import being_cancelled


async def test_tells_whose_cancellation_it_is() -> None:
    """A task that is cancelled knows it, and one whose awaited future was cancelled knows that it was not meant."""

    async def wait(future: asyncio.Future[None]) -> bool:
        try:
            await future
        except asyncio.CancelledError:
            return being_cancelled()
        raise AssertionError

    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(2)]
    tasks = [asyncio.create_task(wait(future)) for future in futures]
    await asyncio.sleep(0)
    tasks[0].cancel()
    futures[1].cancel()
    assert await asyncio.gather(*tasks) == [True, False]
    assert not being_cancelled()
