"""What a journal keeps, and what every journal can do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from decimal import Decimal  # noqa: TC003 - as above
from typing import TYPE_CHECKING, Protocol

from connection_strings.lightning import (
    LightningInvoice,
    LightningInvoiceStatus,
    LightningPayment,
    LightningPaymentStatus,
)
from connection_strings.money import LightMoney

if TYPE_CHECKING:
    from flash_driver.journal.bell import Bell

__all__ = ["InvoiceRecord", "Journal", "PaymentRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """An invoice that was made.

    Attributes:
        amount_msat: The BOLT11's amount in millisatoshi, None when amountless.
        cents: What was asked for of the server, in cents (satoshi for a BTC wallet); None when amountless.
        description: The full text, also where the BOLT11 carries a cut one or a hash.
        settle_index: The place among the settled invoices, counted from one; None while not settled.

    """

    payment_hash: str
    bolt11: str
    wallet_id: str
    currency: str
    amount_msat: int | None
    cents: Decimal | None
    description: str
    created_at: datetime
    expires_at: datetime
    status: LightningInvoiceStatus = LightningInvoiceStatus.UNPAID
    settle_index: int | None = None
    paid_at: datetime | None = None
    amount_received_msat: int | None = None
    preimage: str | None = None

    @property
    def invoice(self) -> LightningInvoice:
        """The invoice as the host sees it."""
        received = self.amount_received_msat
        return LightningInvoice(
            id=self.payment_hash,
            payment_hash=self.payment_hash,
            preimage=self.preimage,
            bolt11=self.bolt11,
            status=self.status,
            amount=None if self.amount_msat is None else LightMoney.from_msat(self.amount_msat),
            amount_received=None if received is None else LightMoney.from_msat(received),
            expires_at=self.expires_at,
            paid_at=self.paid_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """A payment that was attempted.

    Attributes:
        amount_msat: What the payee gets, in millisatoshi.
        attempt: Counted from one; a new one is made only after the one before has definitely failed.
        idempotency_key: What makes the server recognise a repeated request; None where the mutation has none.
        cents: The amount asked with on an amountless BOLT11, in cents; None otherwise.
        fee_msat: The fee, as far as it was told; an estimate of a probe is none.
        failure: Why it failed, in words.

    """

    payment_hash: str
    bolt11: str
    wallet_id: str
    amount_msat: int
    created_at: datetime
    attempt: int
    idempotency_key: str | None
    cents: Decimal | None = None
    status: LightningPaymentStatus = LightningPaymentStatus.PENDING
    fee_msat: int | None = None
    preimage: str | None = None
    failure: str | None = None

    @property
    def payment(self) -> LightningPayment:
        """The payment as the host sees it."""
        fee = None if self.fee_msat is None else LightMoney.from_msat(self.fee_msat)
        amount = LightMoney.from_msat(self.amount_msat)
        return LightningPayment(
            id=self.payment_hash,
            payment_hash=self.payment_hash,
            bolt11=self.bolt11,
            status=self.status,
            created_at=self.created_at,
            preimage=self.preimage,
            amount=amount,
            amount_sent=None if fee is None else amount + fee,
            fee=fee,
        )


class Journal(Protocol):
    """Remembers the invoices and payments of one account.

    Every method either happens whole or raises; what it returned has been kept as long as this kind of journal keeps
    anything.
    """

    @property
    def id(self) -> str:
        """What tells this journal from any other, so that a cursor of one is not used on another."""
        ...

    @property
    def bell(self) -> Bell:
        """Rings when an invoice was settled."""
        ...

    async def add_invoice(self, record: InvoiceRecord) -> None:
        """Keep a new invoice, before anybody sees it."""
        ...

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        ...

    async def list_invoices(self, *, pending_only: bool = False, offset: int = 0) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        ...

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index; None when there is no such invoice.

        Paid is for good: a second call changes nothing and returns what the first one made.
        """
        ...

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired; a paid one stays paid."""
        ...

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this, in their order."""
        ...

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far, zero for none."""
        ...

    async def begin_payment(self, record: PaymentRecord) -> PaymentRecord:
        """Keep an attempt to pay before a byte of it is sent, and return the attempt that counts.

        That is the one given, or the one already kept for this payment hash if it has not definitely failed: then
        nothing was kept and nothing may be sent anew.
        """
        ...

    async def update_payment(self, record: PaymentRecord) -> None:
        """Keep what became of an attempt; one that is complete stays complete."""
        ...

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the latest attempt for this payment hash."""
        ...

    async def list_payments(self, *, include_pending: bool = False, offset: int = 0) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        ...

    async def aclose(self) -> None:
        """Let go of files and connections."""
        ...
