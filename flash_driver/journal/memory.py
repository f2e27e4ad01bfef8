"""A journal that lasts as long as the process: for tests, demos and short scripts."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from connection_strings.lightning import LightningInvoiceStatus, LightningPaymentStatus
from flash_driver.journal.bell import Bell

if TYPE_CHECKING:
    from datetime import datetime

    from flash_driver.journal.base import InvoiceRecord, PaymentRecord

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Keeps everything in dictionaries; no method waits, so each happens whole."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex[:12]
        self._bell = Bell()
        self._invoices: dict[str, InvoiceRecord] = {}
        self._settled: list[str] = []
        self._payments: dict[str, PaymentRecord] = {}

    @property
    def id(self) -> str:
        """What tells this journal from any other."""
        return self._id

    @property
    def bell(self) -> Bell:
        """Rings when an invoice was settled."""
        return self._bell

    async def add_invoice(self, record: InvoiceRecord) -> None:
        """Keep a new invoice."""
        self._invoices.setdefault(record.payment_hash, record)

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        return self._invoices.get(payment_hash)

    async def list_invoices(self, *, pending_only: bool = False, offset: int = 0) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        rows = self._invoices.values()
        chosen = [row for row in rows if not pending_only or row.status is LightningInvoiceStatus.UNPAID]
        return chosen[offset:]

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index."""
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
        self._bell.ring()
        return paid

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""
        record = self._invoices.get(payment_hash)
        if record is not None and record.status is LightningInvoiceStatus.UNPAID:
            record = self._invoices[payment_hash] = replace(record, status=LightningInvoiceStatus.EXPIRED)
        return record

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this."""
        return [self._invoices[payment_hash] for payment_hash in self._settled[settle_index : settle_index + limit]]

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far."""
        return len(self._settled)

    async def begin_payment(self, record: PaymentRecord) -> PaymentRecord:
        """Keep an attempt to pay, unless one that has not failed is kept already."""
        known = self._payments.get(record.payment_hash)
        if known is not None and known.status is not LightningPaymentStatus.FAILED:
            return known
        self._payments[record.payment_hash] = record
        return record

    async def update_payment(self, record: PaymentRecord) -> None:
        """Keep what became of an attempt."""
        known = self._payments.get(record.payment_hash)
        if known is None or known.status is not LightningPaymentStatus.COMPLETE:
            self._payments[record.payment_hash] = record

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the latest attempt for this payment hash."""
        return self._payments.get(payment_hash)

    async def list_payments(self, *, include_pending: bool = False, offset: int = 0) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        done = (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)
        return [row for row in self._payments.values() if include_pending or row.status in done][offset:]

    async def aclose(self) -> None:
        """Keep everything: the next client of this account goes on with it."""
