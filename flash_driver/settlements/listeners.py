"""Listeners: each settled invoice once, in the order of the journal's settle index.

The journal is read once for all listeners of an account (`SettlementTail`); each of them (`FlashInvoiceListener`) goes
through what was read at its own pace; `Listeners` keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from connection_strings.errors import InvalidRequest, LightningError
from flash_driver.common.log import LogOnce, get_logger
from flash_driver.common.tasks import TaskSet, being_cancelled
from flash_driver.settlements.health import ListeningState
from flash_driver.settlements.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from connection_strings.lightning import LightningInvoice
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.health import Health
    from flash_driver.settlements.timing import WatchTiming
    from flash_driver.settlements.watched import WatchedAccount
    from flash_driver.transports.websocket.transport import SocketTransport

__all__ = ["FlashInvoiceListener", "Listeners", "SettlementTail", "parse_cursor"]

_LONGEST_INDEX: Final = 18
_PAGE: Final = 100
"""How many settlements are read at once."""
_KEPT: Final = 1000
"""How many settlements are kept for listeners that lag behind; one that lags further reads the journal."""

_log: Final = get_logger(part="listeners")


class SettlementTail:
    """The latest settlements of an account, in the order of the settle index.

    A read that fails is tried again; listeners are told when that has gone on for longer than the journal's patience.
    A paid invoice whose amount is not known yet is held back, with those behind it, for the amount's patience.

    Args:
        journal: Where settlements get their place.
        timing: How long to wait for what.

    Attributes:
        news: Done at the next news, when another one takes its place: take it, look at what there is, then wait.
        journal_id: Which journal the settlements are of.
        floor: The settle index up to which settlements are in the journal only.
        failure: Why the journal can't be read, once that has gone on for too long.
        trouble: Why it could not be read the last time.

    """

    def __init__(self, journal: Journal, timing: WatchTiming) -> None:
        self._journal = journal
        self._timing = timing
        self._rows: list[InvoiceRecord] = []
        self._indexes: list[int] = []
        self._last = 0
        self._held: dict[str, float] = {}
        self._failing_since: float | None = None
        self._reading = TaskSet()
        self._tell_once = LogOnce(_log)
        self.news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.floor = 0
        self.journal_id = ""
        self.failure: LightningError | None = None
        self.trouble: str | None = None

    def start(self, last: int) -> None:
        """Begin to read behind a settle index of the journal, which is open; does nothing when it has begun."""
        if not self._reading:
            self._begin_at(last)
            self._failing_since = self.failure = self.trouble = None
            self._reading.start(self._run(), "settlement tail")

    async def aclose(self) -> None:
        """Stop reading."""
        await self._reading.aclose()

    def wake(self) -> None:
        """Let all who wait look again."""
        news, self.news = self.news, asyncio.get_running_loop().create_future()
        news.set_result(None)

    async def after(self, index: int) -> list[InvoiceRecord]:
        """Return settlements with a higher index than this, in their order, of which the journal may have more.

        Raises:
            LightningError: They are so old that the journal has to be read, which does not work now.

        """
        if index < self.floor and (older := await self._read_after(index)):
            return older
        return self._rows[bisect_right(self._indexes, index) :]

    async def in_journal_after(self, index: int) -> list[InvoiceRecord]:
        """Return what the journal has after an index; nothing when it can't be read now."""
        try:
            return await self._read_after(index)
        except LightningError:
            return []

    async def _read_after(self, index: int) -> list[InvoiceRecord]:
        journal_id = self.journal_id
        settled = await self._journal.settled_after(index)
        # The token may open another account by now, whose settlements are counted by themselves.
        return settled if journal_id == self._journal.id == self.journal_id else []

    def _begin_at(self, last: int) -> None:
        self.journal_id = self._journal.id
        self._rows, self._indexes = [], []
        self.floor = self._last = last
        self._held.clear()

    async def _run(self) -> None:
        while True:
            pause: float | None
            try:
                account = self._journal.owner.current or await self._journal.owner.account()
                with account.news.settled.waiting() as woken:
                    pause = await self._read()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await woken
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass, and listeners must not end at once
                self._fail(error)
                await asyncio.sleep(self._timing.journal)

    async def _read(self) -> float | None:
        """Take in what is new; returns after how many seconds to look again at the latest, None when all was taken."""
        while True:
            settled = await self._journal.settled_after(self._last, _PAGE)
            if self._journal.id != self.journal_id:
                # The token opens another account now, whose settlements are counted by themselves.
                self._begin_at(self._journal.owner.begins_at)
                self.wake()
                continue
            self._failing_since = self.failure = self.trouble = None
            if not settled:
                return None
            held = self._take(settled)
            self.wake()
            if held is not None or len(settled) < _PAGE:
                return held

    def _take(self, settled: list[InvoiceRecord]) -> float | None:
        """Take settlements in up to the first that is held back; returns for how long it is."""
        now = asyncio.get_running_loop().time()
        patience = self._timing.amount_patience
        for record in settled:
            if record.amount_received_msat is None:
                since = self._held.setdefault(record.payment_hash, now)
        for record in settled:
            since = self._held.get(record.payment_hash, now)
            if record.amount_received_msat is None and now - since < patience:
                return max(0.01, since + patience - now)
            self._held.pop(record.payment_hash, None)
            self._last = record.settle_index or self._last
            self._rows.append(record)
            self._indexes.append(self._last)
        if len(self._rows) > 2 * _KEPT:
            self.floor = self._indexes[-_KEPT - 1]
            self._rows, self._indexes = self._rows[-_KEPT:], self._indexes[-_KEPT:]
        return None

    def _fail(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._failing_since = now if self._failing_since is None else self._failing_since
        self.trouble = f"settlements can't be read: {error}"
        self._tell_once("settlements can't be read", why=str(error))
        if now - self._failing_since >= self._timing.journal_patience:
            broke = LightningError(f"settlements can't be read ({type(error).__name__})")
            self.failure = error if isinstance(error, LightningError) else broke
            self.wake()


class FlashInvoiceListener:
    """Gives out settled invoices as the journal has them, so that a lost event or connection loses none.

    Args:
        tail: The latest settlements of the account.
        after: The settle index after which to begin.
        state: Tells why settlements can't be learned of any more, if that is so.
        on_close: Called once, when the listener is closed.
        owner: What has to live as long as the listener does: the client that made it.
        timing: For how long a journal that can't be read is read again.

    """

    def __init__(
        self,
        tail: SettlementTail,
        after: int,
        *,
        state: ListeningState,
        on_close: Callable[[], Awaitable[None]],
        owner: object,
        timing: WatchTiming,
    ) -> None:
        self._tail = tail
        self._journal_id = tail.journal_id
        self._index = after
        self._state = state
        self._on_close = on_close
        self._owner: object = owner
        self._timing = timing
        self._ready: deque[InvoiceRecord] = deque()
        self._turn = asyncio.Lock()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def cursor(self) -> str:
        """Where this listener stands; `listen(after=cursor)` goes on behind the last invoice it gave out."""
        return f"{self._journal_id}:{self._index}"

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice; several callers at once get one each.

        A caller that is cancelled takes none: the next one gets it.

        Raises:
            LightningError: Settlements can't be learned of any more: the token is refused, or the journal can't be
                read for longer than `WatchTiming.journal_patience`.
            asyncio.CancelledError: The listener was closed.

        """
        async with self._turn:
            record = await self._next()
            # Nothing is awaited between taking the invoice and returning it, so no cancellation can come between.
            self._index = record.settle_index or self._index
            return record.invoice

    async def aclose(self) -> None:
        """Stop listening; a pending `wait_invoice` is cancelled."""
        if not self._closed.done():
            self._closed.set_result(None)
            self._owner = None
            await self._on_close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LightningInvoice:
        try:
            return await self.wait_invoice()
        except asyncio.CancelledError:
            if self._closed.done() and not being_cancelled():
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next(self) -> InvoiceRecord:
        failing_since: float | None = None
        while True:
            news = self._tail.news
            if self._closed.done():
                raise asyncio.CancelledError("the listener was closed")
            if not self._ready and self._tail.journal_id != self._journal_id:
                # The token opens another account now, whose settlements are counted by themselves.
                self._journal_id, self._index = self._tail.journal_id, self._tail.floor
            try:
                if not self._ready:
                    self._ready.extend(await self._tail.after(self._index))
                pause, failing_since = None, None
            except LightningError as error:
                now = asyncio.get_running_loop().time()
                failing_since = now if failing_since is None else failing_since
                if now - failing_since >= self._timing.journal_patience:
                    raise
                _log.debug("older settlements could not be read", why=str(error))
                pause = self._timing.journal
            if self._ready:
                return self._ready.popleft()
            failure = self._state.failure or self._tail.failure
            if failure is not None:
                # The tail may not have got to it yet: what was settled is told before the failure.
                self._ready.extend(await self._tail.in_journal_after(self._index))
                if not self._ready:
                    raise failure
                continue
            await asyncio.wait({news, self._closed}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)


class Listeners:
    """The listeners of one account: watcher and tail work while there is one, and no longer.

    A listener that is dropped without being closed leaves when it is garbage-collected.

    Args:
        account: What is watched.

    Attributes:
        watcher: Watches the account's invoices.

    """

    def __init__(self, account: WatchedAccount) -> None:
        self._account = account
        self._journal = account.journal
        self._timing = account.timing
        self._tail = SettlementTail(account.journal, account.timing)
        self._state = ListeningState(account.clock, on_failure=self._tail.wake)
        self.watcher = Watcher(account, self._state)
        self._present: dict[object, weakref.ref[FlashInvoiceListener]] = {}
        self._changing = asyncio.Lock()
        self._leaving = TaskSet()

    def health(self, transports: Mapping[str, str], socket: SocketTransport | None) -> Health:
        """Say how things stand; see `Watcher.health`."""
        return self.watcher.health(transports, socket, self._tail.trouble)

    async def watch(self, account: WatchedAccount) -> None:
        """Watch the account so from now on, such as by other ways; what is open is then taken up again."""
        async with self._changing:
            if account is self._account:
                return
            await self.watcher.stop()
            self._account = account
            self.watcher = Watcher(account, self._state)
            if self._present:
                await self.watcher.start()

    async def listen(self, after: str | None, owner: object) -> FlashInvoiceListener:
        """Start a listener, and the watcher if it is the first.

        Args:
            after: The cursor to go on from; None for from now on.
            owner: What has to live as long as the listener does.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        last = await self._journal.last_settle_index()
        index = last if after is None else parse_cursor(after, self._journal.id, last)
        async with self._changing:
            if self._state.failure is not None or self._tail.failure is not None:
                await self._stop()
            self._tail.start(last)
            await self.watcher.start()
            return self._add(index, owner)

    async def aclose(self) -> None:
        """Close every listener, and end the watcher, whichever of them fails to."""
        try:
            async with contextlib.AsyncExitStack() as each:
                for place in reversed(self._present.values()):
                    if (listener := place()) is not None:
                        each.push_async_callback(listener.aclose)
        finally:
            self._present.clear()
            try:
                await self._stop_if_unused()
            finally:
                await self._leaving.ended()

    def _add(self, index: int, owner: object) -> FlashInvoiceListener:
        place, loop = object(), asyncio.get_running_loop()
        listener = FlashInvoiceListener(
            self._tail,
            index,
            state=self._state,
            on_close=lambda: asyncio.shield(self._leave(place)),
            owner=owner,
            timing=self._timing,
        )
        self._present[place] = weakref.ref(listener)
        # Garbage is collected in any thread and at any moment, so what is to be done is left to the event loop.
        weakref.finalize(listener, _leave_later, loop, self, place).atexit = False
        return listener

    def _leave(self, place: object) -> asyncio.Task[None]:
        """Begin to leave; goes on to its end even if the caller is cancelled."""
        self._present.pop(place, None)
        return self._leaving.start(self._stop_if_unused(), "listener leaves")

    async def _stop_if_unused(self) -> None:
        async with self._changing:
            if not self._present:
                await self._stop()

    async def _stop(self) -> None:
        try:
            await self._tail.aclose()
        finally:
            await self.watcher.stop()


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
