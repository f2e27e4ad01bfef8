"""The whole client against graphql-ws 5.16.2 on ws: create, look up, listen, paid; and the fallbacks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import BackendUnavailable, LightMoney, LightningInvoiceStatus
from flash_driver.accounts.timing import Timing
from tests.support.logs import recorded
from tests.support.sockets import within
from tests.support.timing import STEADY

if TYPE_CHECKING:
    from tests.peers.conftest import StartPeer
    from tests.support.driver import Bench

pytestmark = pytest.mark.timeout(500)  # the first of them installs packages

SATS = LightMoney.from_sat(1000)
PATIENT = Timing(connections=STEADY)
"""The product's times, and patience with a server in another process."""
OWN, IN_PUBLIC = "lnUsdInvoiceCreate", "lnUsdInvoiceCreateOnBehalfOfRecipient"


@pytest.mark.parametrize(
    ("options", "mutation", "carrier"),
    [
        ({"mode": "execute", "http": "reject"}, OWN, "websocket"),
        ({"mode": "decline", "http": "accept"}, OWN, "http"),
        ({"mode": "close", "http": "accept"}, OWN, "http"),
        ({"mode": "decline", "http": "reject"}, IN_PUBLIC, "http"),
        ({"mode": "close", "http": "reject"}, IN_PUBLIC, "http"),
    ],
    ids=["executing", "declining", "closing", "declining in public", "closing in public"],
)
async def test_from_string_to_paid(
    peer: StartPeer, bench: Bench, options: dict[str, str], mutation: str, carrier: str
) -> None:
    """Whatever the server does with mutations on its socket, an invoice is made, looked up, and heard of when paid.

    Where HTTP refuses the token too, the account comes by a second subscription, and the invoice in public.
    """
    server = await peer(**options)
    (signed,) = await server.hand_in(SATS.msat)
    client = await bench.client(server.connection_string, timing=PATIENT)
    async with await client.listen() as listener:
        invoice = await client.create_invoice(SATS, "coffee", timedelta(minutes=15))
        assert (invoice.bolt11, invoice.id) == (signed.payment_request, signed.payment_hash)
        assert (invoice.amount, invoice.status) == (SATS, LightningInvoiceStatus.UNPAID)
        made = {name: await server.operations(name) for name in (OWN, IN_PUBLIC)}
        assert made == {OWN: {}, IN_PUBLIC: {}, mutation: {carrier: 1}}
        found = await client.get_invoice(invoice.id)
        assert found is not None
        assert found.status is LightningInvoiceStatus.UNPAID
        await server.pay(invoice.id)
        async with within():
            paid = await listener.wait_invoice()
    assert (paid.id, paid.status, paid.amount_received) == (invoice.id, LightningInvoiceStatus.PAID, SATS)
    assert paid.preimage is None
    assert await client.get_invoice(invoice.id) == paid


@pytest.mark.parametrize("mode", ["decline", "close"])
async def test_second_invoice_goes_straight_to_what_works(peer: StartPeer, bench: Bench, mode: str) -> None:
    """After the first invoice the socket is not asked again, and the second one costs one request."""
    server = await peer(mode=mode)
    await server.hand_in(SATS.msat, SATS.msat)
    client = await bench.client(server.connection_string, timing=PATIENT)
    with recorded() as first:
        await client.create_invoice(SATS, "coffee")
    with recorded() as second:
        await client.create_invoice(SATS, "coffee")
    assert "fell back to HTTP because WebSocket failed" in first.steps
    assert first.steps[-1] == "invoice created via HTTP"
    assert second.steps == ["attempting HTTP", "creating invoice via HTTP", "invoice created via HTTP"]
    assert await server.operations("lnUsdInvoiceCreate") == {"http": 2}
    assert (await server.seen())["sockets"] == 1


async def test_invoice_over_the_full_graphql_client(peer: StartPeer, bench: Bench) -> None:
    """The last way works with a server of this kind as well."""
    server = await peer(mode="decline")
    (signed,) = await server.hand_in(SATS.msat)
    client = await bench.client(server.connection_string, timing=PATIENT, transports="graphql")
    assert (await client.create_invoice(SATS, "coffee")).id == signed.payment_hash
    assert await server.operations("lnUsdInvoiceCreate") == {"http": 1}


async def test_nothing_works(peer: StartPeer, bench: Bench) -> None:
    """A server that declines on the socket and refuses the token over HTTP: one error names each way and its reason."""
    server = await peer(mode="decline", http="reject")
    client = await bench.client(server.connection_string, timing=PATIENT, transports="websocket,http,graphql")
    with pytest.raises(BackendUnavailable) as caught:
        await client.create_invoice(SATS, "coffee")
    assert caught.value.executed is False
    reasons = {name: reason.removesuffix(" (remembered)") for name, reason in caught.value.reasons.items()}
    assert reasons == {
        "websocket": "Only subscription operations are supported",
        "http": "HTTP 401",
        "graphql": "HTTP 401",
    }
