"""The mission on every kind of server: the socket executes, declines or closes; HTTP takes the token or refuses it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

import pytest

from connection_strings import (
    BackendUnavailable,
    CreateInvoiceParams,
    CredentialRejected,
    LightMoney,
    LightningInvoiceStatus,
    LightningPaymentStatus,
    NotSupported,
    PayResult,
)
from flash_driver.settlements.health import Listening
from tests.support.driver import operations
from tests.support.logs import recorded
from tests.support.timing import SHORT, short
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

OWN, IN_PUBLIC = "lnUsdInvoiceCreate", "lnUsdInvoiceCreateOnBehalfOfRecipient"
pytestmark = pytest.mark.usefixtures("unhurried")

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
TIP = CreateInvoiceParams(LightMoney.from_sat(0), "tip")
KINDS = list(product(["accept", "decline", "close"], ["accept", "reject"]))
kinds = pytest.mark.parametrize(("mutations", "bearer"), KINDS, ids=["-".join(kind) for kind in KINDS])


def way(mutations: str, bearer: str) -> tuple[str, str]:
    """Return over which way such a server makes invoices, as the log names it, and by which mutation."""
    if mutations == "accept":
        return "WebSocket", OWN
    return ("HTTP", OWN) if bearer == "accept" else ("public API", IN_PUBLIC)


async def kind(bench: Bench, mutations: str, bearer: str, **options: object) -> Sandbox:
    """Start a server of a kind."""
    return await bench.sandbox(ws_mutations=mutations, http_bearer=bearer, **options)


@kinds
async def test_from_string_to_settled(bench: Bench, mutations: str, bearer: str) -> None:
    """An invoice is made by the way that works there, paid, heard of and looked up; the balance is known."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox)
    shown, mutation = way(mutations, bearer)
    async with await client.listen() as listener:
        with recorded() as story:
            invoice = await client.create_invoice(COFFEE)
        assert story.steps[-1] == f"invoice created via {shown}"
        sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(20):
            paid = await listener.wait_invoice()
    assert (paid.id, paid.status) == (invoice.id, LightningInvoiceStatus.PAID)
    assert await client.get_invoice(invoice.id) == paid
    balance = await client.get_balance()
    assert balance.estimate is not None
    assert balance.estimate.minor_units > 1_000_000
    assert operations(sandbox, mutation)
    assert {*operations(sandbox, OWN), *operations(sandbox, IN_PUBLIC)} == {"websocket" if shown[0] == "W" else "http"}


@kinds
async def test_second_invoice_goes_straight_to_what_works(bench: Bench, mutations: str, bearer: str) -> None:
    """What the server can't do is remembered: the second invoice is one request, and no other way is attempted."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox)
    await client.create_invoice(COFFEE)
    shown, mutation = way(mutations, bearer)
    before, made = sandbox.ledger_snapshot()["connections"], sum(operations(sandbox, mutation).values())
    with recorded() as story:
        await client.create_invoice(COFFEE)
    after = sandbox.ledger_snapshot()["connections"]
    assert after["http_requests"] - before["http_requests"] == (0 if shown == "WebSocket" else 1)
    assert after["opened"] == before["opened"]
    assert sum(operations(sandbox, mutation).values()) == made + 1
    assert story.steps == [
        f"attempting {shown}",
        f"creating invoice via {shown}",
        f"invoice created via {shown}",
    ]


@kinds
async def test_replies_are_told_apart_from_events(bench: Bench, mutations: str, bearer: str) -> None:
    """While prices and settlements arrive, each of many invoices gets its own reply, and each payment is told once."""
    sandbox = await kind(bench, mutations, bearer, price_tick_seconds=0.01)
    client = await bench.client(sandbox)
    async with await client.listen() as listener:
        invoices = await client.create_invoices([COFFEE] * 10)
        assert len({invoice.id for invoice in invoices}) == 10
        for invoice in invoices[:3]:
            sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(20):
            paid = [await listener.wait_invoice() for _ in range(3)]
    assert {invoice.id for invoice in paid} == {invoice.id for invoice in invoices[:3]}


@kinds
async def test_what_needs_the_token(bench: Bench, mutations: str, bearer: str) -> None:
    """Amountless invoices and payments work where a way takes the token; else the merchant is told what to do."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox)
    bolt11 = sandbox.foreign_invoice(50_000).payment_request
    if way(mutations, bearer)[1] == OWN:
        assert (await client.create_invoice(TIP)).amount is None
        assert (await client.pay(bolt11)).result is PayResult.OK
        return
    with pytest.raises(NotSupported, match="make an API key"):
        await client.create_invoice(TIP)
    with pytest.raises(NotSupported, match="make an API key"):
        await client.pay(bolt11)
    assert {payment.status for payment in await client.list_payments()} <= {LightningPaymentStatus.FAILED}
    assert sandbox.ledger_snapshot()["payments"] == []


@kinds
async def test_a_dead_session_is_told(bench: Bench, mutations: str, bearer: str) -> None:
    """A session that ended is CredentialRejected with advice; what was made before is asked about in public."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox, timing=SHORT)
    invoice = await client.create_invoice(COFFEE)
    sandbox.expire_session()
    sandbox.arm("reset", when="now")
    with suppress(BackendUnavailable, CredentialRejected):  # the request that meets the reset may have been carried out
        await client.get_info()
    with pytest.raises(CredentialRejected, match=r"log in to Flash again \(flash-driver login\)") as caught:
        await client.create_invoice(COFFEE)
    assert sandbox.token not in str(caught.value)
    sandbox.pay(invoice.bolt11)
    paid = await client.get_invoice(invoice.id)
    assert paid is not None
    assert paid.status is LightningInvoiceStatus.PAID
    sandbox.expire_session(expired=False)
    assert (await client.create_invoice(COFFEE)).status is LightningInvoiceStatus.UNPAID


@kinds
async def test_a_listener_hears_of_a_dead_session(bench: Bench, mutations: str, bearer: str) -> None:
    """When the socket is lost and the session over, those who wait for payments are told within fifteen seconds."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox, timing=SHORT)
    await client.warm_up()
    async with await client.listen() as listener:
        sandbox.expire_session()
        sandbox.arm("reset", when="now")
        async with asyncio.timeout(15):
            with pytest.raises(CredentialRejected):
                await listener.wait_invoice()


@kinds
async def test_a_listener_that_hears_nothing_finds_out(bench: Bench, mutations: str, bearer: str) -> None:
    """The socket stays open and no request fails: the server is made to look the token up, once in a while."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox, timing=short(token=0.5))
    async with await client.listen() as listener:
        await until(lambda: client.health.listening is Listening.HEARING)
        sandbox.expire_session()
        with pytest.raises(CredentialRejected, match="log in to Flash again"):
            async with asyncio.timeout(40):
                await listener.wait_invoice()
    assert client.health.listening is Listening.OFF
    sandbox.expire_session(expired=False)
    async with await client.listen() as listener:
        invoice = await client.create_invoice(COFFEE)
        sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(40):
            assert (await listener.wait_invoice()).id == invoice.id


async def test_a_dead_api_key_is_told_to_a_listener(bench: Bench) -> None:
    """Questions in the background go without the key; it is shown once in a while all the same."""
    sandbox = await bench.sandbox()
    text = f"type=flash;server={sandbox.server};token={sandbox.api_key};allowinsecure=true"
    client = await bench.client(text, timing=short(token_seldom=0.5))
    await client.create_invoice(COFFEE)
    async with await client.listen() as listener:
        sandbox.revoke_api_key()
        with pytest.raises(CredentialRejected, match="log in"):
            async with asyncio.timeout(40):
                await listener.wait_invoice()


async def test_an_api_key_is_looked_at_seldom(bench: Bench) -> None:
    """A look costs the key one request of its limit, so it is not asked as often as a session is."""
    asked_by_key, asked_by_session = await bench.sandbox(), await bench.sandbox()
    text = f"type=flash;server={asked_by_key.server};token={asked_by_key.api_key};allowinsecure=true"
    timing = short(token=0.02, token_seldom=3600.0)
    by_key = await bench.client(text, timing=timing)
    by_session = await bench.client(asked_by_session, timing=timing, transports="http")
    async with await by_key.listen(), await by_session.listen():
        await until(lambda: operations(asked_by_session, "me").get("http", 0) >= 8)
    assert operations(asked_by_key, "me").get("http", 0) < 5


@pytest.mark.parametrize("mutations", ["decline", "close"])
async def test_a_death_that_http_noticed_is_told_to_listeners(bench: Bench, mutations: str) -> None:
    """The socket is open and silent; a 401 where the token was taken until now tells everybody."""
    sandbox = await kind(bench, mutations, "accept")
    client = await bench.client(sandbox, timing=SHORT)
    async with await client.listen() as listener:
        invoice = await client.create_invoice(COFFEE)
        sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(40):
            assert (await listener.wait_invoice()).id == invoice.id
            sandbox.expire_session()
            with suppress(CredentialRejected, BackendUnavailable):
                await client.create_invoice(COFFEE)
            with pytest.raises(CredentialRejected):
                await listener.wait_invoice()


@kinds
async def test_nothing_answers(bench: Bench, mutations: str, bearer: str) -> None:
    """When the server is gone, one error names each way."""
    sandbox = await kind(bench, mutations, bearer)
    client = await bench.client(sandbox)
    await client.create_invoice(COFFEE)
    await sandbox.aclose()
    with pytest.raises(BackendUnavailable) as caught:
        await client.create_invoice(COFFEE)
    assert set(caught.value.reasons) == {"websocket", "http", "graphql", "public"}
