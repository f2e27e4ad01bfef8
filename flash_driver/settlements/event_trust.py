"""Invoices that an event settled, for hosts that choose so (`FLASH_SETTLE_ON=event`).

It saves a round trip per settlement. Only PAID is ever published, by the custodian's webhook, and only on the account's
own subscription (flash-server.md 3.6). An event is trusted only for a pending invoice with an amount, of the very
wallet that it names; and the query is asked afterwards, so that a contradiction does not stay unknown.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.flash_api.replies import InvoiceStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.flash_api.events import Announcement
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.watched import WatchedAccount

__all__ = ["EventTrust"]

_AT_ONCE: Final = 64
"""How many settlements are written together at the most."""

_QUESTIONS: Final = 5
"""How often to ask before a contradiction is one: the books may lag behind the event."""

_log: Final = get_logger(part="watcher")


class EventTrust:
    """Settles what trusted events announce, and checks it.

    Args:
        account: Whose invoices they are.
        ask: Has an invoice asked about at once, when its event has been dealt with; tells whether it is watched.

    """

    def __init__(self, account: WatchedAccount, ask: Callable[[str], bool]) -> None:
        self._account = account
        self._lookup = account.lookup
        self._ask = ask
        self._news = asyncio.Event()
        self._announced: dict[str, str] = {}
        self._settled: dict[str, InvoiceRecord] = {}
        self._asked: dict[str, int] = {}

    def __contains__(self, payment_hash: str) -> bool:
        """Whether an invoice was settled on an event and has yet to be checked."""
        return payment_hash in self._asked

    def clear(self) -> None:
        """Settle and check nothing any more."""
        self._announced.clear()
        self._settled.clear()
        self._asked.clear()

    def forget(self, payment_hash: str) -> None:
        """Leave an invoice be: the query has confirmed it, or nobody watches it."""
        self._settled.pop(payment_hash, None)
        self._asked.pop(payment_hash, None)

    def take(self, payment_hash: str) -> InvoiceRecord | None:
        """Return an invoice that an event has just settled, for the first question: it need not be read again."""
        return self._settled.pop(payment_hash, None)

    def note(self, announcement: Announcement) -> bool:
        """Say whether an event can settle its invoice; if so, `run` tries that next, and then has it asked about."""
        if not announcement.paid or announcement.wallet_id is None:
            return False
        self._announced[announcement.payment_hash] = announcement.wallet_id
        self._news.set()
        return True

    async def run(self) -> None:
        """Settle what has been noted, without end: what came while others were written is written together."""
        self._news = asyncio.Event()
        while True:
            if not self._announced:
                self._news.clear()
                await self._news.wait()
            together = [*islice(self._announced, _AT_ONCE)]
            await asyncio.gather(*(self._settle(each, self._announced.pop(each)) for each in together))

    async def _settle(self, payment_hash: str, wallet_id: str) -> None:
        """Settle an invoice, where nothing speaks against it; either way the query is asked next."""
        try:
            record = await self._account.journal.find_invoice(payment_hash)
            if (
                record is not None
                and record.status is LightningInvoiceStatus.UNPAID
                and record.amount_msat is not None
                and record.wallet_id.lower() == wallet_id
            ):
                # Asks nobody, because the amount is the BOLT11's.
                await self._lookup.settle(record, Deadline.after(self._account.timing.ask))
                self._settled[payment_hash], self._asked[payment_hash] = record, 0
        except LightningError as error:
            _log.warning("an event could not settle its invoice", payment_hash=payment_hash, why=str(error))
        except Exception as error:  # noqa: BLE001 - one that can't be settled must not end the others
            _log.error("an event could not settle its invoice", payment_hash=payment_hash, error=type(error).__name__)
        if not self._ask(payment_hash):
            self.forget(payment_hash)

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
