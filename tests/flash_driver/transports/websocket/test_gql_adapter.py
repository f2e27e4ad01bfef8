"""The WebSocket transport as anybody's gql transport."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportConnectionFailed, TransportProtocolError, TransportQueryError

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import MY_UPDATES, PRICE, PROBE
from flash_driver.flash_api.outcomes import Closed
from flash_driver.transports.base import perform
from flash_driver.transports.websocket import WebSocketTransport
from flash_driver.transports.websocket.handshake import Limits
from flash_driver.transports.websocket.subscription import SubscriptionEnded
from tests.support.sockets import Peer, Served, free_port, served, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


LONG = 20.0


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(LONG)


@asynccontextmanager
async def transport_to(server: Served, **more: Any) -> AsyncIterator[WebSocketTransport]:
    """Make a transport, and close it after the block."""
    limits = more.pop("limits", Limits(close_timeout=0.2))
    transport = WebSocketTransport(server.endpoint(url=more.pop("url", server.url)), limits, **more)
    try:
        yield transport
    finally:
        await transport.aclose()


async def acknowledge_and_wait(peer: Peer) -> None:
    """Play a server that acknowledges, and then leaves the rest to the test."""
    await peer.acknowledge()
    await peer.socket.wait_closed()


QUERY = gql("query Ask { a }")
EVENTS = gql("subscription Listen { a }")


async def test_executes_for_gql() -> None:
    """A gql Client executes over it, and closes it with its session."""
    async with served(Peer.serve_for_ever) as server, transport_to(server) as transport:
        async with Client(transport=transport) as session:
            named = gql("query Ask { a }")
            named.operation_name = "Ask"
            assert await session.execute(named) == {"name": "Ask"}
            assert transport.connected
        assert not transport.connected


async def test_subscribes_for_gql() -> None:
    """Events come as gql results until the server completes; an event with errors raises as gql has it."""

    async def events(peer: Peer) -> None:
        await peer.acknowledge()
        operation_id, _ = await peer.operation()
        for number in range(3):
            await peer.say(id=operation_id, type="next", payload={"data": {"a": number}})
        await peer.say(id=operation_id, type="complete")
        operation_id, _ = await peer.operation()
        await peer.say(id=operation_id, type="next", payload={"errors": [{"message": "no", "path": ["a"]}]})
        assert await peer.hear() == {"id": operation_id, "type": "complete"}

    async with served(events) as server, transport_to(server) as transport, Client(transport=transport) as session:
        assert [event async for event in session.subscribe(EVENTS)] == [{"a": number} for number in range(3)]
        with pytest.raises(TransportQueryError, match="no"):
            async for _ in session.subscribe(EVENTS):
                pass
        assert not transport.prober.subscribed


async def test_gql_reader_that_goes_away_is_unsubscribed() -> None:
    """Leaving the loop tells the server."""

    async def events(peer: Peer) -> None:
        await peer.acknowledge()
        operation_id, _ = await peer.operation()
        await peer.say(id=operation_id, type="next", payload={"data": {"a": 1}})
        heard.set_result(await peer.hear())

    heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(events) as server, transport_to(server) as transport, Client(transport=transport) as session:
        stream = session.subscribe(EVENTS)
        assert await anext(stream) == {"a": 1}
        await stream.aclose()
        async with within():
            assert await heard == {"id": "1", "type": "complete"}


async def test_gql_reader_is_told_of_a_loss() -> None:
    """A stream that breaks raises gql's own error."""

    async def lose(peer: Peer) -> None:
        await peer.acknowledge()
        await peer.operation()
        await peer.socket.close(1012)

    async with served(lose) as server, transport_to(server) as transport, Client(transport=transport) as session:
        with pytest.raises(TransportConnectionFailed, match="closed with code 1012"):
            async for _ in session.subscribe(EVENTS):
                pass


async def test_errors_of_execute_for_gql() -> None:
    """Each way that an operation can end has gql's error for it, and the connection serves on where it can."""

    async def errors(peer: Peer) -> None:
        await peer.acknowledge()
        operation_id, _ = await peer.operation()
        await peer.say(id=operation_id, type="error", payload=[{"message": "refused"}])
        operation_id, _ = await peer.operation()
        await peer.say(id=operation_id, type="next", payload={"data": {"a": 1}, "errors": [{"message": "partly"}]})
        operation_id, _ = await peer.operation()
        await peer.say(id=operation_id, type="complete")
        await peer.operation()
        await peer.socket.close(1011)

    async with served(errors) as server, transport_to(server) as transport, Client(transport=transport) as session:
        with pytest.raises(TransportQueryError, match="refused"):
            await session.execute(QUERY)
        with pytest.raises(TransportQueryError, match="partly") as caught:
            await session.execute(QUERY)
        assert caught.value.data == {"a": 1}
        with pytest.raises(TransportProtocolError, match="completed without an answer"):
            await session.execute(QUERY)
        with pytest.raises(TransportConnectionFailed, match="lost before an answer"):
            await session.execute(QUERY)


async def test_gql_execute_runs_out_of_time() -> None:
    """No answer in time is Python's TimeoutError, as with gql's own transports."""
    async with (
        served(acknowledge_and_wait) as server,
        transport_to(server, execute_timeout=0.05) as transport,
        Client(transport=transport) as session,
    ):
        with pytest.raises(TimeoutError, match="no answer in time"):
            await session.execute(QUERY)


async def test_gql_without_a_connection() -> None:
    """What could not be sent is a TransportConnectionFailed."""
    async with served(acknowledge_and_wait) as server:
        async with transport_to(server, url=f"ws://127.0.0.1:{free_port()}/") as transport:
            with pytest.raises(TransportConnectionFailed, match="refused"):
                await transport.connect()
        async with transport_to(server, limits=Limits(max_in_flight=1), execute_timeout=0.05) as transport:
            await transport.connect()
            other = asyncio.create_task(perform(transport, PROBE(), soon()))
            await (await server.acknowledged()).operation()
            with pytest.raises(TransportConnectionFailed, match="too many operations in flight"):
                await transport.execute(QUERY)
            await transport.close()
            assert isinstance(await other, Closed)


async def test_gql_subscription_on_a_socket_that_takes_nothing() -> None:
    """A subscription that can't be written raises gql's error, too."""
    async with served(acknowledge_and_wait) as server, transport_to(server, execute_timeout=0.05) as transport:
        await transport.connect()
        (await server.peer()).socket.transport.pause_reading()
        filler = asyncio.create_task(perform(transport, PRICE(memo="x" * 20_000_000), soon()))
        await asyncio.sleep(0.02)
        with pytest.raises(TransportConnectionFailed, match="could not be written in time"):
            await anext(transport.subscribe(EVENTS))
        (await server.peer()).socket.transport.abort()
        assert await filler == Closed(None)


async def test_subscription_of_the_driver_ends_with_the_transport() -> None:
    """Closing the transport wakes those who read a subscription."""
    async with served(acknowledge_and_wait) as server, transport_to(server) as transport:
        subscription = await transport.open_subscription(MY_UPDATES(), soon())
        reading = asyncio.create_task(subscription.receive())
        await (await server.acknowledged()).operation()
        await transport.aclose()
        with pytest.raises(SubscriptionEnded):
            await reading
