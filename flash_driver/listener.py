"""A listener: each settled invoice once, in the order of the journal's settle index."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from connection_strings.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from connection_strings.errors import LightningError
    from connection_strings.lightning import LightningInvoice
    from flash_driver.journal.base import InvoiceRecord, Journal

__all__ = ["FlashInvoiceListener", "parse_cursor"]


class FlashInvoiceListener:
    """Hears of settled invoices through the journal, so that a lost event or connection loses none.

    Args:
        journal: Where settlements get their place.
        after: The settle index after which to begin.
        failure: Tells why nothing can be heard any more, if that is so.
        on_close: Called once, when the listener is closed.

    """

    def __init__(
        self,
        journal: Journal,
        after: int,
        failure: Callable[[], LightningError | None],
        on_close: Callable[[FlashInvoiceListener], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._index = after
        self._failure = failure
        self._on_close = on_close
        self._ready: deque[InvoiceRecord] = deque()
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()

    @property
    def cursor(self) -> str:
        """Where this listener stands; `listen(after=cursor)` goes on behind the last invoice it gave out."""
        return f"{self._journal.id}:{self._index}"

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice; several callers at once get one each.

        Raises:
            LightningError: Settlements can't be heard any more, because the token is refused.
            asyncio.CancelledError: The listener was closed.

        """
        async with self._turn:
            record = await self._next()
            self._index = record.settle_index or self._index
            return record.invoice

    async def aclose(self) -> None:
        """Stop listening; a pending `wait_invoice` is cancelled."""
        if not self._closed.is_set():
            self._closed.set()
            self._journal.bell.ring()
            await self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LightningInvoice:
        try:
            return await self.wait_invoice()
        except asyncio.CancelledError:
            if self._closed.is_set() and not _being_cancelled():
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next(self) -> InvoiceRecord:
        while True:
            with self._journal.bell.waiting() as rung:
                if self._closed.is_set():
                    raise asyncio.CancelledError("the listener was closed")
                if not self._ready:
                    self._ready.extend(await self._journal.settled_after(self._index))
                if self._ready:
                    return self._ready.popleft()
                if (failure := self._failure()) is not None:
                    raise failure
                await rung


def parse_cursor(cursor: str, journal_id: str, last_index: int) -> int:
    """Return the settle index that a cursor stands for.

    Raises:
        InvalidRequest: It is not a cursor, belongs to another journal, or points beyond the last settlement.

    """
    owner, _, index = cursor.rpartition(":")
    if not owner or not index.isascii() or not index.isdigit():
        raise InvalidRequest("after", "is not a cursor; pass a listener's `cursor`")
    if owner != journal_id:
        raise InvalidRequest("after", "belongs to another journal; listen without it, and compare with list_invoices")
    if int(index) > last_index:
        raise InvalidRequest("after", "points beyond the last settlement of this journal")
    return int(index)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
