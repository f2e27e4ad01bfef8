"""Invoices that an event settled, for hosts that choose so (`FLASH_SETTLE_ON=event`).

It saves a round trip per settlement. Only PAID is ever published, by the custodian's webhook, and only on the account's
own subscription (flash-server.md 3.6). An event is trusted only for a pending invoice with an amount, of the very
wallet that it names; and the query is asked afterwards, so that a contradiction does not stay unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.common.log import get_logger
from flash_driver.flash_api.replies import InvoiceStatus

if TYPE_CHECKING:
    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.events import Announcement
    from flash_driver.invoices.lookup import InvoiceLookup
    from flash_driver.journal.records import InvoiceRecord

__all__ = ["EventTrust"]

_QUESTIONS: Final = 5
"""How often to ask before a contradiction is one: the books may lag behind the event."""

_log: Final = get_logger(part="watcher")


class EventTrust:
    """Settles what trusted events announce, and checks it.

    Args:
        lookup: Settles an invoice, and asks how it stands.

    """

    def __init__(self, lookup: InvoiceLookup) -> None:
        self._lookup = lookup
        self._announced: dict[str, str] = {}
        self._asked: dict[str, int] = {}

    def clear(self) -> None:
        """Settle and check nothing any more."""
        self._announced.clear()
        self._asked.clear()

    def forget(self, payment_hash: str) -> None:
        """Leave an invoice be: the query has confirmed it."""
        self._asked.pop(payment_hash, None)

    def note(self, announcement: Announcement) -> None:
        """Remember what an event said until its invoice is asked about: `settled` comes right before the question.

        So it waits for nothing, and the settlements of many events are written together.
        """
        if announcement.paid and announcement.wallet_id is not None:
            self._announced[announcement.payment_hash] = announcement.wallet_id

    async def settled(self, record: InvoiceRecord, deadline: Deadline) -> bool:
        """Settle an invoice that an event announced, where nothing speaks against it.

        Returns:
            Whether an event has settled it, and it has yet to be checked.

        """
        wallet_id = self._announced.pop(record.payment_hash, None)
        pending = record.status is LightningInvoiceStatus.UNPAID and record.amount_msat is not None
        if pending and wallet_id == record.wallet_id.lower():
            try:
                # Asks nobody, because the amount is the BOLT11's.
                await self._lookup.settle(record, deadline)
            except LightningError as error:
                _log.warning("an event could not settle its invoice", payment_hash=record.payment_hash, why=str(error))
            else:
                self._asked[record.payment_hash] = 0
        return record.payment_hash in self._asked

    async def check(self, record: InvoiceRecord, deadline: Deadline) -> int | None:
        """Ask about an invoice that an event settled.

        Returns:
            How many questions in a row did not confirm it, if it has to be asked about again; else None.

        Raises:
            LightningError: The server can't be asked, or does not say.

        """
        payment_hash = record.payment_hash
        status = await self._lookup.ask(record, deadline)
        asked = self._asked.pop(payment_hash, 0) + 1
        if status is InvoiceStatus.PAID:
            return None
        if asked < _QUESTIONS:
            self._asked[payment_hash] = asked
            return asked
        _log.error(
            "an event said PAID and was believed, and the query says otherwise: compare with the Flash app",
            payment_hash=payment_hash,
            status=status.value,
        )
        return None
