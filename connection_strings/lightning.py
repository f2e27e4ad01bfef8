"""What a host asks of a Lightning driver.

The shape is BTCPay Server's `ILightningClient` in snake_case. The values that pass between them live in `invoices`,
`payments` and `node`, and can be imported from here as well. Values are frozen; money is `LightMoney`; times are aware
UTC datetimes; hashes and preimages are lower-case hex of 32 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, overload, runtime_checkable

from connection_strings.invoices import (
    DEFAULT_EXPIRY,
    CreateInvoiceParams,
    LightningInvoice,
    LightningInvoiceStatus,
    ListInvoicesParams,
)
from connection_strings.node import (
    BalanceEstimate,
    LightningNodeBalance,
    LightningNodeInformation,
    OffchainBalance,
    OnchainBalance,
)
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
    from collections.abc import Sequence
    from datetime import timedelta
    from types import TracebackType

    from connection_strings.money import LightMoney

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

    async def create_invoice(
        self, amount: LightMoney | CreateInvoiceParams, description: str = "", expiry: timedelta = DEFAULT_EXPIRY
    ) -> LightningInvoice:
        """Create an invoice.

        What counts is the invoice that is returned: a backend that keeps another currency may make it over slightly
        more than was asked for, unless a description hash is wanted, and may let it live for less time.

        Args:
            amount: The terms; or the amount of an invoice with the terms that follow, zero to leave it to the payer.
            description: What the payer reads.
            expiry: How long the invoice should be payable.

        Raises:
            InvalidRequest: The terms are malformed.
            AmountMismatch: The backend makes no invoice over this amount.
            RateLimited: The backend takes no more for now; the error says when it does.
            NotSupported: The backend can't make such an invoice.
            CredentialRejected: The backend refuses the credential.
            BackendUnavailable: The backend can't be reached.
            LightningError: Base of these and of what else may go wrong.

        """
        ...

    async def create_invoices(self, params: Sequence[CreateInvoiceParams]) -> list[LightningInvoice]:
        """Create many invoices at once; the answer has the order of the question."""
        ...

    async def get_invoice(self, invoice_id: str) -> LightningInvoice | None:
        """Look an invoice up by id or payment hash; None only when it is certainly unknown."""
        ...

    async def list_invoices(self, params: ListInvoicesParams | None = None) -> list[LightningInvoice]:
        """List the invoices made through this driver, oldest first.

        Raises:
            InvalidRequest: `after` names no invoice that this driver knows.

        """
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
        """List the payments made through this driver, oldest first.

        Raises:
            InvalidRequest: `after` names no payment that this driver knows.

        """
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
