"""The server's limit on new invoices, met before it is hit: beyond it an account is blocked for five minutes."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

from connection_strings.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.settings import InvoiceBudget

__all__ = ["Budget"]


class Budget:
    """A sliding window over the invoices of one account.

    Args:
        limit: So many in so many seconds; None for no limit. Flash's own is 20 in 120 s (flash-api.md 4).
        clock: Seconds that only grow.

    """

    def __init__(self, limit: InvoiceBudget | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._spent: deque[float] = deque()
        self._blocked_until = float("-inf")

    def spend(self) -> None:
        """Take one invoice out of the budget.

        Raises:
            RateLimited: It is used up; nothing was asked of the server.

        """
        now = self._clock()
        wait = self._blocked_until - now
        if self._limit is not None:
            while self._spent and self._spent[0] <= now - self._limit.seconds:
                self._spent.popleft()
            if len(self._spent) >= self._limit.invoices:
                wait = max(wait, self._spent[0] + self._limit.seconds - now)
        if wait > 0:
            raise RateLimited("the account's budget of new invoices is used up", retry_after=timedelta(seconds=wait))
        self._spent.append(now)

    def block(self, retry_after: timedelta) -> None:
        """Take note that the server itself has blocked the account."""
        self._blocked_until = self._clock() + retry_after.total_seconds()
