"""What a host asks of a Lightning driver.

The shape is BTCPay Server's `ILightningClient` in snake_case. The values that pass between them live in `invoices`,
`payments` and `node`, and can be imported from here as well. Values are frozen; money is `LightMoney`;
times are aware UTC datetimes; hashes and preimages are lower-case hex of 32 bytes.
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
    ConnectionResult,
    LightningChannel,
    LightningNodeBalance,
    LightningNodeInformation,
    OffchainBalance,
    OnchainBalance,
    OpenChannelResult,
)
from connection_strings.payments import (
    DEFAULT_SEND_TIMEOUT,
    KeysendParams,
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
    from decimal import Decimal
    from types import TracebackType

    from connection_strings.grammar import ConnectionString
    from connection_strings.money import LightMoney

__all__ = [
    "DEFAULT_EXPIRY",
    "DEFAULT_SEND_TIMEOUT",
    "BalanceEstimate",
    "ConnectionResult",
    "CreateInvoiceParams",
    "KeysendParams",
    "LightningChannel",
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
    "OpenChannelResult",
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
        """Where this listener stands, behind the last invoice it gave out.

        Hand it to `listen(after=...)` to go on from here, also in another process; store it in the transaction that
        marks the order as paid.
        """
        ...

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice.

        Raises:
            LightningError: Settlements can't be heard any more; listen again.
            asyncio.CancelledError: The listener was closed, or the caller was cancelled.

        """
        ...

    async def aclose(self) -> None:
        """Stop listening; a pending `wait_invoice` is cancelled, and iterating ends. May be called again."""
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

    Every method may raise `LightningError`, of which the kinds named with a method are the usual ones: where nothing
    else is said, `BackendUnavailable` when the backend can't be reached, `CredentialRejected` when it refuses the
    credential, and `NotSupported` for what it can't do at all. A client is used on one event loop at a time.
    """

    @property
    def connection_string(self) -> ConnectionString:
        """What this client was made of: the factory makes the same one of it.

        It shows no secret in a `repr`, log line or f-string; `render()` gives the whole text, for storing it.
        """
        ...

    # --- invoices ---------------------------------------------------------------------------------------------------

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

        It is there, or an error is raised, within 5 s in all: hosts do not wait for longer. What counts is the invoice
        that is returned: a backend that keeps another currency may make it over slightly more than was asked for
        (`CreateInvoiceParams.amount_tolerance`), unless a description hash is wanted, and may let it live for less
        time.

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
        """Create many invoices at once; the answer has the order of the question.

        Raises:
            RateLimited: The backend takes not as many for now; none was created.
            LightningError: As `create_invoice`; those that were created are listed by `list_invoices`.

        """
        ...

    async def get_invoice(self, invoice_id: str) -> LightningInvoice | None:
        """Look an invoice up by id or payment hash; None only when it is certainly unknown.

        A host that hears None forgets the invoice for good, so whatever can't be found out now is an error.

        Raises:
            LightningError: It can't be found out now how it stands.

        """
        ...

    async def list_invoices(self, params: ListInvoicesParams | None = None) -> list[LightningInvoice]:
        """List the invoices made through this driver, oldest first; the list may be bounded, ask again with `after`.

        Raises:
            InvalidRequest: `after` names no invoice that this driver knows.

        """
        ...

    async def cancel_invoice(self, invoice_id: str) -> None:
        """Make an invoice unpayable.

        Raises:
            NotSupported: The backend can't.

        """
        ...

    async def listen(self, *, after: str | None = None) -> LightningInvoiceListener:
        """Start hearing of settled invoices: from now, or from a listener's `cursor` on, across restarts.

        Raises:
            InvalidRequest: `after` is no cursor of this wallet: listen without it, and compare with `list_invoices`.

        """
        ...

    # --- payments ---------------------------------------------------------------------------------------------------

    async def pay(self, bolt11: str, params: PayInvoiceParams | None = None) -> PayResponse:
        """Pay a BOLT11; an outcome that can't be known is UNKNOWN, never ERROR.

        After UNKNOWN ask `get_payment`, and never pay in another way: the money may have left. Paying the same BOLT11
        again sends nothing twice.

        Raises:
            InvalidRequest: The BOLT11 or the amount makes no sense; nothing was sent.
            LightningError: Something before the payment failed; nothing was sent.

        """
        ...

    async def keysend(self, destination: str, params: KeysendParams) -> PayResponse:
        """Pay a node that made no invoice (BLIP-0003).

        Args:
            destination: The public key of the node, 66 hex digits.
            params: Amount, limits, and records to send along.

        Raises:
            NotSupported: The backend can't.
            LightningError: As `pay`; nothing was sent.

        """
        ...

    async def get_payment(self, payment_hash: str) -> LightningPayment | None:
        """Look a payment up; None only when none was ever sent for this hash.

        Raises:
            LightningError: It can't be found out now.

        """
        ...

    async def list_payments(self, params: ListPaymentsParams | None = None) -> list[LightningPayment]:
        """List the payments made through this driver, oldest first; the list may be bounded, ask again with `after`.

        Raises:
            InvalidRequest: `after` names no payment that this driver knows.

        """
        ...

    # --- the node ---------------------------------------------------------------------------------------------------

    async def get_balance(self) -> LightningNodeBalance:
        """Read the balance; an estimate where the backend keeps another currency, and then it says so."""
        ...

    async def get_info(self) -> LightningNodeInformation:
        """Say what is known of the node, and prove that the backend answers, within 5 s."""
        ...

    async def validate(self) -> None:
        """Check that server, credential and wallet of the connection string work together.

        Raises:
            ConnectionStringError: A key of the string fits nothing that the backend has.
            CredentialRejected: The backend refuses the credential.
            LightningError: The backend can't be reached, or answers something unusable.

        """
        ...

    async def open_channel(
        self, node_uri: str, amount: LightMoney, *, fee_rate: Decimal | None = None, private: bool = False
    ) -> OpenChannelResult:
        """Open a channel to a peer.

        Args:
            node_uri: The peer, as `public key@host:port`.
            amount: What to put into the channel.
            fee_rate: What to pay the miners, in satoshi per virtual byte; None leaves it to the node.
            private: Whether the channel is not announced to the network.

        Raises:
            NotSupported: The backend can't.

        """
        ...

    async def connect_to(self, node_uri: str) -> ConnectionResult:
        """Connect to a peer, `public key@host:port`.

        Raises:
            NotSupported: The backend can't.

        """
        ...

    async def get_deposit_address(self) -> str:
        """Return an on-chain address to fund the node.

        Raises:
            NotSupported: The backend has none.

        """
        ...

    async def list_channels(self) -> Sequence[LightningChannel]:
        """List the channels of the node.

        Raises:
            NotSupported: The backend has none.

        """
        ...

    # --- life -------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close this client's listeners, and let go of everything it holds; calls under way come to their end."""
        ...

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of everything this client holds."""
        ...
