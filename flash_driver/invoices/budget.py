"""The server's limits on new invoices, met before they are hit: beyond one of them it blocks for five minutes.

The server counts what arrives, in windows of its own, and each of its two limits by itself (flash-server.md 4): what
an account asks for, and what anybody asks for on its behalf. So each request takes one point out of the budget of its
own limit, in the account's journal, the moment before it is written; and a point counts for the server's window and for
as long as a request may be on its way.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError, RateLimited
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import INVOICE_CREATE_BTC, INVOICE_CREATE_ON_BEHALF, INVOICE_CREATE_USD
from flash_driver.journal.budget_rules import LONGEST_BLOCK, Bucket, BudgetWait, InvoiceBudget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from flash_driver.flash_api.documents import Document
    from flash_driver.journal.journal import Journal

__all__ = ["ON_ITS_WAY", "Budget", "Points"]

ON_ITS_WAY: Final = timedelta(seconds=10)
"""How long after its point was taken a request can still arrive: it waits for its turn, and then for the network.

It covers as well what the clocks of two machines that share a journal may differ by.
"""

_LOOK_AGAIN: Final = timedelta(seconds=1)
_BUCKETS: Final = {
    INVOICE_CREATE_USD: Bucket.OWN,
    INVOICE_CREATE_BTC: Bucket.OWN,
    INVOICE_CREATE_ON_BEHALF: Bucket.PUBLIC,
}
"""Which limit a request counts against; amountless invoices have none."""

_log: Final = get_logger()


class Budget:
    """How many invoices the server may be asked for, shared by all processes on the account's journal.

    Args:
        journal: Where points are counted.
        limit: The server's limit, the same for both buckets (20 in 120 s); None for no limit of our own.
        clock: The present time.

    """

    def __init__(
        self,
        journal: Journal,
        limit: InvoiceBudget | None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._journal = journal
        self._limit = limit
        self._counted = limit and InvoiceBudget(limit.invoices, limit.seconds + int(ON_ITS_WAY.total_seconds()))
        self._clock = clock
        self._known_free_at: dict[Bucket, datetime] = {}

    @asynccontextmanager
    async def points(self, reserve: int = 0, *, spare: bool = False) -> AsyncIterator[Points]:
        """Hold the points of one call; what it does not use in the end is put back.

        Args:
            reserve: How many of the account's own points to take beforehand, all or none.
            spare: Whether to use points only while less than half of them are used.

        Raises:
            RateLimited: The budget has not as many left, or never has, or the server blocks the account; nothing was
                asked of the server.
            JournalError: The journal can't be used now.

        """
        points = Points(self, spare=spare)
        if reserve:
            points.left[Bucket.OWN] = [await self.take(Bucket.OWN, reserve)] * reserve
        try:
            yield points
        finally:
            for bucket, taken in points.left.items():
                if taken:
                    await self._put_back(bucket, taken)

    async def take(self, bucket: Bucket, count: int = 1, *, spare: bool = False) -> datetime:
        """Take points out of a bucket's budget, all or none; return the time that they are counted from.

        Args:
            bucket: Which.
            count: How many.
            spare: Whether to leave half of the budget for others.

        Raises:
            RateLimited: As for `points`.
            JournalError: The journal can't be used now.

        """
        now = self._clock()
        if self._limit is None and self._known_free(bucket, now):
            return now
        if self._limit is not None and count > self._limit.invoices:
            raise RateLimited(
                f"{count} invoices at once are more than the account's budget ever allows, ask for fewer: "
                f"{self._limit.invoices} in {self._limit.seconds} s (FLASH_INVOICE_BUDGET)",
                retry_after=timedelta(seconds=self._limit.seconds),
            )
        counted = self._counted
        if counted is not None and spare:
            counted = InvoiceBudget(max(1, counted.invoices // 2), counted.seconds)
        wait = await self._journal.spend_invoices(bucket, counted, now, count)
        if wait is not None:
            raise RateLimited(_words(bucket, wait), retry_after=wait.until - now, blocked=wait.blocked)
        self._known_free_at[bucket] = now
        return now

    async def block(self, document: Document, retry_after: timedelta) -> RateLimited | None:
        """Take note that the server itself takes no more such requests, and return the error that says so.

        Args:
            document: What it refused.
            retry_after: For how long; a block of more than an hour is cut to one.

        Returns:
            None for a request that counts against no limit known.

        """
        bucket = _BUCKETS.get(document)
        if bucket is None:
            return None
        self._known_free_at.pop(bucket, None)
        retry_after = min(retry_after, LONGEST_BLOCK)
        until = self._clock() + retry_after
        await self._journal.block_invoices(bucket, until)
        _log.warning("Flash has blocked new invoices", limit=bucket.value, until=until.isoformat(timespec="seconds"))
        return RateLimited(_words(bucket, BudgetWait(until, blocked=True)), retry_after=retry_after, blocked=True)

    async def _put_back(self, bucket: Bucket, taken: Sequence[datetime]) -> None:
        if self._limit is None:
            return
        try:
            await self._journal.return_invoices(bucket, taken)
        except LightningError as error:  # they count for a while though nothing was asked, which does no harm
            _log.debug("points could not be put back", points=len(taken), why=str(error))

    def _known_free(self, bucket: Bucket, now: datetime) -> bool:
        """Whether the journal has just said that there is no block: another process's is heard of a second late."""
        known = self._known_free_at.get(bucket)
        return known is not None and timedelta(0) <= now - known < _LOOK_AGAIN


class Points:
    """The points of one call: the router's `Admission`.

    Attributes:
        left: When the points that are not used were taken, by bucket.

    """

    def __init__(self, budget: Budget, *, spare: bool = False) -> None:
        self._budget = budget
        self._spare = spare
        self._used: dict[Bucket, datetime] = {}
        self.left: dict[Bucket, list[datetime]] = {bucket: [] for bucket in Bucket}

    async def admit(self, document: Document) -> None:
        """Use up the point of a request that is about to be written; taken now unless one is left.

        Raises:
            RateLimited: There is none; the request is not to be written.
            JournalError: The journal can't be used now.

        """
        bucket = _BUCKETS.get(document)
        if bucket is None:
            return
        left = self.left[bucket]
        self._used[bucket] = left.pop() if left else await self._budget.take(bucket, spare=self._spare)

    def give_back(self, document: Document) -> None:
        """Take note that the request admitted last was certainly not executed: it cost nothing."""
        bucket = _BUCKETS.get(document)
        if bucket is not None:
            self.left[bucket].append(self._used[bucket])


def _words(bucket: Bucket, wait: BudgetWait) -> str:
    """Say whose limit it is, and until when."""
    until = f"{wait.until:%H:%M:%S} UTC"
    match bucket, wait.blocked:
        case Bucket.OWN, True:
            return (
                f"Flash has blocked creating until {until}, because this account asked for more invoices than it allows"
            )
        case Bucket.PUBLIC, True:
            return (
                f"Flash has blocked creating on behalf of this account until {until}, because more invoices were asked "
                "for in public than it allows; anybody who knows the account's username can use that limit up"
            )
        case Bucket.OWN, _:
            return f"the driver's budget of new invoices is used up until {until}; beyond it Flash blocks the account"
        case _:
            return f"the driver's budget of new invoices in public is used up until {until}; beyond it Flash blocks it"
