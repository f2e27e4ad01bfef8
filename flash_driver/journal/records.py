"""What a journal keeps of an invoice and of an attempt to pay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from decimal import Decimal  # noqa: TC003 - as above

from connection_strings.lightning import (
    LightningInvoice,
    LightningInvoiceStatus,
    LightningPayment,
    LightningPaymentStatus,
)
from connection_strings.money import LightMoney

__all__ = ["InvoiceRecord", "PaymentRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """An invoice that was made.

    Attributes:
        amount_msat: The BOLT11's amount in millisatoshi, None when amountless.
        cents: What was asked for of the server, in cents (satoshi for a BTC wallet); None when amountless.
        description: The full text, also where the BOLT11 carries a cut one or a hash.
        settle_index: The place among the settled invoices, counted from one; None while not settled.
        orphan: Whether the server made it and the host never got it, such as one over another amount than asked.

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
    orphan: bool = False

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
        wallet_id: The wallet that pays; empty as long as the attempt is being prepared.
        amount_msat: What the payee gets, in millisatoshi; an estimate where `cents` is set.
        attempt: Counted from one; a new one is made only after the one before has definitely failed.
        idempotency_key: What makes the server recognise a repeated request; None where the mutation has none.
        cents: The amount asked with on an amountless BOLT11, in cents; None otherwise.
        fee_msat: The fee, as far as it was told; an estimate of a probe is none.
        failure: Why it failed, or why it is not known how it ended, in words.
        begun_by: Names the call that began it; nobody else writes to it as long as that call may be at it.
        sent_at: When it was about to be sent. None: certainly nothing of it was ever sent.
        sender_until: Until when the call that began it may be at it.
        resolve_early: Whether the server may be asked how it ended before its BOLT11 has expired.
        settled_by_hand: The reason that an operator wrote down for deciding how it ended; None if nobody did.

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
    begun_by: str = ""
    sent_at: datetime | None = None
    sender_until: datetime | None = None
    resolve_early: bool = False
    settled_by_hand: str | None = None

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
            amount_estimated=self.cents is not None,
            sent_at=self.sent_at,
            failure=self.failure,
            settled_by_hand=self.settled_by_hand,
        )
