"""Taking what a listener tells in batches: what comes while the last batch is dealt with makes the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from connection_strings import LightningInvoice, LightningInvoiceListener

    Heard: TypeAlias = tuple[LightningInvoice, str]
    """An invoice, and where the listener stands behind it."""

__all__ = ["in_batches"]

_MOST: Final = 250


async def in_batches(listener: LightningInvoiceListener) -> AsyncGenerator[list[Heard], None]:
    """Yield what a listener tells until it ends, at most 250 together; to be closed by `aclosing`.

    Raises:
        Exception: What the listening ends with; all that came before has been given then.

    """
    heard: list[Heard] = []
    changed, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for invoice in listener:
            heard.append((invoice, listener.cursor))
            changed.set()
            if len(heard) >= _MOST:
                room.clear()
                await room.wait()

    reading = asyncio.create_task(read(), name="read what a listener tells")
    reading.add_done_callback(lambda _: changed.set())
    try:
        while heard or not reading.done():
            await changed.wait()
            changed.clear()
            batch = heard.copy()
            heard.clear()
            room.set()
            if batch:
                yield batch
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
