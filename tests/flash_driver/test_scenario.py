"""The mission as a story: the Ory token opens the socket, the mutation travels on it, and every fallback behind it.

Flash's session tokens (`ory_st_`) open the WebSocket, but HTTP may refuse them. So an invoice is created by a mutation
sent as a `subscribe` message, and HTTP is what remains when the socket does not do.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from bolt11 import decode

from connection_strings import (
    BackendUnavailable,
    CreateInvoiceParams,
    LightMoney,
    LightningClientFactory,
    LightningInvoice,
    LightningInvoiceStatus,
)
from tests.support.driver import operations
from tests.support.logs import recorded

if TYPE_CHECKING:
    from tests.support.driver import Bench

pytestmark = pytest.mark.usefixtures("unhurried")

CREATE = "lnUsdInvoiceCreate"
IN_PUBLIC = "lnUsdInvoiceCreateOnBehalfOfRecipient"
WAYS = ["websocket", "http", "graphql", "public"]
COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee", timedelta(minutes=15))
HAPPY_PATH = [
    "attempting WebSocket",
    "WebSocket not connected, connecting",
    "creating invoice via WebSocket",
    "invoice created via WebSocket",
]
SECOND_TIME = ["attempting WebSocket", "creating invoice via WebSocket", "invoice created via WebSocket"]


def is_for_coffee(invoice: LightningInvoice) -> bool:
    """Whether an invoice is a real, unpaid BOLT11 over about 1000 sat with the memo asked for."""
    bolt11 = decode(invoice.bolt11)
    return (
        bolt11.description == "coffee"
        and bolt11.payment_hash == invoice.id == invoice.payment_hash
        and invoice.amount == LightMoney.from_msat(int(bolt11.amount_msat or 0))
        and LightMoney.from_sat(1000) <= invoice.amount <= LightMoney.from_sat(1010)
        and invoice.expires_at.timestamp() == bolt11.date + bolt11.expiry
        and invoice.status is LightningInvoiceStatus.UNPAID
    )


# --- the socket ---------------------------------------------------------------------------------------------------


async def test_connects_with_the_ory_token_and_creates_over_the_socket(bench: Bench) -> None:
    """Without a connection yet, the driver connects, sends the mutation as a subscribe message, and has an invoice."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept", http_bearer="reject")
    client = await bench.client(sandbox)
    with recorded() as story:
        invoice = await client.create_invoice(COFFEE)
    assert sandbox.token.startswith("ory_st_")
    assert is_for_coffee(invoice)
    assert story.steps == HAPPY_PATH
    assert story.entry("invoice created via WebSocket")["payment_hash"] == invoice.payment_hash
    assert operations(sandbox, CREATE) == {"websocket": 1}
    assert sandbox.ledger_snapshot()["connections"]["http_requests"] == 0


async def test_second_invoice_uses_the_open_connection(bench: Bench) -> None:
    """A warm invoice is one message on the socket that is already there."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await client.create_invoice(COFFEE)
    with recorded() as story:
        await client.create_invoice(COFFEE)
    assert story.steps == SECOND_TIME
    assert operations(sandbox, CREATE) == {"websocket": 2}
    assert operations(sandbox, "me") == {"websocket": 1}
    assert sandbox.ledger_snapshot()["connections"]["opened"] == 1


async def test_replies_are_told_apart_from_events_on_the_same_socket(bench: Bench) -> None:
    """While price ticks and settlements arrive on the socket, each of many invoices gets its own reply."""
    sandbox = await bench.sandbox(invoice_unit="sat", price_tick_seconds=0.005)
    client = await bench.client(sandbox)
    async with await client.listen() as listener:
        invoices = await client.create_invoices(
            [CreateInvoiceParams(LightMoney.from_sat(sat)) for sat in range(900, 930)]
        )
        assert [round(invoice.amount.sat / 100) for invoice in invoices if invoice.amount] == [9] * 30
        assert len({invoice.id for invoice in invoices}) == 30
        for invoice in invoices[:3]:
            sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(20):
            paid = [await listener.wait_invoice() for _ in range(3)]
    # Paid at the same moment, they may be confirmed in any order.
    assert sorted(invoice.id for invoice in paid) == sorted(invoice.id for invoice in invoices[:3])
    assert {invoice.status for invoice in paid} == {LightningInvoiceStatus.PAID}
    assert sandbox.ledger_snapshot()["connections"]["opened"] == 1


async def test_main_job_from_string_to_settled(bench: Bench) -> None:
    """One line of configuration becomes a client, an invoice, and the news that it was paid."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    async with LightningClientFactory().create(sandbox.connection_string) as client:
        async with await client.listen() as listener:
            invoice = await client.create_invoice(LightMoney.from_sat(1000), "coffee", timedelta(minutes=15))
            sandbox.pay(invoice.bolt11)
            async with asyncio.timeout(20):
                paid = await listener.wait_invoice()
        assert paid.id == invoice.id
        assert paid.amount_received == invoice.amount
        assert paid.paid_at is not None
        assert await client.get_invoice(invoice.id) == paid


# --- the fallbacks ------------------------------------------------------------------------------------------------


async def test_socket_refused(bench: Bench) -> None:
    """When nothing listens on the socket's port, the invoice comes over HTTP."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox, websocket="ws://127.0.0.1:9/graphql")
    with recorded() as story:
        assert is_for_coffee(await client.create_invoice(COFFEE))
    fell_back = story.entry("fell back to HTTP because WebSocket failed")
    assert fell_back["why"] == "the connection was refused"
    assert story.steps[-1] == "invoice created via HTTP"
    assert operations(sandbox, CREATE) == {"http": 1}


async def test_handshake_refused(bench: Bench) -> None:
    """When the server answers the handshake with an HTTP status, the invoice comes over HTTP."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    sandbox.arm("refuse_handshake", status=503, count=5)
    client = await bench.client(sandbox)
    assert is_for_coffee(await client.create_invoice(COFFEE))
    assert operations(sandbox, CREATE) == {"http": 1}


@pytest.mark.parametrize("when", ["before_execute", "after_execute"])
async def test_socket_dropped_in_the_middle_of_the_request(bench: Bench, when: str) -> None:
    """When the socket goes while the answer is due, the invoice comes over HTTP; an orphan at worst is left behind."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await client.validate()
    sandbox.arm("reset", operation=CREATE, when=when, transport="websocket")
    with recorded() as story:
        assert is_for_coffee(await client.create_invoice(COFFEE))
    assert story.entry("fell back to HTTP because WebSocket failed")["why"] == "socket dropped"
    assert operations(sandbox, CREATE) == {"websocket": 1, "http": 1}
    assert len(sandbox.ledger_snapshot()["invoices"]) == (1 if when == "before_execute" else 2)


async def test_mutation_declined_by_the_server(bench: Bench) -> None:
    """A server that takes subscriptions only gets the mutation over HTTP, and still tells of the payment by socket."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="decline")
    client = await bench.client(sandbox)
    async with await client.listen() as listener:
        invoice = await client.create_invoice(COFFEE)
        sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(20):
            assert (await listener.wait_invoice()).id == invoice.id
    assert operations(sandbox, CREATE) == {"http": 1}


async def test_server_that_closes_the_socket_on_a_mutation(bench: Bench) -> None:
    """An older server is recognised by a harmless question, before a subscription could be closed with the socket."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="close")
    client = await bench.client(sandbox)
    async with await client.listen() as listener:
        invoice = await client.create_invoice(COFFEE)
        sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(20):
            assert (await listener.wait_invoice()).id == invoice.id
    assert operations(sandbox, CREATE) == {"http": 1}


async def test_http_refuses_the_ory_token_on_the_plain_route(bench: Bench) -> None:
    """A 401 on the plain POST is not the end: the full GraphQL client is tried behind it."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="decline")
    client = await bench.client(sandbox)
    await client.validate()
    sandbox.arm("http_status", status=401, operation=CREATE, count=1)
    with recorded() as story:
        assert is_for_coffee(await client.create_invoice(COFFEE))
    assert story.entry("fell back to GraphQL client because HTTP failed")["why"] == "HTTP 401"
    assert story.steps[-1] == "invoice created via GraphQL client"


async def test_http_refuses_the_ory_token_on_both_routes(bench: Bench) -> None:
    """With a socket that declines and HTTP that answers 401 the account comes by socket, the invoice in public."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="decline", http_bearer="reject")
    client = await bench.client(sandbox)
    with recorded() as story:
        assert is_for_coffee(await client.create_invoice(COFFEE))
    assert [entry["event"] for entry in story.entries if "public" in entry["event"]] == [
        "fell back to public API because GraphQL client failed",
        "attempting public API",
        "creating invoice via public API",
        "invoice created via public API",
    ]
    assert operations(sandbox, IN_PUBLIC) == {"http": 1}
    assert operations(sandbox, CREATE) == {}


async def test_four_ways_that_do_not_do(bench: Bench) -> None:
    """Without the public way such a server makes no invoice, and the error names each way with its reason."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="decline", http_bearer="reject")
    client = await bench.client(sandbox, transports="websocket,http,graphql")
    with pytest.raises(BackendUnavailable) as caught:
        await client.create_invoice(COFFEE)
    assert list(caught.value.reasons) == ["websocket", "http", "graphql"]
    assert caught.value.reasons["websocket"] == "Only subscription operations are supported"
    assert "HTTP 401" in caught.value.reasons["http"]
    assert "HTTP 401" in caught.value.reasons["graphql"]
    assert caught.value.executed is False
    assert sandbox.token not in str(caught.value)


async def test_everything_down(bench: Bench) -> None:
    """When nothing answers at all, one error names each transport and its reason."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await sandbox.aclose()
    with pytest.raises(BackendUnavailable) as caught:
        await client.create_invoice(COFFEE)
    assert caught.value.reasons == dict.fromkeys(WAYS, "the connection was refused")
    assert caught.value.executed is False


# --- the memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["decline", "close"])
async def test_second_invoice_on_a_declining_server_costs_one_request(bench: Bench, kind: str) -> None:
    """What the server can't do is remembered: the second invoice goes straight to HTTP."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations=kind)
    client = await bench.client(sandbox)
    await client.create_invoice(COFFEE)
    before = sandbox.ledger_snapshot()["connections"]
    with recorded() as story:
        await client.create_invoice(COFFEE)
    after = sandbox.ledger_snapshot()["connections"]
    assert after["http_requests"] - before["http_requests"] == 1
    assert after["opened"] == before["opened"]
    assert story.steps == ["attempting HTTP", "creating invoice via HTTP", "invoice created via HTTP"]


async def test_a_stray_refusal_heals_where_http_refuses_the_token(bench: Bench) -> None:
    """One word of the server's on a bad day does not stop a shop whose token opens sockets alone."""
    sandbox = await bench.sandbox(invoice_unit="sat", http_bearer="reject")
    client = await bench.client(sandbox)
    await client.create_invoice(COFFEE)
    sandbox.arm("decline", operation=CREATE)
    with recorded() as story:
        assert is_for_coffee(await client.create_invoice(COFFEE))
        assert is_for_coffee(await client.create_invoice(COFFEE))
    created = [step for step in story.steps if step.startswith("invoice created")]
    assert created == ["invoice created via public API", "invoice created via WebSocket"]


async def test_memory_is_shared_by_clients_of_the_same_account(bench: Bench) -> None:
    """A host that makes a new client for every call pays the detour once."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="decline")
    first = await bench.client(sandbox)
    await first.create_invoice(COFFEE)
    await first.aclose()
    second = await bench.client(sandbox, pool=first._pool)
    with recorded() as story:
        await second.create_invoice(COFFEE)
    assert story.steps[0] == "attempting HTTP"
