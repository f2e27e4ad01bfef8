"""The server's limit on new invoices, met before it is hit: beyond it an account is blocked for five minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from connection_strings.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.journal.base import Journal
    from flash_driver.settings import InvoiceBudget

__all__ = ["Budget"]


class Budget:
    """So many invoices in so many seconds, counted in the account's journal, so that all its processes share them.

    Args:
        limit: None for no limit of our own. Flash's is 20 in 120 s (flash-api.md 4).
        clock: The present time.

    """

    def __init__(self, limit: InvoiceBudget | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._limit = limit
        self._clock = clock

    async def spend(self, journal: Journal) -> None:
        """Take one invoice out of the budget.

        Raises:
            RateLimited: It is used up, or the server has blocked the account; nothing was asked of the server.
            JournalError: The journal can't be used now.

        """
        wait = await journal.spend_invoice(self._limit, self._clock())
        if wait is not None:
            raise RateLimited("the account's budget of new invoices is used up", retry_after=wait)

    async def block(self, journal: Journal, retry_after: timedelta) -> None:
        """Take note that the server itself has blocked the account, for so long."""
        await journal.block_invoices(self._clock() + retry_after)
