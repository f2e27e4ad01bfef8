"""What every driver promises, asked of Flash's on both kinds of server, and of one written from the documents alone."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import (
    ConnectionResult,
    CreateInvoiceParams,
    InvalidRequest,
    KeysendParams,
    LightMoney,
    LightningClient,
    LightningClientFactory,
    LightningInvoiceListener,
    LightningInvoiceStatus,
    LightningPaymentStatus,
    ListInvoicesParams,
    ListPaymentsParams,
    NotSupported,
    OpenChannelResult,
    PayResult,
)
from flash_driver.handler import FlashConnectionStringHandler
from tests.support.driver import Bench
from tests.support.memory_driver import MemoryHandler, MemoryNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SAT = LightMoney.from_sat
UNKNOWN_HASH = "ab" * 32


@dataclass
class Backend:
    """A backend under test: its clients, and what others do to it."""

    client: LightningClient
    again: Callable[[], LightningClient]
    settle: Callable[[str], Any]
    foreign: Callable[[int], str]
    custodian: bool


@pytest.fixture(params=["flash that executes on the socket", "flash that declines", "memory"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Give a backend and a client of it."""
    factory = LightningClientFactory([FlashConnectionStringHandler, MemoryHandler])
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            node, payee = MemoryNode(str(tmp_path)), MemoryNode("payee")
            MemoryNode.nodes[node.name] = node
            string = f"type=memory;node={node.name}"
            by_bolt11 = {each.bolt11: each.id for each in node.invoices.values()}

            def settle(bolt11: str) -> None:
                by_bolt11.update({each.bolt11: each.id for each in node.invoices.values()})
                node.settle(by_bolt11[bolt11])

            def foreign(msat: int) -> str:
                return payee.sign(CreateInvoiceParams(LightMoney.from_msat(msat))).payment_request
        else:
            kind = "accept" if "executes" in request.param else "decline"
            sandbox = await Bench(stack, kind).sandbox()
            string = sandbox.connection_string

            def settle(bolt11: str) -> None:
                sandbox.pay(bolt11)

            def foreign(msat: int) -> str:
                return sandbox.foreign_invoice(msat).payment_request

        def again() -> LightningClient:
            client = factory.create(string)
            stack.push_async_callback(client.aclose)
            return client

        yield Backend(again(), again, settle, foreign, custodian=request.param != "memory")
        MemoryNode.nodes.clear()


def test_both_have_the_whole_contract(backend: Backend) -> None:
    """Every method is there, with the names and order of the contract's parameters, and can be awaited."""
    assert isinstance(backend.client, LightningClient)
    for name, method in inspect.getmembers(LightningClient, inspect.isfunction):
        if name.startswith("_"):
            continue
        theirs, own = inspect.signature(method).parameters, inspect.signature(getattr(type(backend.client), name))
        assert list(own.parameters)[: len(theirs)] == list(theirs), name
        assert inspect.iscoroutinefunction(getattr(backend.client, name)), name


async def test_an_invoice_is_what_was_asked_for(backend: Backend) -> None:
    """It has an id by which it is found, at least the amount, an end in the future, and is not paid."""
    invoice = await backend.client.create_invoice(SAT(1000), "coffee")
    assert invoice.id == invoice.payment_hash
    assert invoice.amount is not None
    assert SAT(1000) <= invoice.amount <= SAT(1010)
    assert invoice.expires_at > datetime.now(UTC)
    assert (invoice.status, invoice.amount_received, invoice.paid_at) == (LightningInvoiceStatus.UNPAID, None, None)
    assert await backend.again().get_invoice(invoice.id) == invoice
    assert await backend.client.get_invoice(UNKNOWN_HASH) is None


async def test_many_invoices_come_in_the_order_asked_for(backend: Backend) -> None:
    """The answer has the order of the question, and the list the order of creation, page after page."""
    made = await backend.client.create_invoices([CreateInvoiceParams(SAT(each)) for each in (2000, 1000, 3000)])
    amounts = [invoice.amount for invoice in made if invoice.amount is not None]
    assert [amounts.index(each) for each in sorted(amounts)] == [1, 0, 2]
    listed = await backend.client.list_invoices()
    assert {each.id for each in listed} == {each.id for each in made}
    assert await backend.client.list_invoices(ListInvoicesParams(after=listed[0].id)) == listed[1:]
    assert await backend.client.list_invoices(ListInvoicesParams(offset_index=2)) == listed[2:]
    with pytest.raises(InvalidRequest):
        await backend.client.list_invoices(ListInvoicesParams(after=UNKNOWN_HASH))


async def test_settlements_are_heard_once_and_from_a_cursor_on(backend: Backend) -> None:
    """Each is told once, in the order of settlement; a cursor goes on from where it was, with another client."""
    first, second = [await backend.client.create_invoice(SAT(each)) for each in (1000, 2000)]
    async with await backend.client.listen() as listener:
        assert isinstance(listener, LightningInvoiceListener)
        begin = listener.cursor
        backend.settle(second.bolt11)
        paid = await listener.wait_invoice()
        cursor = listener.cursor
    assert (paid.id, paid.status) == (second.id, LightningInvoiceStatus.PAID)
    assert paid.amount_received is not None
    assert paid.paid_at is not None
    backend.settle(first.bolt11)
    async with await backend.again().listen(after=cursor) as listener:
        assert (await listener.wait_invoice()).id == first.id
    async with await backend.client.listen(after=begin) as listener:
        assert [(await listener.wait_invoice()).id for _ in range(2)] == [second.id, first.id]
    assert await backend.client.list_invoices(ListInvoicesParams(pending_only=True)) == []
    for wrong in ("", "x", f"{cursor}0000"):
        with pytest.raises(InvalidRequest):
            await backend.client.listen(after=wrong)


async def test_a_listener_that_is_closed_ends(backend: Backend) -> None:
    """Waiting is cancelled, iterating ends, and closing again does nothing; closing the client closes its listeners."""
    waiting, iterating = await backend.client.listen(), await backend.client.listen()
    awaited = asyncio.create_task(waiting.wait_invoice())

    async def iterate() -> list[str]:
        return [each.id async for each in iterating]

    iterated = asyncio.create_task(iterate())
    await asyncio.sleep(0)
    await waiting.aclose()
    await waiting.aclose()
    await backend.client.aclose()
    with pytest.raises(asyncio.CancelledError):
        await awaited
    assert await iterated == []


async def test_a_payment_is_made_once(backend: Backend) -> None:
    """It is paid, found and listed; handed in again it sends nothing, and what is no invoice is refused."""
    bolt11 = backend.foreign(50_000_000)
    assert (await backend.client.pay(bolt11)).result is PayResult.OK
    again = await backend.client.pay(bolt11)
    assert (again.result, again.paid_before) == (PayResult.OK, True)
    assert again.details is not None
    payment = await backend.again().get_payment(again.details.payment_hash)
    assert payment is not None
    assert (payment.status, payment.bolt11) == (LightningPaymentStatus.COMPLETE, bolt11)
    assert await backend.client.list_payments() == [payment]
    assert await backend.client.list_payments(ListPaymentsParams(unknown_only=True)) == []
    assert await backend.client.get_payment(UNKNOWN_HASH) is None
    with pytest.raises(InvalidRequest):
        await backend.client.pay("lnbc1 no invoice")


async def test_it_tells_what_it_was_made_of(backend: Backend) -> None:
    """The factory makes the same client of its connection string, which shows no value that may be a secret."""
    string = backend.client.connection_string
    factory = LightningClientFactory([FlashConnectionStringHandler, MemoryHandler])
    async with factory.create(string.render()) as same:
        assert same.connection_string == string
    assert string.values.get("token", "none") not in f"{string} {string!r} {backend.client!r}"


async def test_it_tells_of_itself(backend: Backend) -> None:
    """Validation finds nothing wrong, the balance is in bitcoin, and the node may be unknown but is never an error."""
    await backend.client.validate()
    balance = await backend.client.get_balance()
    assert balance.offchain.local is not None
    assert (balance.estimate is not None) is backend.custodian
    assert (await backend.client.get_info()).block_height >= 0


async def test_peers_and_channels_are_there_or_not_supported(backend: Backend) -> None:
    """A node's driver answers in the contract's types, a custodian's says that there is nothing of the kind."""
    client, peer = backend.client, f"{'02' * 33}@node.example:9735"
    keysend = KeysendParams(amount=SAT(5), custom_records={65_536: b"x"})
    if backend.custodian:
        for refused in (
            client.connect_to(peer),
            client.open_channel(peer, SAT(100_000), private=True),
            client.list_channels(),
            client.keysend("02" * 33, keysend),
        ):
            with pytest.raises(NotSupported):
                await refused
        return
    assert await client.open_channel(peer, SAT(100_000)) is OpenChannelResult.PEER_NOT_CONNECTED
    assert await client.connect_to("nobody") is ConnectionResult.COULD_NOT_CONNECT
    assert await client.connect_to(peer) is ConnectionResult.OK
    assert await client.open_channel(peer, SAT(100_000), private=True) is OpenChannelResult.OK
    assert [(each.public, each.capacity) for each in await client.list_channels()] == [(False, SAT(100_000))]
    assert (await client.keysend("02" * 33, keysend)).result is PayResult.OK
