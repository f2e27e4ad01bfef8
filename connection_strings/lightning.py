"""What a host asks of a Lightning driver, and the values that pass between them.

The shape is BTCPay Server's `ILightningClient` in snake_case. Values are frozen; money is `LightMoney`; times are aware
UTC datetimes; hashes and preimages are lower-case hex of 32 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal  # noqa: TC003 - dataclass fields are read at run time
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol, Self, overload, runtime_checkable

from connection_strings.checks import check_offset, check_type
from connection_strings.errors import InvalidRequest
from connection_strings.money import LightMoney
from connection_strings.payment_hash import read_payment_hash
from connection_strings.payments import (
    DEFAULT_SEND_TIMEOUT,
    LightningPayment,
    LightningPaymentStatus,
    ListPaymentsParams,
    PayDetails,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

__all__ = [
    "DEFAULT_EXPIRY",
    "DEFAULT_SEND_TIMEOUT",
    "BalanceEstimate",
    "CreateInvoiceParams",
    "LightningClient",
    "LightningInvoice",
    "LightningInvoiceListener",
    "LightningInvoiceStatus",
    "LightningNodeBalance",
    "LightningNodeInformation",
    "LightningPayment",
    "LightningPaymentStatus",
    "ListInvoicesParams",
    "ListPaymentsParams",
    "OffchainBalance",
    "OnchainBalance",
    "PayDetails",
    "PayInvoiceParams",
    "PayResponse",
    "PayResult",
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

    Raises:
        InvalidRequest: A value of another type, a negative amount, an expiry of zero or less, or a hash that is
            malformed or belongs to another text.

    """

    amount: LightMoney | None = None
    description: str = ""
    expiry: timedelta = DEFAULT_EXPIRY
    description_hash_only: bool = False
    private_route_hints: bool = False
    description_hash: str | None = None

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

    def _check_hash(self, given: str) -> None:
        if read_payment_hash(given) != given:
            raise InvalidRequest("description_hash", "must be 64 lower-case hexadecimal digits")
        if self.description_hash_only and self.description and given != _sha256(self.description):
            raise InvalidRequest("description_hash", "is not that of the description; leave one of them out")

    @property
    def amountless(self) -> bool:
        """Whether the payer chooses the amount."""
        return not self.amount

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
    """Which invoices to list: those not settled only, and from which zero-based place in order of creation."""

    pending_only: bool = False
    offset_index: int = 0

    def __post_init__(self) -> None:
        check_offset(self.offset_index)


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningNodeInformation:
    """What is known of the node behind the backend; None or zero where a custodian does not tell.

    A `block_height` of 0 means "not known": BTCPay treats a lagging height as a node that is not in sync.
    """

    alias: str | None = None
    color: str | None = None
    version: str | None = None
    block_height: int = 0
    node_uris: Sequence[str] = ()
    peers_count: int | None = None
    active_channels_count: int | None = None
    inactive_channels_count: int | None = None
    pending_channels_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainBalance:
    """Bitcoin on the chain."""

    confirmed: LightMoney | None = None
    unconfirmed: LightMoney | None = None
    reserved: LightMoney | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffchainBalance:
    """Bitcoin in channels; `local` is what can be spent."""

    opening: LightMoney | None = None
    local: LightMoney | None = None
    remote: LightMoney | None = None
    closing: LightMoney | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceEstimate:
    """Where an estimated balance comes from: the backend holds another currency.

    Attributes:
        currency: The currency held, such as USD.
        minor_units: What is held, in hundredths of that currency (cents).
        minor_units_per_sat: The rate used, in cents per satoshi.
        rate_time: When that rate was learned.

    """

    currency: str
    minor_units: Decimal
    minor_units_per_sat: Decimal
    rate_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningNodeBalance:
    """The balance; with `estimate` set, the bitcoin amounts are converted from another currency."""

    onchain: OnchainBalance | None = None
    offchain: OffchainBalance = field(default_factory=OffchainBalance)
    estimate: BalanceEstimate | None = None


@runtime_checkable
class LightningInvoiceListener(Protocol):
    """Hears of each settled invoice exactly once, in the order of settlement."""

    @property
    def cursor(self) -> str:
        """Where this listener stands: hand it to `listen(after=...)` to go on from here."""
        ...

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice.

        Raises:
            LightningError: Settlements can't be heard any more; listen again.
            asyncio.CancelledError: The listener was closed, or the caller was cancelled.

        """
        ...

    async def aclose(self) -> None:
        """Stop listening; a pending `wait_invoice` is cancelled."""
        ...

    def __aiter__(self) -> Self:
        """Iterate over paid invoices until the listener is closed."""
        ...

    async def __anext__(self) -> LightningInvoice:
        """Wait for the next paid invoice."""
        ...

    async def __aenter__(self) -> Self:
        """Return the listener itself."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        ...


@runtime_checkable
class LightningClient(Protocol):
    """A Lightning backend, as a host sees it: BTCPay Server's `ILightningClient`.

    Every method raises `LightningError` or one of its kinds, and `NotSupported` for what the backend can't do.
    """

    @overload
    async def create_invoice(self, params: CreateInvoiceParams, /) -> LightningInvoice: ...

    @overload
    async def create_invoice(
        self, amount: LightMoney, description: str = "", expiry: timedelta = DEFAULT_EXPIRY
    ) -> LightningInvoice: ...

    async def create_invoices(self, params: Sequence[CreateInvoiceParams]) -> list[LightningInvoice]:
        """Create many invoices at once; the answer has the order of the question."""
        ...

    async def get_invoice(self, invoice_id: str) -> LightningInvoice | None:
        """Look an invoice up by id or payment hash; None only when it is certainly unknown."""
        ...

    async def list_invoices(self, params: ListInvoicesParams | None = None) -> list[LightningInvoice]:
        """List the invoices made through this driver, oldest first."""
        ...

    async def cancel_invoice(self, invoice_id: str) -> None:
        """Make an invoice unpayable."""
        ...

    async def listen(self, *, after: str | None = None) -> LightningInvoiceListener:
        """Start hearing of settled invoices: from now, or from a listener's `cursor` on."""
        ...

    async def pay(self, bolt11: str, params: PayInvoiceParams | None = None) -> PayResponse:
        """Pay a BOLT11; an outcome that can't be known is UNKNOWN, never ERROR."""
        ...

    async def get_payment(self, payment_hash: str) -> LightningPayment | None:
        """Look a payment up; None only when none was ever sent for this hash."""
        ...

    async def list_payments(self, params: ListPaymentsParams | None = None) -> list[LightningPayment]:
        """List the payments made through this driver, oldest first."""
        ...

    async def get_balance(self) -> LightningNodeBalance:
        """Read the balance."""
        ...

    async def get_info(self) -> LightningNodeInformation:
        """Say what is known of the node, and prove that the backend answers."""
        ...

    async def validate(self) -> None:
        """Check that the configuration works: raise the reason if it does not."""
        ...

    async def open_channel(self, node_uri: str, amount: LightMoney) -> None:
        """Open a channel."""
        ...

    async def connect_to(self, node_uri: str) -> None:
        """Connect to a peer."""
        ...

    async def get_deposit_address(self) -> str:
        """Return an on-chain address to fund the node."""
        ...

    async def list_channels(self) -> Sequence[object]:
        """List channels."""
        ...

    async def aclose(self) -> None:
        """Let go of everything this client holds."""
        ...

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything this client holds."""
        ...


def _sha256(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
