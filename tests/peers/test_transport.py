"""Our side of graphql-transport-ws against graphql-ws 5.16.2 on ws, which is what Flash runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from gql import Client, gql

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import ACCOUNT, INVOICE_CREATE_USD, INVOICE_STATUS, ME, MY_UPDATES, PRICE, PROBE
from flash_driver.flash_api.events import Announcement, read_event
from flash_driver.flash_api.outcomes import Answer, Cause, Closed, ErrorFrame, NotExecuted
from flash_driver.flash_api.replies import PriceTick, read_account, read_price
from flash_driver.transports.websocket import WebSocketTransport
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.subscription import COMPLETED_BY_SERVER, SubscriptionEnded
from tests.support.sockets import shake_hands, within
from tests.support.timing import STEADY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.peers.conftest import StartPeer
    from tests.support.peer import NodePeer

pytestmark = pytest.mark.timeout(500)  # the first of them installs packages

DECLINED = [{"message": "Only subscription operations are supported"}]


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(20)


@asynccontextmanager
async def connected(peer: NodePeer, authorization: str = "Bearer ory_st_peer") -> AsyncIterator[Connection]:
    """Open a connection, and close it after the block."""
    connection = await Connection.open(peer.endpoint(authorization), STEADY, soon())
    try:
        yield connection
    finally:
        await connection.aclose()


async def test_negotiates_the_subprotocol(peer: StartPeer) -> None:
    """The server takes the one subprotocol that is offered."""
    server = await peer()
    socket = await shake_hands(server.endpoint())
    assert socket.subprotocol == "graphql-transport-ws"
    await socket.close()


async def test_queries_and_mutations_are_executed(peer: StartPeer) -> None:
    """A server that executes answers queries and mutations sent as `subscribe` messages."""
    server = await peer(mode="execute")
    (signed,) = await server.hand_in(1_000_000)
    async with connected(server) as connection:
        answer = await connection.request(ACCOUNT().payload, soon())
        assert isinstance(answer, Answer)
        account = read_account(answer.data or {})
        assert (account.network, account.wallets[0].id) == ("regtest", account.default_wallet_id)
        variables = {"walletId": account.default_wallet_id, "amount": 98}
        created = await connection.request(INVOICE_CREATE_USD(input=variables).payload, soon())
    assert created == Answer(
        {
            "lnUsdInvoiceCreate": {
                "errors": [],
                "invoice": {"paymentRequest": signed.payment_request, "paymentHash": signed.payment_hash},
            }
        }
    )


async def test_many_operations_in_flight(peer: StartPeer) -> None:
    """Two hundred operations at once, while events arrive, get each their own answer over one socket."""
    server = await peer(mode="execute")
    async with connected(server) as connection:
        subscription = await connection.subscribe(MY_UPDATES().payload, soon())
        operations = [(PRICE if number % 2 else ME)() for number in range(200)]
        answers = await asyncio.gather(*(connection.request(each.payload, soon()) for each in operations))
        fields = [next(iter(set(answer.data or {}) - {"__typename", "globals"})) for answer in answers]  # type: ignore[union-attr]  # all are answers
        assert fields == ["realtimePrice" if number % 2 else "me" for number in range(200)]
        await subscription.receive()  # a kind of price that the driver does not read
        assert isinstance(read_event((await subscription.receive()).data or {}), PriceTick)
    assert (await server.seen())["sockets"] == 1


async def test_error_of_validation(peer: StartPeer) -> None:
    """What validation refuses is an `error` frame for that operation alone: not executed, and the socket lives."""
    server = await peer(mode="execute")
    async with connected(server) as connection:
        evidence = await connection.request({"query": "query Q { noSuchField }", "operationName": "Q"}, soon())
        assert isinstance(evidence, ErrorFrame)
        assert classify(PROBE, evidence) == NotExecuted(
            'Cannot query field "noSuchField" on type "Query".', Cause.INVALID
        )
        assert isinstance(await connection.request(PROBE().payload, soon()), Answer)


async def test_error_of_syntax(peer: StartPeer) -> None:
    """What does not parse costs the whole socket, with 4500, and everybody on it is told."""
    server = await peer(mode="execute")
    async with connected(server) as connection:
        subscription = await connection.subscribe(MY_UPDATES().payload, soon())
        for _ in range(2):  # prices
            await subscription.receive()
        assert await connection.request({"query": "query Q {"}, soon()) == Closed(4500)
        with pytest.raises(SubscriptionEnded, match="closed with code 4500"):
            await subscription.receive()


async def test_error_of_a_resolver(peer: StartPeer) -> None:
    """What fails while executing is an answer with errors, whose code is found in `extensions`."""
    server = await peer(mode="execute")
    async with connected(server, "Bearer another") as connection:
        evidence = await connection.request(ME().payload, soon())
    assert classify(ME, evidence) == NotExecuted("Not authorized", Cause.CREDENTIAL)


async def test_bad_token_is_acknowledged(peer: StartPeer) -> None:
    """A bad token is acked, then anonymous: public questions are answered, `myUpdates` is not (flash-server.md 1.3)."""
    server = await peer(mode="execute")
    async with connected(server, "Bearer another") as connection:
        subscription = await connection.subscribe(MY_UPDATES().payload, soon())
        event = await subscription.receive()
        assert event.data is None
        assert event.errors[0]["extensions"] == {"code": "NOT_AUTHENTICATED"}
        with pytest.raises(SubscriptionEnded, match=COMPLETED_BY_SERVER):
            await subscription.receive()
        status = INVOICE_STATUS(input={"paymentRequest": "lnbcrt1"})
        assert isinstance(await connection.request(status.payload, soon()), Answer)


async def test_declining_server(peer: StartPeer) -> None:
    """Today's server answers a query or mutation with exactly this, and serves subscriptions on."""
    server = await peer(mode="decline")
    (signed,) = await server.hand_in(1_000_000)
    async with connected(server) as connection:
        subscription = await connection.subscribe(MY_UPDATES().payload, soon())
        for operation in (PROBE(), INVOICE_CREATE_USD(input={"walletId": "w", "amount": 1})):
            evidence = await connection.request(operation.payload, soon())
            assert evidence == ErrorFrame(DECLINED)
            assert classify(operation.document, evidence) == NotExecuted(DECLINED[0]["message"], Cause.DECLINED)
        await server.pay(signed.payment_hash)
        await subscription.receive()  # a kind of price that the driver does not read
        assert read_price({"realtimePrice": (await subscription.receive()).data["myUpdates"]["update"]})  # type: ignore[index]  # an event of ours
        told = read_event((await subscription.receive()).data or {})
        assert isinstance(told, Announcement)
        assert (told.payment_hash, told.paid) == (signed.payment_hash, True)


async def test_closing_server(peer: StartPeer) -> None:
    """The server of 2023 closes the whole socket with 4500; a subscription alone lives."""
    server = await peer(mode="close")
    async with connected(server) as connection:
        subscription = await connection.subscribe(MY_UPDATES().payload, soon())
        await subscription.receive()
        evidence = await connection.request(PROBE().payload, soon())
        assert evidence == Closed(4500)
        outcome = classify(PROBE, evidence)
        assert isinstance(outcome, NotExecuted)
        assert outcome.cause is Cause.CLOSED


async def test_probe_spares_the_subscription_of_a_closing_server(peer: StartPeer) -> None:
    """The transport finds out what the server does without losing what it listens to."""
    server = await peer(mode="close")
    (signed,) = await server.hand_in(1_000_000)
    transport = WebSocketTransport(server.endpoint())
    subscription = await transport.open_subscription(MY_UPDATES(), soon())
    for _ in range(2):  # prices
        await subscription.receive()
    assert await transport.prober.probe(soon()) == Closed(4500)
    await server.pay(signed.payment_hash)
    async with within():
        told = read_event((await subscription.receive()).data or {})
        assert isinstance(told, Announcement)
        assert (told.payment_hash, told.paid) == (signed.payment_hash, True)
    await transport.aclose()


async def test_unsubscribing(peer: StartPeer) -> None:
    """Closing a subscription ends it on the server, and the socket serves on."""
    server = await peer(mode="execute")
    async with connected(server) as connection:
        subscription = await connection.subscribe(MY_UPDATES().payload, soon())
        await subscription.receive()
        assert (await server.seen())["subscribers"] == 1
        await subscription.aclose()
        assert isinstance(await connection.request(PROBE().payload, soon()), Answer)
        assert (await server.seen())["subscribers"] == 0


async def test_server_pings_are_answered(peer: StartPeer) -> None:
    """The server drops who does not answer its pings; an idle connection of ours stays."""
    server = await peer(keepAlive=40)
    async with connected(server) as connection:
        async with within():
            while (await server.seen())["pongs"] < 5:  # noqa: ASYNC110 - another process counts them
                await asyncio.sleep(0.02)
        assert isinstance(await connection.request(PROBE().payload, soon()), Answer)
    assert (await server.seen())["sockets"] == 1


async def test_as_a_transport_of_gql(peer: StartPeer) -> None:
    """A gql Client executes, subscribes and leaves over it."""
    server = await peer(mode="execute")
    (signed,) = await server.hand_in(1_000_000)
    async with Client(transport=WebSocketTransport(server.endpoint())) as session:
        assert await session.execute(gql("{ globals { network } }")) == {"globals": {"network": "regtest"}}
        updates = session.subscribe(gql("subscription { myUpdates { update { ... on LnUpdate { paymentHash } } } }"))
        for _ in range(2):  # prices
            assert await anext(updates) == {"myUpdates": {"update": {}}}
        await server.pay(signed.payment_hash)
        async with within():
            assert await anext(updates) == {"myUpdates": {"update": {"paymentHash": signed.payment_hash}}}
        await updates.aclose()
        assert await session.execute(gql("{ __typename }")) == {"__typename": "Query"}
    assert (await server.seen())["subscribers"] == 0
