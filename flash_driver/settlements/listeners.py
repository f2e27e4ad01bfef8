"""Listeners: each settled invoice once, in the order of the journal's settle index."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from connection_strings.errors import InvalidRequest
from flash_driver.common.cancelling import being_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from connection_strings.errors import LightningError
    from connection_strings.lightning import LightningInvoice
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.watcher import Watcher

__all__ = ["FlashInvoiceListener", "Listeners", "parse_cursor"]

_LONGEST_INDEX: Final = 18


class FlashInvoiceListener:
    """Hears of settled invoices through the journal, so that a lost event or connection loses none.

    Args:
        journal: Where settlements get their place.
        after: The settle index after which to begin.
        failure: Tells why nothing can be heard any more, if that is so.
        on_close: Called once, when the listener is closed.

    Attributes:
        owner: What has to live as long as the listener does: the client that made it.

    """

    def __init__(
        self,
        journal: Journal,
        after: int,
        failure: Callable[[], LightningError | None],
        on_close: Callable[[], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._journal_id = journal.id
        self._index = after
        self._failure = failure
        self._on_close = on_close
        self._ready: deque[InvoiceRecord] = deque()
        self._turn = asyncio.Lock()
        self._closed = False
        self.owner: object = None

    @property
    def cursor(self) -> str:
        """Where this listener stands; `listen(after=cursor)` goes on behind the last invoice it gave out."""
        return f"{self._journal_id}:{self._index}"

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice; several callers at once get one each.

        A caller that is cancelled takes none: the next one gets it.

        Raises:
            LightningError: Settlements can't be heard any more, because the token is refused or the journal is lost.
            asyncio.CancelledError: The listener was closed.

        """
        async with self._turn:
            record = await self._next()
            # Nothing is awaited between taking the invoice and returning it, so no cancellation can come between.
            self._index = record.settle_index or self._index
            return record.invoice

    async def aclose(self) -> None:
        """Stop listening; a pending `wait_invoice` is cancelled."""
        if not self._closed:
            self._closed = True
            self.owner = None
            try:
                self._journal.wakeup.wake()
            finally:
                await self._on_close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LightningInvoice:
        try:
            return await self.wait_invoice()
        except asyncio.CancelledError:
            if self._closed and not being_cancelled():
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
            with self._journal.wakeup.waiting() as woken:
                if self._closed:
                    raise asyncio.CancelledError("the listener was closed")
                if not self._ready:
                    settled = await self._journal.settled_after(self._index)
                    if self._journal.id != self._journal_id:
                        # The token opens another account now, whose settlements are counted by themselves.
                        self._journal_id, self._index = self._journal.id, self._journal.owner.begins_at
                        continue
                    self._ready.extend(settled)
                if self._ready:
                    return self._ready.popleft()
                if (failure := self._failure()) is not None:
                    raise failure
                await woken


class Listeners:
    """The listeners of one account: the watcher works while there is one, and no longer.

    A listener that is dropped without being closed leaves when it is garbage-collected.
    """

    def __init__(self, journal: Journal, watcher: Watcher) -> None:
        self._journal = journal
        self._watcher = watcher
        self._present: dict[object, weakref.ref[FlashInvoiceListener]] = {}
        self._changing = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def listen(self, after: str | None) -> FlashInvoiceListener:
        """Start a listener, and the watcher if it is the first.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        index = await self._journal.last_settle_index()
        if after is not None:
            index = parse_cursor(after, self._journal.id, index)
        async with self._changing:
            if self._watcher.failure is not None:
                await self._watcher.stop()
            await self._watcher.start()
            return self._seat(index)

    async def aclose(self) -> None:
        """Close every listener, and end the watcher, whichever of them fails to."""
        try:
            async with contextlib.AsyncExitStack() as each:
                for seat in reversed(self._present.values()):
                    if (listener := seat()) is not None:
                        each.push_async_callback(listener.aclose)
        finally:
            self._present.clear()
            try:
                await self._stop_if_deserted()
            finally:
                await asyncio.gather(*self._leaving, return_exceptions=True)

    def _seat(self, index: int) -> FlashInvoiceListener:
        place, loop = object(), asyncio.get_running_loop()
        listener = FlashInvoiceListener(
            self._journal, index, lambda: self._watcher.failure, lambda: asyncio.shield(self._leave(place))
        )
        self._present[place] = weakref.ref(listener)
        # Garbage is collected in any thread and at any moment, so what is to be done is left to the event loop.
        weakref.finalize(listener, _leave_later, loop, self, place).atexit = False
        return listener

    def _leave(self, place: object) -> asyncio.Task[None]:
        """Begin to leave; goes on to its end even if whoever asked for it is cancelled."""
        self._present.pop(place, None)
        task = asyncio.get_running_loop().create_task(self._stop_if_deserted(), name="flash-driver listener leaves")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    async def _stop_if_deserted(self) -> None:
        async with self._changing:
            if not self._present:
                await self._watcher.stop()


def _leave_later(loop: asyncio.AbstractEventLoop, listeners: Listeners, place: object) -> None:
    if place in listeners._present:  # noqa: SLF001 - of this module; must not be a method, which would keep itself alive
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(listeners._leave, place)  # noqa: SLF001 - as above


def parse_cursor(cursor: object, journal_id: str, last_index: int) -> int:
    """Return the settle index that a cursor stands for.

    Raises:
        InvalidRequest: It is not a cursor, belongs to another journal, or points beyond the last settlement.

    """
    owner, _, index = cursor.rpartition(":") if isinstance(cursor, str) else ("", "", "")
    if not owner or not index.isascii() or not index.isdigit() or len(index) > _LONGEST_INDEX:
        raise InvalidRequest("after", "is not a cursor; pass a listener's `cursor`")
    if owner != journal_id:
        raise InvalidRequest("after", "belongs to another journal; listen without it, and compare with list_invoices")
    if int(index) > last_index:
        raise InvalidRequest("after", "points beyond the last settlement of this journal")
    return int(index)
