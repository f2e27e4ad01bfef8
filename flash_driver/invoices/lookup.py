"""Looking invoices up by payment hash: asking the server, and keeping what it says of them."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.checks import read_payment_hash
from connection_strings.errors import BackendUnavailable, LightningError
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import LogOnce, get_logger
from flash_driver.flash_api.documents import INVOICE_STATUS, PRICE
from flash_driver.flash_api.replies import InvoiceStatus, read_invoice_status, read_price_time, status_word
from flash_driver.invoices.server_clock import Instant
from flash_driver.transports.delivery import TemporarilyRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flash_driver.common.deadline import Deadline
    from flash_driver.invoices.receipts import Receipt, Receipts
    from flash_driver.invoices.server_clock import ServerClock
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.transports.router import Router

__all__ = ["InvoiceLookup", "Outage"]

_TIME_SECONDS: Final = 2.0
_AMOUNT_SECONDS: Final = 3.0
"""How long a look waits for the amount of an amountless invoice, which is kept as paid already."""
_NANOSECONDS: Final = 10**9
_ASK_TIME_AGAIN: Final = 60 * _NANOSECONDS
_EXPIRED_REMEMBERED: Final = 100_000
_DOING: Final = "looking up the invoice"

_FIRST_PAUSE: Final = 1 * _NANOSECONDS
_LONGEST_PAUSE: Final = 8 * _NANOSECONDS
_SLOW: Final = _NANOSECONDS // 4
_TRIAL: Final = 10 * _NANOSECONDS
"""For how long one question tries while the others go on failing at once."""

_log: Final = get_logger()


class Outage:
    """Remembers that no way to the wallet worked; times are nanoseconds of a steady clock.

    A host may look at a hundred open invoices one after the other. While Flash is silent each look would take as long
    as a question may take; so after a failure the next ones fail at once, and now and then one of them tries again. The
    pause before that is one second, then twice as long each time, eight seconds at the most.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._over_at = 0
        self._reasons: dict[str, str] = {}

    def insist(self, doing: str, now: int) -> None:
        """Let a question be asked, unless it is known that it would not be answered.

        Args:
            doing: What the question is for, such as `looking up the invoice`.
            now: The time.

        Raises:
            BackendUnavailable: The wallet has just failed to answer another question.

        """
        if self._failures == 0:
            return
        if now < self._over_at:
            raise BackendUnavailable(doing, self._reasons, executed=False)
        self._over_at = now + _TRIAL

    def answered(self) -> None:
        """The wallet answers."""
        self._failures = 0

    def failed(self, error: LightningError, took: int, now: int) -> None:
        """Take in how a question failed; only one that was waited for in vain means an outage.

        Args:
            error: Why it failed.
            took: How long it took; what fails at once need not be remembered.
            now: The time.

        """
        if not isinstance(error, BackendUnavailable) or isinstance(error, TemporarilyRefused) or took < _SLOW:
            self.answered()
            return
        self._reasons = error.reasons
        self._over_at = now + min(_LONGEST_PAUSE, _FIRST_PAUSE << min(self._failures, 8))
        self._failures += 1


class InvoiceLookup:
    """Finds invoices in the journal, asks the server how they stand, and settles or expires them.

    Args:
        process: How long the grace time is, and for how long a late payment is looked for.
        router: For questions.
        receipts: Finds what an amountless invoice brought.
        journal: Where the invoices are.
        server_clock: What time it is at the server at least.
        outage: Whether the wallet has just failed to answer.
        clock: The wall clock.
        steady: A steady clock, in nanoseconds.

    """

    def __init__(
        self,
        *,
        process: ProcessSettings,
        router: Router,
        receipts: Receipts,
        journal: Journal,
        server_clock: ServerClock,
        outage: Outage,
        clock: Callable[[], datetime] = utc_now,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._process = process
        self._router = router
        self._receipts = receipts
        self._journal = journal
        self._server_clock = server_clock
        self._outage = outage
        self._clock = clock
        self._steady = steady
        self._time_asked: int | None = None
        self._tell_once = LogOnce(_log)
        self._expired_since: dict[str, int] = {}

    async def find(self, invoice_id: str, deadline: Deadline) -> InvoiceRecord | None:
        """Look an invoice up by its payment hash; None only when this driver never made it.

        One that is called expired is asked about as long as a late payment is looked for; when it can't be asked about
        now, what was said last is returned. While the wallet does not answer, an unpaid one raises at once.

        Raises:
            LightningError: It can't be found out now how it stands, or another account made it.

        """
        payment_hash = read_payment_hash(invoice_id)
        if payment_hash is None:
            return None
        record = await self._journal.find_invoice(payment_hash)
        if record is None:
            await self._journal.insist_unknown("invoice", payment_hash)
            return None
        if record.status is LightningInvoiceStatus.PAID:
            return await self.complete(record, deadline)
        if record.status is LightningInvoiceStatus.EXPIRED and not self.may_be_paid_late(record):
            return record
        try:
            self._outage.insist(_DOING, self._steady())
            return await self.refresh(record, deadline)
        except LightningError:
            if record.status is LightningInvoiceStatus.EXPIRED:
                return record
            raise

    async def refresh(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Ask the server how an invoice stands, and keep what it says.

        PAID wins over whatever was said before. EXPIRED is believed only when the question was asked after the BOLT11's
        own expiry plus the grace time (flash-server.md 3.5), by a clock that can be trusted: see `ServerClock`. Where
        there is none, the server must have said so for the invoice's whole life and the grace time. A word that is not
        known is never believed.

        Raises:
            LightningError: The server can't be asked, or does not say.

        """
        asked = Instant(self._clock(), self._steady())
        match await self.ask(record, deadline):
            case InvoiceStatus.PAID:
                return await self.settle(record, deadline)
            case InvoiceStatus.EXPIRED if record.status is LightningInvoiceStatus.UNPAID:
                if await self._is_final(record, asked, deadline):
                    self._expired_since.pop(record.payment_hash, None)
                    return await self._journal.expire_invoice(record.payment_hash) or record
        return record

    async def ask(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceStatus:
        """Ask the server how an invoice stands, and do nothing about it.

        Raises:
            LightningError: The server can't be asked, or does not say.

        """
        operation = INVOICE_STATUS(input={"paymentRequest": record.bolt11})
        asked = self._steady()
        try:
            data = (await self._router.perform(operation, deadline)).data(_DOING)
        except LightningError as error:
            now = self._steady()
            self._outage.failed(error, now - asked, now)
            raise
        status = read_invoice_status(data)
        self._outage.answered()
        if status is InvoiceStatus.UNKNOWN:
            self._tell_once(
                "the server answered with a status that is not known",
                payment_hash=record.payment_hash,
                status=status_word(data),
            )
        return status

    async def settle(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Keep at once that the server said PAID for this very payment hash; then find out the amount if there is none.

        Raises:
            LightningError: It can't be kept now.

        """
        settled = await self._journal.settle_invoice(
            record.payment_hash, paid_at=self._clock(), amount_received_msat=record.amount_msat
        )
        if settled is None:
            raise LightningError("the journal has lost an invoice that it had")
        if record.status is not LightningInvoiceStatus.PAID:
            late = record.status is LightningInvoiceStatus.EXPIRED
            _log.info(
                "invoice settled", payment_hash=settled.payment_hash, settle_index=settled.settle_index, late=late
            )
        return await self.complete(settled, deadline)

    async def complete(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        """Find out what a paid invoice brought where that is not known yet; return it as it is then known.

        That it can't be found out now is no error: the invoice stays paid, with `amount_received_msat` None.
        """
        if record.amount_received_msat is not None:
            return record
        try:
            receipt = await self._receipts.find(record, deadline.at_most(_AMOUNT_SECONDS))
        except LightningError as error:
            self._tell_once(
                "the amount of a paid invoice is not known yet", payment_hash=record.payment_hash, why=str(error)
            )
            return record
        return await self._add(record, receipt) or record

    async def complete_many(self, records: Sequence[InvoiceRecord], deadline: Deadline) -> set[str]:
        """Find out amounts and preimages of paid invoices and keep them; one listing serves all.

        Returns:
            The payment hashes of those of which all is known now that the wallet tells.

        Raises:
            LightningError: Nothing can be found out now.

        """
        found = await self._receipts.find_many(records, deadline)
        for record in records:
            if (receipt := found.get(record.payment_hash)) is not None:
                await self._add(record, receipt)
        return set(found)

    async def _add(self, record: InvoiceRecord, receipt: Receipt) -> InvoiceRecord | None:
        """Keep what a receipt tells of a paid invoice.

        One that was found paid only after its time was paid when the receipt says; else what was heard is as exact.
        """
        came_at, heard_at = receipt.came_at, record.paid_at
        late = came_at is not None and heard_at is not None and record.created_at <= came_at < heard_at
        return await self._journal.complete_invoice(
            record.payment_hash,
            amount_received_msat=receipt.msat,
            preimage=receipt.preimage,
            paid_at=came_at if late and heard_at is not None and heard_at > record.expires_at else None,
        )

    async def _is_final(self, record: InvoiceRecord, asked: Instant, deadline: Deadline) -> bool:
        """Whether the word EXPIRED, in answer to a question of this moment, may be believed.

        The moment of the answer would not do: between the two a payment may land, and a slow process finds out late.
        """
        since = self._expired_since.setdefault(record.payment_hash, self._steady())
        if len(self._expired_since) > _EXPIRED_REMEMBERED:
            del self._expired_since[next(iter(self._expired_since))]
        whole_life = self.final_at(record) - record.created_at
        if asked.steady - since >= whole_life.total_seconds() * _NANOSECONDS:
            return True
        if not self._server_clock.known:
            await self._ask_time(deadline)
        return self._server_clock.has_passed(self.final_at(record), asked)

    async def _ask_time(self, deadline: Deadline) -> None:
        """Learn the server's time, once a minute: who makes no invoice has no other way."""
        now = self._steady()
        if self._time_asked is not None and now - self._time_asked < _ASK_TIME_AGAIN:
            return
        self._time_asked = now
        with contextlib.suppress(LightningError):
            delivery = await self._router.perform(PRICE(), deadline.at_most(_TIME_SECONDS))
            data = delivery.data("asking for the time")
            if (moment := read_price_time(data)) is not None:
                self._server_clock.heard_from_flash(moment)

    def final_at(self, record: InvoiceRecord) -> datetime:
        """When the server's word EXPIRED may be believed at the earliest."""
        return record.expires_at + timedelta(seconds=self._process.expiry_grace_seconds)

    def may_be_paid_late(self, record: InvoiceRecord) -> bool:
        """Whether a payment is still looked for although the invoice is called expired."""
        return record.expires_at > self.late_since

    @property
    def late_since(self) -> datetime:
        """The expiry before which nobody looks for a late payment any more."""
        now = self._server_clock.earliest(Instant(self._clock(), self._steady()))
        return now - timedelta(seconds=self._process.late_payment_seconds)
