"""Looking invoices up by payment hash: asking the server, and keeping what it says of them."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningInvoiceStatus
from connection_strings.payment_hash import read_payment_hash
from flash_driver.common.log import get_logger
from flash_driver.common.once import LogOnce
from flash_driver.flash_api.documents import INVOICE_STATUS, PRICE
from flash_driver.flash_api.replies import InvoiceStatus, read_invoice_status, read_price_time, status_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.common.deadline import Deadline
    from flash_driver.invoices.amountless import Receipts
    from flash_driver.invoices.server_clock import ServerClock
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router

__all__ = ["InvoiceLookup"]

_TIME_SECONDS: Final = 2.0
_NANOSECONDS: Final = 10**9
_EXPIRED_REMEMBERED: Final = 100_000

_log: Final = get_logger()


class InvoiceLookup:
    """Finds invoices in the journal, asks the server how they stand, and settles or expires them."""

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        receipts: Receipts,
        journal: Journal,
        server_clock: ServerClock,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._process = process
        self._router = router
        self._receipts = receipts
        self._journal = journal
        self._server_clock = server_clock
        self._clock = clock
        self._steady = steady
        self._time_asked = False
        self._tell_once = LogOnce(_log)
        self._expired_since: dict[str, int] = {}

    async def find(self, invoice_id: str, deadline: Deadline) -> InvoiceRecord | None:
        """Look an invoice up by its payment hash; None only when this driver never made it.

        Raises:
            LightningError: It can't be found out now how it stands.

        """
        payment_hash = read_payment_hash(invoice_id)
        if payment_hash is None:
            return None
        record = await self._journal.find_invoice(payment_hash)
        if record is None or record.status is not LightningInvoiceStatus.UNPAID:
            return record
        return await self.refresh(record, deadline)

    async def refresh(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Ask the server how an invoice stands, and keep what it says.

        EXPIRED is believed only when the question was asked after the BOLT11's own expiry plus the grace time
        (flash-server.md 3.5), by what the server's clock says at least, or because the server has said so for that
        long. This machine's own clock has no say: it may be fast. A word that is not known is never believed.

        Raises:
            LightningError: The server can't be asked, or does not say.

        """
        asked = self._steady()
        match await self.ask(record, deadline):
            case InvoiceStatus.PAID:
                return await self.settle(record, deadline)
            case InvoiceStatus.EXPIRED if await self._is_final(record, asked, deadline):
                self._expired_since.pop(record.payment_hash, None)
                return await self._journal.expire_invoice(record.payment_hash) or record
        return record

    async def ask(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceStatus:
        """Ask the server how an invoice stands, and do nothing about it.

        Raises:
            LightningError: The server can't be asked, or does not say.

        """
        operation = INVOICE_STATUS(input={"paymentRequest": record.bolt11})
        data = (await self._router.perform(operation, deadline)).data("looking up the invoice")
        status = read_invoice_status(data)
        if status is InvoiceStatus.UNKNOWN:
            self._tell_once(
                "the server answered with a status that is not known",
                payment_hash=record.payment_hash,
                status=status_word(data),
            )
        return status

    async def settle(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Keep that the server said PAID for this very payment hash.

        Raises:
            LightningError: The amount of an amountless invoice can't be found out now; it stays unpaid until it can.

        """
        received, preimage = record.amount_msat, None
        if received is None:
            receipt = await self._receipts.find(record, deadline)
            received, preimage = receipt.msat, receipt.preimage
        settled = await self._journal.settle_invoice(
            record.payment_hash, paid_at=self._clock(), amount_received_msat=received, preimage=preimage
        )
        if settled is None:
            raise LightningError("the journal has lost an invoice that it had")
        if settled.paid_at is not None and record.status is LightningInvoiceStatus.UNPAID:
            _log.info("invoice settled", payment_hash=settled.payment_hash, settle_index=settled.settle_index)
        return settled

    async def _is_final(self, record: InvoiceRecord, asked: int, deadline: Deadline) -> bool:
        """Whether the word EXPIRED, in answer to a question of this moment, may be believed.

        The moment of the answer would not do: between the two a payment may land, and a slow process finds out late.
        """
        since = self._expired_since.setdefault(record.payment_hash, self._steady())
        if len(self._expired_since) > _EXPIRED_REMEMBERED:
            del self._expired_since[next(iter(self._expired_since))]
        if asked - since >= self._process.expiry_grace_seconds * _NANOSECONDS:
            return True
        if not self._server_clock.known and not self._time_asked:
            await self._ask_time(deadline)
        return self._server_clock.has_passed(self.final_at(record), asked)

    async def _ask_time(self, deadline: Deadline) -> None:
        """Learn the server's time, once: who makes no invoice and asks about each a single time has no other way."""
        self._time_asked = True
        with contextlib.suppress(LightningError):
            delivery = await self._router.perform(PRICE(), deadline.at_most(_TIME_SECONDS))
            data = delivery.data("asking for the time")
            if (moment := read_price_time(data)) is not None:
                self._server_clock.heard(moment)

    def final_at(self, record: InvoiceRecord) -> datetime:
        """When the server's word EXPIRED may be believed at the earliest, by the server's clock."""
        return record.expires_at + timedelta(seconds=self._process.expiry_grace_seconds)
