"""The server's limit on new invoices, met before it is hit: beyond it an account is blocked for five minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.journal.budget_rules import InvoiceBudget
    from flash_driver.journal.journal import Journal

__all__ = ["Budget"]

_LOOK_AGAIN: Final = timedelta(seconds=1)


class Budget:
    """So many invoices in so many seconds, counted in the account's journal, so that all its processes share them.

    Args:
        limit: None for no limit of our own. Flash's is 20 in 120 s (flash-server.md 4).
        clock: The present time.

    """

    def __init__(self, limit: InvoiceBudget | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._limit = limit
        self._clock = clock
        self._known_free_at: datetime | None = None

    async def spend(self, journal: Journal, count: int = 1) -> None:
        """Take so many invoices out of the budget, all or none.

        Raises:
            RateLimited: It has not so many left, or never has, or the server blocks the account; nothing was asked of
                the server.
            JournalError: The journal can't be used now.

        """
        now = self._clock()
        if self._limit is None and self._known_free(now):
            return
        if self._limit is not None and count > self._limit.invoices:
            raise RateLimited(
                f"{count} invoices at once are more than the account's budget ever allows, ask for fewer: "
                f"{self._limit.invoices} in {self._limit.seconds} s (FLASH_INVOICE_BUDGET)",
                retry_after=timedelta(seconds=self._limit.seconds),
            )
        wait = await journal.spend_invoices(self._limit, now, count)
        if wait is not None:
            blocked = "the server has blocked new invoices of this account"
            words = "the account's budget of new invoices is used up" if self._limit else blocked
            raise RateLimited(words, retry_after=wait)
        self._known_free_at = now

    async def block(self, journal: Journal, retry_after: timedelta) -> None:
        """Take note that the server itself has blocked the account, for so long."""
        self._known_free_at = None
        await journal.block_invoices(self._clock() + retry_after)

    def _known_free(self, now: datetime) -> bool:
        """Whether the journal has just said that there is no block: another process's is heard of a second late."""
        return self._known_free_at is not None and timedelta(0) <= now - self._known_free_at < _LOOK_AGAIN
