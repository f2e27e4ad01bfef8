"""Holds that many accounts open in one process and does nothing with them; see `accounts.py`."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightningClientFactory
from flash_driver.settlements.health import Listening
from tests.benchmarks.children import heed, obey, tell
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

_AT_ONCE: Final = 20


async def carry_out(order: Mapping[str, Any]) -> None:
    """Listen on one account to have everything loaded, then on that many more, and see what they cost while idle."""
    factory = LightningClientFactory()
    async with AsyncExitStack() as stack:
        clients: list[Any] = []

        async def open_account(number: int) -> None:
            client = await stack.enter_async_context(factory.create(f"{order['string']};token={_token(number)}"))
            await stack.enter_async_context(await client.listen())
            clients.append(client)

        await open_account(0)
        await until(lambda: _all_hear(clients))
        gc.collect()
        before = resident_bytes()
        began = time.perf_counter()
        for first in range(1, order["accounts"] + 1, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, order["accounts"] + 1))
            await asyncio.gather(*(open_account(number) for number in numbers))
        await until(lambda: _all_hear(clients), 120)
        opened = time.perf_counter() - began
        gc.collect()
        grown = resident_bytes() - before
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(order["idle_seconds"])
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        tell(
            bytes_each=grown / order["accounts"],
            cpu_each=cpu / took / len(clients) * 1e6,
            seconds_to_open=opened,
            tasks_each=(len(asyncio.all_tasks()) - 1) / len(clients),
        )
        await heed()


def resident_bytes() -> int:
    """Return how much memory this process holds at this moment."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _token(number: int) -> str:
    return f"ory_st_{number:032d}"


def _all_hear(clients: list[Any]) -> bool:
    return all(client.health.listening is Listening.HEARING for client in clients)


if __name__ == "__main__":
    obey(carry_out)
