"""A driver that has nothing to do with Flash: a node in memory, for `type=fake`.

It honours description hashes, tells exact amounts and preimages, and remembers per `node=` in the process, so that
clients of one node share it as replicas share a backend.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Never, Self, TypeVar

from connection_strings import (
    ConnectionString,
    ConnectionStringError,
    CreateInvoiceParams,
    InvalidRequest,
    LightMoney,
    LightningError,
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
    PayDetails,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)
from flash_driver.sandbox.bank.signer import (  # real BOLT11 invoices; nothing of Flash is in them
    InvoiceSigner,
    read_invoice,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from connection_strings import KeysendParams

__all__ = ["FakeClient", "FakeHandler", "FakeListener", "FakeNode", "paid_invoice"]

Listed = TypeVar("Listed", LightningInvoice, LightningPayment)


class FakeNode:
    """What stands behind the clients.

    Attributes:
        broken: While set, every call raises it.
        forgetful: While set, looking an invoice up raises it.
        pay_result: How the next payments end.
        most_listed: How many invoices or payments a list has at the most.
        before_paying: The first is set when a payment begins, which then waits for the second.

    """

    nodes: ClassVar[dict[str, FakeNode]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.signer = InvoiceSigner()
        self.invoices: dict[str, LightningInvoice] = {}
        self.preimages: dict[str, str] = {}
        self.settled: list[str] = []
        self.asked: list[str] = []
        self.payments: dict[str, LightningPayment] = {}
        self.created: list[CreateInvoiceParams] = []
        self.paid_with: list[PayInvoiceParams] = []
        self.broken: LightningError | None = None
        self.forgetful: LightningError | None = None
        self.pay_result = PayResult.OK
        self.most_listed = 1_000
        self.changed = asyncio.Condition()
        self.listeners = 0
        self.before_paying: tuple[asyncio.Event, asyncio.Event] | None = None

    @classmethod
    def named(cls, name: str) -> FakeNode:
        """Return the node with this name."""
        return cls.nodes.setdefault(name, cls(name))

    async def pay(
        self, payment_hash: str, amount: LightMoney | None = None, *, heard: bool = True, at: datetime | None = None
    ) -> LightningInvoice:
        """Pay an invoice, as a payer would, now or `at`; a settlement that is not heard is found by asking only."""
        invoice = self.invoices[payment_hash]
        paid = self.invoices[payment_hash] = replace(
            invoice,
            status=LightningInvoiceStatus.PAID,
            amount_received=amount or invoice.amount,
            paid_at=at or datetime.now(UTC),
            preimage=self.preimages[payment_hash],
        )
        if heard:
            self.settled.append(payment_hash)
            await self.ring()
        return paid

    async def ring(self) -> None:
        """Wake the listeners up."""
        async with self.changed:
            self.changed.notify_all()

    def cursor(self, index: int) -> str:
        """Return the cursor that stands behind that many settlements."""
        return f"{self.name}:{index}"


class FakeListener:
    """Hears of settlements of a node from an index on."""

    def __init__(self, node: FakeNode, index: int) -> None:
        self._node = node
        self._index = index
        self._closed = False
        node.listeners += 1

    @property
    def cursor(self) -> str:
        """Where it stands."""
        return self._node.cursor(self._index)

    async def wait_invoice(self) -> LightningInvoice:
        """Wait for the next paid invoice."""
        async with self._node.changed:
            while len(self._node.settled) <= self._index:
                if self._node.broken is not None:
                    raise self._node.broken
                await self._node.changed.wait()
                if self._closed:
                    raise asyncio.CancelledError
        self._index += 1
        return self._node.invoices[self._node.settled[self._index - 1]]

    async def aclose(self) -> None:
        """Stop listening."""
        if not self._closed:
            self._closed = True
            self._node.listeners -= 1
            await self._node.ring()

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


class FakeClient:
    """A client of a `FakeNode`."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    @property
    def connection_string(self) -> ConnectionString:
        """Tell how to get here."""
        return ConnectionString("fake", {"node": self.node.name})

    def _check(self) -> None:
        if self.node.broken is not None:
            raise self.node.broken

    async def create_invoice(
        self,
        amount: LightMoney | CreateInvoiceParams,
        description: str = "",
        expiry: timedelta = timedelta(minutes=15),
    ) -> LightningInvoice:
        """Make an invoice."""
        params = amount if isinstance(amount, CreateInvoiceParams) else CreateInvoiceParams(amount, description, expiry)
        self._check()
        self.node.created.append(params)
        signed = self.node.signer.sign(
            msat=params.amount.msat if params.amount else None,
            description=params.description,
            now=datetime.now(UTC),
            expiry=params.expiry,
            description_hash=params.committed_hash,
        )
        invoice = LightningInvoice(
            id=signed.payment_hash,
            payment_hash=signed.payment_hash,
            bolt11=signed.payment_request,
            status=LightningInvoiceStatus.UNPAID,
            expires_at=signed.expires_at,
            amount=None if signed.msat is None else LightMoney.from_msat(signed.msat),
        )
        self.node.invoices[invoice.id] = invoice
        self.node.preimages[invoice.id] = signed.preimage
        return invoice

    async def create_invoices(self, params: Sequence[CreateInvoiceParams]) -> list[LightningInvoice]:
        """Make invoices."""
        return [await self.create_invoice(each) for each in params]

    async def get_invoice(self, invoice_id: str) -> LightningInvoice | None:
        """Look an invoice up."""
        self.node.asked.append(invoice_id)
        self._check()
        if self.node.forgetful is not None:
            raise self.node.forgetful
        return self.node.invoices.get(invoice_id)

    async def list_invoices(self, params: ListInvoicesParams | None = None) -> list[LightningInvoice]:
        """List invoices."""
        params = params or ListInvoicesParams()
        self._check()
        listed = [
            invoice
            for invoice in self.node.invoices.values()
            if not params.pending_only or invoice.status is LightningInvoiceStatus.UNPAID
        ]
        return self._page(listed, params.after, params.offset_index)

    def _page(self, listed: list[Listed], after: str | None, offset: int) -> list[Listed]:
        ids = [each.id for each in listed]
        if after is not None and after not in ids:
            raise InvalidRequest("after", "is not known")
        return listed[0 if after is None else ids.index(after) + 1 :][offset:][: self.node.most_listed]

    async def cancel_invoice(self, invoice_id: str) -> Never:
        """Refuse."""
        raise NotSupported(f"no cancelling of {invoice_id}")

    async def listen(self, *, after: str | None = None) -> FakeListener:
        """Hear of settlements."""
        self._check()
        if after is None:
            return FakeListener(self.node, len(self.node.settled))
        name, _, index = after.rpartition(":")
        if name != self.node.name:
            raise InvalidRequest("after", "belongs to another node")
        return FakeListener(self.node, int(index))

    async def pay(self, bolt11: str, params: PayInvoiceParams | None = None) -> PayResponse:
        """Pay, and end as the node was told to."""
        self._check()
        self.node.paid_with.append(params or PayInvoiceParams())
        if self.node.before_paying is not None:
            going, go = self.node.before_paying
            going.set()
            await go.wait()
        read = read_invoice(bolt11)
        result = self.node.pay_result
        done = {
            PayResult.OK: LightningPaymentStatus.COMPLETE,
            PayResult.UNKNOWN: LightningPaymentStatus.UNKNOWN,
        }.get(result, LightningPaymentStatus.FAILED)
        amount = LightMoney.from_msat(read.msat or ((params and params.amount) or LightMoney.ZERO).msat)
        fee = LightMoney.from_msat(1500) if result is PayResult.OK else None
        self.node.payments[read.payment_hash] = LightningPayment(
            id=read.payment_hash,
            payment_hash=read.payment_hash,
            bolt11=bolt11,
            status=done,
            created_at=datetime.now(UTC),
            sent_at=datetime.now(UTC),
            preimage="11" * 32 if result is PayResult.OK else None,
            amount=amount,
            amount_sent=None if fee is None else amount + fee,
            fee=fee,
        )
        total = amount if fee is None else amount + fee
        details = PayDetails(payment_hash=read.payment_hash, status=done, total_amount=total, fee_amount=fee)
        return PayResponse(result=result, details=details, error_detail=None if fee else "no luck")

    async def get_payment(self, payment_hash: str) -> LightningPayment | None:
        """Look a payment up."""
        self._check()
        return self.node.payments.get(payment_hash)

    async def list_payments(self, params: ListPaymentsParams | None = None) -> list[LightningPayment]:
        """List payments."""
        params = params or ListPaymentsParams()
        self._check()
        final = (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)
        if params.unknown_only:
            unknown = LightningPaymentStatus.UNKNOWN
            return [each for each in self.node.payments.values() if each.status is unknown]
        listed = [each for each in self.node.payments.values() if params.include_pending or each.status in final]
        return self._page(listed, params.after, params.offset_index)

    async def get_balance(self) -> LightningNodeBalance:
        """Tell a made-up balance."""
        self._check()
        return LightningNodeBalance(offchain=OffchainBalance(local=LightMoney.from_sat(21_000)))

    async def get_info(self) -> LightningNodeInformation:
        """Tell a made-up node."""
        self._check()
        return LightningNodeInformation(alias="fake", node_uris=("02aa@127.0.0.1:9735",), block_height=7)

    async def validate(self) -> None:
        """Check."""
        self._check()

    async def keysend(self, destination: str, params: KeysendParams) -> Never:
        """Refuse."""
        raise NotSupported(f"no keysend to {destination} over {params.amount}")

    async def open_channel(
        self, node_uri: str, amount: LightMoney, *, fee_rate: Decimal | None = None, private: bool = False
    ) -> Never:
        """Refuse."""
        del fee_rate, private
        raise NotSupported(f"no channel to {node_uri} over {amount}")

    async def connect_to(self, node_uri: str) -> Never:
        """Refuse."""
        raise NotSupported(f"no connection to {node_uri}")

    async def get_deposit_address(self) -> Never:
        """Refuse."""
        raise NotSupported("no address")

    async def list_channels(self) -> Never:
        """Refuse."""
        raise NotSupported("no channels")

    async def aclose(self) -> None:
        """Let go."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class FakeHandler:
    """Makes clients of `type=fake;node=NAME`."""

    type = "fake"

    def create(self, connection_string: ConnectionString) -> FakeClient:
        """Make a client."""
        if "node" not in connection_string.values:
            raise ConnectionStringError("the key 'node' is missing", key="node")
        return FakeClient(FakeNode.named(connection_string.values["node"]))


def paid_invoice(payment_hash: str) -> LightningInvoice:
    """Return a settled invoice over a satoshi, as a wallet tells it."""
    now, amount = datetime.now(UTC), LightMoney.from_sat(1)
    return LightningInvoice(
        id=payment_hash,
        payment_hash=payment_hash,
        bolt11="lnbc",
        amount=amount,
        amount_received=amount,
        status=LightningInvoiceStatus.PAID,
        expires_at=now,
        paid_at=now,
        preimage=None,
    )
