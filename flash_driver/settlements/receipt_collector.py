"""Adds to paid invoices what their settlement did not tell: the amount of amountless ones, and the preimage."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.watched import WatchedAccount

__all__ = ["ReceiptCollector"]

_LOOKED_FOR: Final = timedelta(days=1)
"""For how long after its expiry an invoice is completed in the background; looking it up completes it at any time."""
_TOGETHER: Final = 100
_LOOKED_AT: Final = 500

_log: Final = get_logger(part="receipts")


class ReceiptCollector:
    """Looks for receipts behind the settlements, a batch at a time, at growing pauses while it finds none.

    Args:
        account: What is watched.

    Attributes:
        trouble: How many paid invoices have no amount yet, and why, if any.

    """

    def __init__(self, account: WatchedAccount) -> None:
        self._account = account
        self._done: set[str] = set()
        self.trouble: str | None = None

    async def run(self) -> None:
        """Collect without end; no failure is more than a reason to wait."""
        journal, timing = self._account.journal, self._account.timing
        fruitless = 0
        while True:
            try:
                await journal.owner.account()
                with journal.news.settled.waiting() as woken:
                    lacking = await self._lacking()
                    if not lacking:
                        fruitless, self.trouble = 0, None
                        await woken
                    else:
                        fruitless = 0 if await self._collect(lacking) else fruitless + 1
            except Exception as error:  # noqa: BLE001 - listening goes on whatever fails here
                _log.debug("receipts could not be collected now", error=type(error).__name__, why=str(error))
                fruitless += 1
            # Also after a success: what is settled meanwhile shares one listing.
            await asyncio.sleep(timing.receipts.pause(fruitless))

    async def _lacking(self) -> list[InvoiceRecord]:
        since = self._account.clock() - _LOOKED_FOR
        # The latest come first, so what is new is among them however many have no preimage that the wallet tells.
        lacking = await self._account.journal.incomplete_invoices(since, _LOOKED_AT)
        self._done &= {record.payment_hash for record in lacking}
        return [record for record in lacking if record.payment_hash not in self._done][:_TOGETHER]

    async def _collect(self, lacking: list[InvoiceRecord]) -> bool:
        """Look for receipts; returns whether any was found."""
        why, found = "the server does not tell them yet", set[str]()
        with contextlib.suppress(TimeoutError):
            try:
                found = await self._account.lookup.complete_many(lacking, Deadline.after(self._account.timing.ask))
            except LightningError as error:
                why = str(error)
        self._done |= found
        unknown = sum(record.amount_received_msat is None and record.payment_hash not in found for record in lacking)
        self.trouble = f"the amounts of {unknown} paid invoices are not known yet: {why}" if unknown else None
        return bool(found)
