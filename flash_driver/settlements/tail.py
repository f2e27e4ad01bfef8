"""Reads what was settled in an account once, for all its listeners."""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.log import LogOnce, get_logger
from flash_driver.common.tasks import TaskSet

if TYPE_CHECKING:
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.timing import WatchTiming

__all__ = ["SettlementTail"]

_PAGE: Final = 100
"""How many settlements are read at once."""
_KEPT: Final = 1000
"""How many settlements are kept for listeners that lag behind; who lags further reads the journal."""

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
