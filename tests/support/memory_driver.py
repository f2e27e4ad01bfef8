"""A driver of a node in memory, `type=memory;node=NAME`, written from the contract's documents alone.

It keeps all that the contract asks for and nothing more. Invoices are exact, payments arrive at once, and there are
peers and channels, which Flash has not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, overload

from connection_strings import (
    ConnectionResult,
    ConnectionString,
    ConnectionStringError,
    CreateInvoiceParams,
    InvalidRequest,
    KeysendParams,
    LightMoney,
    LightningChannel,
    LightningInvoice,
    LightningInvoiceStatus,
    LightningNodeBalance,
    LightningNodeInformation,
    LightningPayment,
    LightningPaymentStatus,
    ListInvoicesParams,
    ListPaymentsParams,
    NotSupported,
    OffchainBalance,
    OpenChannelResult,
    PayDetails,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)
from flash_driver.sandbox.bank.signer import InvoiceSigner, NotAnInvoiceError, read_invoice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from flash_driver.sandbox.bank.signer import SignedInvoice

__all__ = ["MemoryClient", "MemoryHandler", "MemoryNode"]

_FINAL: Final = (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)
_Listed = TypeVar("_Listed", LightningInvoice, LightningPayment)


@dataclass
class MemoryNode:
    """The node that clients of one name share."""

    nodes: ClassVar[dict[str, MemoryNode]] = {}

    name: str
    signer: InvoiceSigner = field(default_factory=InvoiceSigner)
    invoices: dict[str, LightningInvoice] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    payments: dict[str, LightningPayment] = field(default_factory=dict)
    peers: set[str] = field(default_factory=set)
    channels: list[LightningChannel] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def sign(self, params: CreateInvoiceParams) -> SignedInvoice:
        """Make a BOLT11."""
        msat = None if params.amount is None or params.amountless else params.amount.msat
        return self.signer.sign(
            msat=msat,
            description=params.description,
            now=datetime.now(UTC),
            expiry=params.expiry,
            description_hash=params.committed_hash,
        )

    def settle(self, payment_hash: str) -> None:
        """Take the payment of an invoice."""
        invoice = self.invoices[payment_hash]
        self.invoices[payment_hash] = replace(
            invoice,
            status=LightningInvoiceStatus.PAID,
            amount_received=invoice.amount,
            paid_at=datetime.now(UTC),
        )
        self.settled.append(payment_hash)
        self.tell()

    def tell(self) -> None:
        """Wake up who listens."""
        self.news.set()
        self.news = asyncio.Event()


class MemoryListener:
    """Hears of settlements behind a place."""

    def __init__(self, node: MemoryNode, place: int) -> None:
        self._node = node
        self._place = place
        self._closed = False

    @property
    def cursor(self) -> str:
        """Where it stands."""
        return f"{self._node.name}/{self._place}"

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice."""
        while not self._closed and len(self._node.settled) <= self._place:
            await self._node.news.wait()
        if self._closed:
            raise asyncio.CancelledError("the listener was closed")
        self._place += 1
        return self._node.invoices[self._node.settled[self._place - 1]]

    async def aclose(self) -> None:
        """Stop listening."""
        self._closed = True
        self._node.tell()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LightningInvoice:
        try:
            return await self.wait_invoice()
        except asyncio.CancelledError:
            if self._closed:
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class MemoryClient:
    """A client of a node in memory."""

    def __init__(self, node: MemoryNode) -> None:
        self._node = node
        self._listeners: list[MemoryListener] = []

    @property
    def connection_string(self) -> ConnectionString:
        """What it was made of."""
        return ConnectionString("memory", {"node": self._node.name})

    @overload
    async def create_invoice(self, params: CreateInvoiceParams, /) -> LightningInvoice: ...

    @overload
    async def create_invoice(
        self, amount: LightMoney, description: str = "", expiry: timedelta = timedelta(minutes=15)
    ) -> LightningInvoice: ...

    async def create_invoice(
        self,
        amount: LightMoney | CreateInvoiceParams,
        description: str = "",
        expiry: timedelta = timedelta(minutes=15),
    ) -> LightningInvoice:
        """Create an invoice."""
        params = amount if isinstance(amount, CreateInvoiceParams) else CreateInvoiceParams(amount, description, expiry)
        signed = self._node.sign(params)
        invoice = LightningInvoice(
            id=signed.payment_hash,
            payment_hash=signed.payment_hash,
            bolt11=signed.payment_request,
            status=LightningInvoiceStatus.UNPAID,
            expires_at=signed.expires_at,
            amount=None if signed.msat is None else LightMoney.from_msat(signed.msat),
        )
        self._node.invoices[invoice.id] = invoice
        return invoice

    async def create_invoices(self, params: Sequence[CreateInvoiceParams]) -> list[LightningInvoice]:
        """Create invoices."""
        return [await self.create_invoice(each) for each in params]

    async def get_invoice(self, invoice_id: str) -> LightningInvoice | None:
        """Look an invoice up."""
        return self._node.invoices.get(invoice_id)

    async def list_invoices(self, params: ListInvoicesParams | None = None) -> list[LightningInvoice]:
        """List invoices."""
        params = params or ListInvoicesParams()
        unpaid = LightningInvoiceStatus.UNPAID
        rows = _behind(list(self._node.invoices.values()), params.after)
        wanted = [each for each in rows if not params.pending_only or each.status is unpaid]
        return wanted[params.offset_index :]

    async def cancel_invoice(self, invoice_id: str) -> None:
        """Forget an invoice that is not paid."""
        self._node.invoices.pop(invoice_id, None)

    async def listen(self, *, after: str | None = None) -> MemoryListener:
        """Hear of settlements."""
        place = len(self._node.settled)
        if after is not None:
            name, _, index = after.rpartition("/")
            if name != self._node.name or not index.isdigit() or int(index) > place:
                raise InvalidRequest("after", "is no cursor of this node")
            place = int(index)
        listener = MemoryListener(self._node, place)
        self._listeners.append(listener)
        return listener

    async def pay(self, bolt11: str, params: PayInvoiceParams | None = None) -> PayResponse:
        """Pay a BOLT11, once."""
        params = params or PayInvoiceParams()
        try:
            read = read_invoice(bolt11)
        except NotAnInvoiceError as error:
            raise InvalidRequest("bolt11", str(error)) from None
        amount = params.amount if read.msat is None else LightMoney.from_msat(read.msat)
        if amount is None or params.amount not in (None, amount):
            raise InvalidRequest("amount", "must be given where the BOLT11 has none, and be its own where it has")
        before = self._node.payments.get(read.payment_hash)
        if before is None:
            self._node.payments[read.payment_hash] = _payment(read.payment_hash, bolt11, amount)
        return _paid(read.payment_hash, amount, before=before is not None)

    async def keysend(self, destination: str, params: KeysendParams) -> PayResponse:
        """Pay a node that made no invoice."""
        signed = self._node.sign(CreateInvoiceParams(params.amount, destination))
        self._node.payments[signed.payment_hash] = _payment(signed.payment_hash, "", params.amount)
        return _paid(signed.payment_hash, params.amount, before=False)

    async def get_payment(self, payment_hash: str) -> LightningPayment | None:
        """Look a payment up."""
        return self._node.payments.get(payment_hash)

    async def list_payments(self, params: ListPaymentsParams | None = None) -> list[LightningPayment]:
        """List payments."""
        params = params or ListPaymentsParams()
        if params.unknown_only:
            return []
        rows = _behind(list(self._node.payments.values()), params.after)
        return [each for each in rows if params.include_pending or each.status in _FINAL][params.offset_index :]

    async def get_balance(self) -> LightningNodeBalance:
        """Tell the balance."""
        return LightningNodeBalance(offchain=OffchainBalance(local=LightMoney.from_sat(1_000_000)))

    async def get_info(self) -> LightningNodeInformation:
        """Tell of the node."""
        return LightningNodeInformation(alias=self._node.name, peers_count=len(self._node.peers))

    async def validate(self) -> None:
        """Find nothing wrong."""

    async def open_channel(
        self, node_uri: str, amount: LightMoney, *, fee_rate: Decimal | None = None, private: bool = False
    ) -> OpenChannelResult:
        """Open a channel to a peer."""
        del fee_rate  # there are no miners here
        if node_uri not in self._node.peers:
            return OpenChannelResult.PEER_NOT_CONNECTED
        channel = LightningChannel(
            remote_node=node_uri.partition("@")[0],
            public=not private,
            active=True,
            capacity=amount,
            local_balance=amount,
            channel_point=f"{'00' * 32}:{len(self._node.channels)}",
        )
        self._node.channels.append(channel)
        return OpenChannelResult.OK

    async def connect_to(self, node_uri: str) -> ConnectionResult:
        """Connect to a peer."""
        if "@" not in node_uri:
            return ConnectionResult.COULD_NOT_CONNECT
        self._node.peers.add(node_uri)
        return ConnectionResult.OK

    async def get_deposit_address(self) -> str:
        """Refuse."""
        raise NotSupported("there is no chain in memory")

    async def list_channels(self) -> Sequence[LightningChannel]:
        """List channels."""
        return tuple(self._node.channels)

    async def aclose(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            await listener.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class MemoryHandler:
    """Makes clients of `type=memory;node=NAME`."""

    type: Final = "memory"

    def create(self, connection_string: ConnectionString) -> MemoryClient | None:
        """Make a client."""
        if connection_string.type != self.type:
            return None
        if (name := connection_string.get("node")) is None:
            raise ConnectionStringError("the key 'node' is missing", key="node")
        return MemoryClient(MemoryNode.nodes.setdefault(name, MemoryNode(name)))


def _behind(rows: list[_Listed], after: str | None) -> list[_Listed]:
    """Leave out everything up to an id."""
    ids: list[Any] = [each.id for each in rows]
    if after is None:
        return rows
    if after not in ids:
        raise InvalidRequest("after", "is not known here")
    return rows[ids.index(after) + 1 :]


def _payment(payment_hash: str, bolt11: str, amount: LightMoney) -> LightningPayment:
    now = datetime.now(UTC)
    return LightningPayment(
        id=payment_hash,
        payment_hash=payment_hash,
        bolt11=bolt11,
        status=LightningPaymentStatus.COMPLETE,
        created_at=now,
        sent_at=now,
        amount=amount,
        amount_sent=amount,
        fee=LightMoney.ZERO,
    )


def _paid(payment_hash: str, amount: LightMoney, *, before: bool) -> PayResponse:
    details = PayDetails(
        payment_hash=payment_hash,
        status=LightningPaymentStatus.COMPLETE,
        total_amount=amount,
        fee_amount=LightMoney.ZERO,
    )
    return PayResponse(result=PayResult.OK, details=details, paid_before=before)
