"""A journal that lasts as long as the process: for tests, demos and short scripts."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from connection_strings.lightning import LightningInvoiceStatus, LightningPaymentStatus
from flash_driver.journal.attempt_rules import DEFINITE, counting_attempt, telling_attempt
from flash_driver.journal.budget_rules import block_end, budget_wait, in_the_way, still_spent
from flash_driver.journal.journal import PAGE
from flash_driver.journal.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime, timedelta

    from flash_driver.journal.budget_rules import InvoiceBudget
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Keeps everything in dictionaries; serves any event loop, in any thread.

    No method waits for anything but the lock, which is held for the moment it takes, so each happens whole.
    """

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex[:12]
        self._wakeup = Wakeup()
        self._lock = threading.Lock()
        self._invoices: dict[str, InvoiceRecord] = {}
        self._orphans: dict[str, InvoiceRecord] = {}
        self._settled: list[str] = []
        self._spent: list[datetime] = []
        self._blocked_until: datetime | None = None
        self._payments: dict[str, list[PaymentRecord]] = {}

    @property
    def id(self) -> str:
        """What tells this journal from any other."""
        return self._id

    @property
    def wakeup(self) -> Wakeup:
        """Rings when an invoice was settled."""
        return self._wakeup

    # --- invoices ---------------------------------------------------------------------------------------------------

    async def add_invoice(self, record: InvoiceRecord) -> None:
        """Keep a new invoice."""
        with self._lock:
            self._orphans.pop(record.payment_hash, None)
            self._invoices.setdefault(record.payment_hash, record)

    async def add_orphan(self, record: InvoiceRecord) -> None:
        """Keep an invoice that the host will not get."""
        with self._lock:
            if record.payment_hash not in self._invoices:
                self._orphans.setdefault(record.payment_hash, replace(record, orphan=True))

    async def list_orphans(self) -> list[InvoiceRecord]:
        """Return the orphans in the order they were made."""
        with self._lock:
            return list(self._orphans.values())

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        with self._lock:
            return self._invoices.get(payment_hash)

    async def list_invoices(self, *, pending_only: bool = False, offset: int = 0) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        with self._lock:
            rows = self._pending() if pending_only else list(self._invoices.values())
            return rows[offset:]

    async def pending_invoices(self, *, page: int = PAGE) -> AsyncIterator[InvoiceRecord]:  # noqa: ARG002 - all is here
        """Yield unpaid invoices, the next to expire first."""
        with self._lock:
            rows = sorted(self._pending(), key=lambda row: row.expires_at)
        for row in rows:
            yield row

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index."""
        with self._lock:
            record = self._invoices.get(payment_hash)
            if record is None or record.status is LightningInvoiceStatus.PAID:
                return record
            self._settled.append(payment_hash)
            paid = replace(
                record,
                status=LightningInvoiceStatus.PAID,
                settle_index=len(self._settled),
                paid_at=paid_at,
                amount_received_msat=amount_received_msat,
                preimage=preimage,
            )
            self._invoices[payment_hash] = paid
        self._wakeup.ring()
        return paid

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""
        with self._lock:
            record = self._invoices.get(payment_hash)
            if record is not None and record.status is LightningInvoiceStatus.UNPAID:
                record = self._invoices[payment_hash] = replace(record, status=LightningInvoiceStatus.EXPIRED)
            return record

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this."""
        with self._lock:
            return [self._invoices[payment_hash] for payment_hash in self._settled[settle_index : settle_index + limit]]

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far."""
        with self._lock:
            return len(self._settled)

    # --- the budget of new invoices ---------------------------------------------------------------------------------

    async def spend_invoices(self, limit: InvoiceBudget | None, now: datetime, count: int = 1) -> timedelta | None:
        """Take invoices out of the account's budget."""
        with self._lock:
            if limit is not None:
                self._spent = still_spent(self._spent, limit, now)
            frees = None if limit is None else in_the_way(self._spent, limit, count)
            wait = budget_wait(frees, self._blocked_until, limit, now)
            if wait is None and limit is not None:
                self._spent += [now] * count
            return wait

    async def block_invoices(self, until: datetime) -> None:
        """Let nobody take anything out of the budget until then."""
        with self._lock:
            self._blocked_until = block_end(self._blocked_until, until)

    # --- payments ---------------------------------------------------------------------------------------------------

    async def begin_payment(self, record: PaymentRecord) -> PaymentRecord:
        """Keep an attempt to pay, unless one counts already."""
        with self._lock:
            attempts = self._payments.setdefault(record.payment_hash, [])
            counted = counting_attempt(attempts, record)
            if counted is record:
                attempts.append(record)
            return counted

    async def update_payment(self, record: PaymentRecord) -> None:
        """Keep what became of an attempt."""
        with self._lock:
            attempts = self._payments.get(record.payment_hash, [])
            for place, known in enumerate(attempts):
                if known.attempt == record.attempt and known.status is not LightningPaymentStatus.COMPLETE:
                    attempts[place] = record

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        with self._lock:
            return telling_attempt(self._payments.get(payment_hash, []))

    async def payment_attempts(self, payment_hash: str) -> list[PaymentRecord]:
        """Return every attempt for this payment hash."""
        with self._lock:
            return list(self._payments.get(payment_hash, []))

    async def unresolved_payments(self) -> list[PaymentRecord]:
        """Return the payments of which it is not known how they ended."""
        with self._lock:
            return [row for row in self._telling() if row.status not in DEFINITE]

    async def list_payments(self, *, include_pending: bool = False, offset: int = 0) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        with self._lock:
            return [row for row in self._telling() if include_pending or row.status in DEFINITE][offset:]

    async def aclose(self) -> None:
        """Keep everything: the next client of this account goes on with it."""

    def _pending(self) -> list[InvoiceRecord]:
        return [row for row in self._invoices.values() if row.status is LightningInvoiceStatus.UNPAID]

    def _telling(self) -> list[PaymentRecord]:
        rows = (telling_attempt(attempts) for attempts in self._payments.values())
        return [row for row in rows if row is not None]
