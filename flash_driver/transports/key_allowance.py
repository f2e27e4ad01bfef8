"""The limit of an API key: learned from the server, and left to invoices and payments first.

A key may make so many requests a minute, of whatever kind and from whatever process (flash-server.md 16). Each answer
tells the limit and what is left of it; where a gateway drops those headers, a refusal tells the limit. So questions in
the background stop while a quarter of the limit is left, and all processes on one journal together ask no more of them
than the rest.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import ACCOUNT, ME
from flash_driver.flash_api.outcomes import Answer, Cause, NotExecuted
from flash_driver.journal.budget_rules import Bucket, InvoiceBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.flash_api.documents import Document
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.journal.journal import Journal

__all__ = ["KeyAllowance"]

_DEFAULT: Final = 120
"""What a key may do in a minute unless its owner says otherwise (flash-server.md 1.4)."""
_WINDOW_SECONDS: Final = 60
_KEPT_SHARE: Final = 4
_NEEDED: Final = frozenset({ME, ACCOUNT})
"""Never held back: whose account it is has to be known, and is asked seldom."""

_log: Final = get_logger(part="api key")


class KeyAllowance:
    """How many requests of an API key are left for questions in the background.

    Args:
        journal: Where they are counted for all processes.
        clock: The wall clock.
        steady: A steady clock, in seconds.

    Attributes:
        limit: How many requests a minute the key may make, as far as that is known.

    """

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], datetime] = utc_now,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._steady = steady
        self._closed_until = float("-inf")
        self.limit = _DEFAULT

    def see(self, evidence: Evidence) -> None:
        """Take in what an answer tells of the limit, if it does."""
        quota = evidence.quota if isinstance(evidence, Answer) else None
        if quota is None:
            return
        if quota.limit != self.limit:
            _log.info("the limit of the API key is known", requests_a_minute=quota.limit)
            self.limit = quota.limit
        if quota.remaining <= self._kept:
            self._closed_until = self._steady() + min(_WINDOW_SECONDS, max(1.0, quota.renewed_in.total_seconds()))

    async def admit(self, document: Document) -> NotExecuted | None:
        """Count a question in the background that is about to be asked; return why it must wait, None when it may go.

        Args:
            document: What is asked.

        """
        if document in _NEEDED:
            return None
        wait = self._closed_until - self._steady()
        if wait <= 0:
            now = self._clock()
            budget = InvoiceBudget(max(1, self.limit - self._kept), _WINDOW_SECONDS)
            try:
                full = await self._journal.spend_invoices(Bucket.KEY, budget, now)
            except LightningError as error:  # a journal in trouble is told of elsewhere; the server counts all the same
                _log.debug("a request could not be counted", why=str(error))
                return None
            wait = 0.0 if full is None else (full.until - now).total_seconds()
        if wait <= 0:
            return None
        left = "what is left of the API key's limit is kept for invoices and payments"
        return NotExecuted(left, Cause.HELD, timedelta(seconds=wait))

    @property
    def _kept(self) -> int:
        """How many requests of a minute are left to invoices and payments."""
        return self.limit // _KEPT_SHARE
