"""Invoices as a host asks for them and as a backend made them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING

from connection_strings.checks import check_page, check_type, read_payment_hash
from connection_strings.errors import InvalidRequest
from connection_strings.money import LightMoney

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_EXPIRY",
    "CreateInvoiceParams",
    "LightningInvoice",
    "LightningInvoiceStatus",
    "ListInvoicesParams",
]

DEFAULT_EXPIRY = timedelta(minutes=15)


class LightningInvoiceStatus(Enum):
    """Where an invoice stands.

    PAID is for good. EXPIRED is the backend's word after the BOLT11 has run out; should a payment arrive late all the
    same, the invoice becomes PAID, listeners are told, and `get_invoice` says so.
    """

    UNPAID = "unpaid"
    PAID = "paid"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class CreateInvoiceParams:
    """The terms of an invoice to be created.

    Attributes:
        amount: What the payer pays; zero or None makes an amountless invoice (BOLT 11: the amount is optional).
        description: What the payer reads (BOLT 11 field `d`), or what is hashed.
        expiry: How long the invoice can be paid; a backend may cap it, the invoice says what it became.
        description_hash_only: Commit to the SHA-256 of `description` instead of carrying it (BOLT 11 `h`, LUD-06).
        private_route_hints: Ask for hints to private channels; a custodial backend ignores it.
        description_hash: Commit to this SHA-256 as it is, 64 lower-case hex digits, because its text is known to
            somebody else only. `description` then is what a backend without hashes may show instead; together with
            `description_hash_only` it is the very text, and must be left empty or have this hash.
        amount_tolerance: How much more than `amount` the invoice may be over, in percent from 0 to 100, for a backend
            that keeps another currency; None leaves it to the connection string. Never less than asked.

    Raises:
        InvalidRequest: A value of another type, a negative amount, an expiry of zero or less, a hash that is malformed
            or belongs to another text, or a tolerance that is no percentage.

    """

    amount: LightMoney | None = None
    description: str = ""
    expiry: timedelta = DEFAULT_EXPIRY
    description_hash_only: bool = False
    private_route_hints: bool = False
    description_hash: str | None = None
    amount_tolerance: Decimal | None = None

    def __post_init__(self) -> None:
        check_type("amount", self.amount, LightMoney, None)
        check_type("description", self.description, str)
        check_type("description_hash", self.description_hash, str, None)
        check_type("expiry", self.expiry, timedelta)
        if self.amount is not None and self.amount.msat < 0:
            raise InvalidRequest("amount", "must not be negative; use zero for an amountless invoice")
        if self.expiry <= timedelta(0):
            raise InvalidRequest("expiry", "must be longer than zero; 15 minutes is usual")
        if self.description_hash is not None:
            self._check_hash(self.description_hash)
        check_type("amount_tolerance", self.amount_tolerance, Decimal, None)
        if self.amount_tolerance is not None and not (
            self.amount_tolerance.is_finite() and 0 <= self.amount_tolerance <= 100
        ):
            raise InvalidRequest("amount_tolerance", "must be a percentage from 0 to 100")

    def _check_hash(self, given: str) -> None:
        if read_payment_hash(given) != given:
            raise InvalidRequest("description_hash", "must be 64 lower-case hexadecimal digits")
        if self.description_hash_only and self.description and given != _sha256(self.description):
            raise InvalidRequest("description_hash", "is not that of the description; leave one of them out")

    @property
    def amountless(self) -> bool:
        """Whether the payer chooses the amount."""
        return self.amount is None or self.amount.msat == 0

    @property
    def committed_hash(self) -> str | None:
        """The hash that the BOLT11 is to commit to (field `h`), None when it carries the description itself."""
        if self.description_hash is not None:
            return self.description_hash
        return _sha256(self.description) if self.description_hash_only else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningInvoice:
    """An invoice as the backend made it: amount, expiry and hashes are those of its BOLT11.

    Attributes:
        id: What `get_invoice` takes: the payment hash in lower-case hex.
        payment_hash: The same hash.
        preimage: What only the paid party and the payer know; None while unknown.
        bolt11: The payment request as the payer gets it.
        status: Where it stands.
        amount: What the BOLT11 asks for, None when amountless.
        amount_received: What was paid. None once PAID means that the backend has not told it yet (an amountless
            invoice); ask `get_invoice` later, it tells the amount when it is known.
        expires_at: When the BOLT11 stops being payable.
        paid_at: When the settlement was seen; always set once PAID.
        custom_records: TLV records of a keysend payment; None for a backend without them.

    """

    id: str
    payment_hash: str
    bolt11: str
    status: LightningInvoiceStatus
    expires_at: datetime
    amount: LightMoney | None
    preimage: str | None = None
    amount_received: LightMoney | None = None
    paid_at: datetime | None = None
    custom_records: Mapping[int, bytes] | None = None


@dataclass(frozen=True, slots=True)
class ListInvoicesParams:
    """Which invoices to list, in the order they were created.

    A list may have an end before the last invoice: a backend bounds it. To get all, ask again with `after` the
    last one until a list is empty: then none is left out and none comes twice, whatever is created meanwhile.

    Attributes:
        pending_only: Leave out what was paid or has expired.
        offset_index: How many to pass over. A backend counts them, which takes longer the more they are.
        after: The id of an invoice: list those that were created after it.

    Raises:
        InvalidRequest: A value of another type, or an offset below zero.

    """

    pending_only: bool = False
    offset_index: int = 0
    after: str | None = None

    def __post_init__(self) -> None:
        check_page(self.after, self.offset_index)


def _sha256(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
