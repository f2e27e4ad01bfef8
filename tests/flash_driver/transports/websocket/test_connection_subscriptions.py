"""A connection on real sockets: subscriptions, also on a socket that takes nothing more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.outcomes import Answer, Cause
from flash_driver.transports.websocket.handshake import ConnectionFailed, Limits
from flash_driver.transports.websocket.subscription import COMPLETED_BY_SERVER, Subscription, SubscriptionEnded
from tests.support.sockets import Peer, within
from tests.support.talk import LISTEN, asking, jammed, soon, talking

if TYPE_CHECKING:
    from flash_driver.transports.websocket.connection import Connection

# --- subscriptions --------------------------------------------------------------------------------------------------


async def subscribed(connection: Connection, peer: Peer) -> tuple[Subscription, str]:
    """Start a subscription; returns it with its id."""
    subscription = await connection.subscribe(LISTEN, soon())
    return subscription, (await peer.operation())[0]


async def test_subscription_ends_when_the_server_completes_it() -> None:
    """What was sent before the end is read before the end."""
    async with talking() as (connection, peer):
        subscription, operation_id = await subscribed(connection, peer)
        await peer.answer(operation_id, a=1)
        assert (await subscription.receive()).data == {"a": 1}
        with pytest.raises(SubscriptionEnded, match=COMPLETED_BY_SERVER):
            await subscription.receive()
        assert not connection.subscribed


async def test_subscription_ends_when_the_server_refuses_it() -> None:
    """A refusal is told in the server's words, credentials masked."""
    async with talking() as (connection, peer):
        subscription, operation_id = await subscribed(connection, peer)
        await peer.say(id=operation_id, type="error", payload=[{"message": "no, ory_st_c0ffee"}])
        with pytest.raises(SubscriptionEnded, match=r"^the server refused it: no, (ory_st_)?\*\*\*$"):
            await subscription.receive()


async def test_subscription_survives_an_event_with_errors() -> None:
    """A failure in one event does not end the subscription (flash-server.md 1.2)."""
    async with talking() as (connection, peer):
        subscription, operation_id = await subscribed(connection, peer)
        await peer.say(id=operation_id, type="next", payload={"errors": [{"message": "no"}], "data": None})
        await peer.say(id=operation_id, type="next", payload={"data": {"a": 1}})
        assert (await subscription.receive()).errors == [{"message": "no"}]
        assert (await subscription.receive()).data == {"a": 1}


async def test_closing_a_subscription_tells_the_server() -> None:
    """`complete` is sent once; the connection serves on."""
    async with talking() as (connection, peer):
        subscription, operation_id = await subscribed(connection, peer)
        await subscription.aclose()
        await subscription.aclose()
        assert await peer.hear() == {"id": operation_id, "type": "complete"}
        assert not connection.subscribed
        call = asking(connection)
        await peer.say(id=operation_id, type="next", payload={"data": {"too": "late"}})
        await peer.answer((await peer.operation())[0], a=1)
        assert await call == Answer({"a": 1})


async def test_reader_that_falls_behind_is_unsubscribed() -> None:
    """When too many events wait, the subscription ends for both sides, and for nobody else."""
    async with talking(Limits(max_queued_events=3)) as (connection, peer):
        subscription, operation_id = await subscribed(connection, peer)
        for number in range(5):
            await peer.say(id=operation_id, type="next", payload={"data": {"number": number}})
        async with within():
            assert await peer.hear() == {"id": operation_id, "type": "complete"}
        assert [(await subscription.receive()).data for _ in range(3)] == [{"number": each} for each in range(3)]
        with pytest.raises(SubscriptionEnded, match="fell too far behind"):
            await subscription.receive()
        assert connection.usable


async def test_subscribing_on_a_jammed_socket() -> None:
    """A subscription that can't be written in time has failed, and leaves nothing on the connection."""
    async with jammed() as (connection, _, _):
        with pytest.raises(ConnectionFailed, match="could not be written in time") as caught:
            await connection.subscribe(LISTEN, Deadline.after(0.05))
        assert caught.value.cause is Cause.SLOW
        assert not connection.subscribed


async def test_cancelled_while_subscribing() -> None:
    """A caller that gives up while subscribing leaves nothing on the connection."""
    async with jammed() as (connection, _, _):
        subscribing = asyncio.create_task(connection.subscribe(LISTEN, soon()))
        await asyncio.sleep(0.01)
        subscribing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await subscribing
        assert not connection.subscribed


async def test_dropped_while_subscribing() -> None:
    """A socket that breaks while the subscription waits for its turn to be written is told as such."""
    async with jammed() as (connection, _, relay):
        subscribing = asyncio.create_task(connection.subscribe(LISTEN, soon()))
        await asyncio.sleep(0.01)
        relay.end()
        with pytest.raises(ConnectionFailed, match="closed before the subscription was written"):
            async with within():
                await subscribing
        assert not connection.subscribed


async def test_a_jammed_socket_does_not_stop_the_reader() -> None:
    """A ping that can't be answered at once keeps nobody from reading what comes after it."""
    async with jammed() as (connection, server, _):
        peer = await server.peer()
        for _ in range(3):
            await peer.say(type="ping")
        operation_id = next(iter(connection._in_flight.calls))
        await peer.answer(operation_id, a=1)
        async with within():
            while connection.busy:  # noqa: ASYNC110 - the answer wakes its caller, not us
                await asyncio.sleep(0)
        assert connection.usable
