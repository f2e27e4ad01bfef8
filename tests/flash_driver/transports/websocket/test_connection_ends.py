"""A connection on real sockets: what everybody learns when it ends, or when somebody gives up."""

from __future__ import annotations

import asyncio

import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.outcomes import Answer, Closed, NotWritten, TimedOut
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import ConnectionFailed, Limits
from flash_driver.transports.websocket.subscription import SubscriptionEnded
from tests.support.sockets import Peer, relayed, served, within
from tests.support.talk import ASK, LISTEN, LONG, acknowledge_and_wait, asking, soon, talking
from tests.support.waiting import until

# --- the end of a connection ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4400, 4403, 4500])
async def test_closed_in_the_middle(code: int) -> None:
    """Everybody in flight learns the code; what is asked afterwards was certainly not written."""
    async with talking() as (connection, peer):
        calls = [asking(connection) for _ in range(3)]
        subscription = await connection.subscribe(LISTEN, soon())
        for _ in range(4):
            await peer.operation()
        await peer.socket.close(code)
        async with within():
            told = await asyncio.gather(*calls)
        assert told == [Closed(code)] * 3
        assert len({id(evidence) for evidence in told}) <= 3
        with pytest.raises(SubscriptionEnded, match=f"closed with code {code}"):
            await subscription.receive()
        assert not connection.busy
        assert await connection.request(ASK, soon()) == NotWritten("the socket closed before the request was written")
        with pytest.raises(ConnectionFailed, match="before the subscription was written"):
            await connection.subscribe(LISTEN, soon())


async def test_dropped_in_the_middle() -> None:
    """A TCP reset has no code."""
    async with talking() as (connection, peer):
        call = asking(connection)
        subscription = await connection.subscribe(LISTEN, soon())
        for _ in range(2):
            await peer.operation()
        peer.reset()
        async with within():
            assert await call == Closed(None)
            with pytest.raises(SubscriptionEnded, match="the socket dropped"):
                await subscription.receive()


async def test_dropped_while_writing() -> None:
    """A socket that goes while the request is still being written leaves it unknown how much the server got."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), Limits(), soon())
        relay.frozen = True
        peer = await server.peer()
        peer.socket.transport.pause_reading()
        call = asyncio.create_task(connection.request({**ASK, "variables": {"memo": "x" * 20_000_000}}, soon()))
        await asyncio.sleep(0.05)
        assert not call.done()
        relay.end()
        async with within():
            assert await call == Closed(None)
        await connection.aclose()


async def test_half_open_peer_is_found() -> None:
    """When an answer is overdue and the peer gives no sign of life, the socket is dropped and all others are told."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), Limits(suspicion_timeout=0.05), soon())
        relay.frozen = True
        waiting = asking(connection)
        assert await asking(connection, deadline=Deadline.after(0.05)) == TimedOut()
        async with within():
            assert await waiting == Closed(None)
        assert not connection.usable
        await connection.aclose()


async def test_half_open_peer_is_found_without_any_request() -> None:
    """An idle connection to a dead peer is found by its own pings."""
    limits = Limits(ping_interval=0.05, ping_timeout=0.05, close_timeout=0.05)
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), limits, soon())
        subscription = await connection.subscribe(LISTEN, soon())
        relay.frozen = True
        async with within():
            with pytest.raises(SubscriptionEnded):
                await subscription.receive()
        assert not connection.usable
        await connection.aclose()


async def test_slow_answer_does_not_cost_the_connection() -> None:
    """A peer that answers late but is alive keeps its socket."""
    async with talking() as (connection, peer):
        answers = await asyncio.gather(*(asking(connection, deadline=Deadline.after(0.05)) for _ in range(2)))
        assert answers == [TimedOut(), TimedOut()]
        await until(lambda: connection._socket._pong_due is None)
        assert connection.usable
        ids = [(await peer.operation())[0] for _ in range(2)]
        call = asking(connection)
        for operation_id in (*ids, (await peer.operation())[0]):
            await peer.answer(operation_id, a=operation_id)
        assert await call == Answer({"a": "3"})


async def test_closing_tells_everybody() -> None:
    """Those who wait when the connection is closed on our side learn it, and closing twice does no harm."""
    async with talking() as (connection, peer):
        call = asking(connection)
        subscription = await connection.subscribe(LISTEN, soon())
        await peer.operation()
        await connection.aclose()
        assert isinstance(await call, Closed)
        with pytest.raises(SubscriptionEnded):
            await subscription.receive()
        await subscription.aclose()
        await connection.aclose()
        assert peer.socket.close_code == 1000


async def test_closing_does_not_wait_for_a_dead_peer() -> None:
    """The goodbye to a peer that does not answer ends with the close timeout; a second doubt is cleared away."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), Limits(close_timeout=0.05), soon())
        relay.frozen = True
        assert await asking(connection, deadline=Deadline.after(0.05)) == TimedOut()
        async with within():
            await connection.aclose()
        assert not connection.usable


async def test_cancelled_while_closing() -> None:
    """Also a closing that is given up leaves nothing behind."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), Limits(close_timeout=LONG), soon())
        relay.frozen = True
        closing = asyncio.create_task(connection.aclose())
        await asyncio.sleep(0.02)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with within():
                await closing
        assert not connection.usable


# --- giving up ------------------------------------------------------------------------------------------------------


async def test_cancelled_while_waiting_for_an_answer() -> None:
    """A caller that gives up takes nobody else along, and the connection serves on."""
    async with talking() as (connection, peer):
        given_up, kept = asking(connection), asking(connection)
        ids = [(await peer.operation())[0] for _ in range(2)]
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        for operation_id in ids:
            await peer.answer(operation_id, a=1)
        assert await kept == Answer({"a": 1})
        assert not connection.busy
        assert connection._in_flight.late == {}


async def test_cancelled_while_writing() -> None:
    """A caller that gives up while its request is being written spoils nothing for the next one."""
    async with served(Peer.serve_for_ever) as server, relayed(server.url, chunk=4096) as (url, _):
        connection = await Connection.open(server.endpoint(url=url), Limits(), soon())
        long = {**ASK, "variables": {"memo": "x" * 900_000}}
        writing = asyncio.create_task(connection.request(long, soon()))
        await asyncio.sleep(0.01)
        assert not writing.done()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await connection.request(ASK, soon()) == Answer({"name": "Ask"})
        await connection.aclose()


async def test_cancelled_while_waiting_for_a_slot() -> None:
    """A caller that gives up before its turn was never written, and holds no slot."""
    async with talking(Limits(max_in_flight=1)) as (connection, peer):
        first = asking(connection)
        operation_id, _ = await peer.operation()
        second, third = asking(connection, "Second"), asking(connection, "Third")
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await peer.answer(operation_id, a=1)
        operation_id, payload = await peer.operation()
        assert payload["operationName"] == "Third"
        await peer.answer(operation_id, a=3)
        assert (await first, await third) == (Answer({"a": 1}), Answer({"a": 3}))


async def test_slots_are_bounded() -> None:
    """No more operations than allowed are in flight; one that gets no turn in time was not written."""
    async with talking(Limits(max_in_flight=2)) as (connection, peer):
        calls = [asking(connection, f"Ask{number}") for number in range(2)]
        ids = [(await peer.operation())[0] for _ in calls]
        refused = await connection.request({**ASK, "operationName": "Refused"}, Deadline.after(0.05))
        assert refused == NotWritten("too many operations in flight")
        last = asking(connection, "Last")
        await peer.answer(ids[0], a=1)
        operation_id, payload = await peer.operation()
        assert payload["operationName"] == "Last"
        await peer.answer(operation_id, a=2)
        await peer.answer(ids[1], a=3)
        assert [await calls[0], await last, await calls[1]] == [Answer({"a": each}) for each in (1, 2, 3)]


async def test_waiting_for_a_slot_of_a_socket_that_closes() -> None:
    """Who still waits for a turn when the socket goes was not written."""
    async with talking(Limits(max_in_flight=1)) as (connection, peer):
        first, second = asking(connection), asking(connection)
        await peer.operation()
        await peer.socket.close(1011)
        async with within():
            assert await first == Closed(1011)
            assert await second == NotWritten("the socket closed before the request was written")


async def test_nothing_is_written_when_no_time_is_left() -> None:
    """A request whose time is over is not sent on the chance that it may be carried out."""
    async with talking() as (connection, peer):
        assert await connection.request(ASK, Deadline.after(-1)) == NotWritten("no time was left to write the request")
        call = asking(connection, "Next")
        operation_id, payload = await peer.operation()
        assert payload["operationName"] == "Next"
        await peer.answer(operation_id)
        await call


async def test_payload_that_can_not_be_written() -> None:
    """A request that is no JSON is the caller's fault and costs no slot."""
    async with talking(Limits(max_in_flight=1)) as (connection, peer):
        for _ in range(2):
            with pytest.raises(TypeError):
                await connection.request({"variables": object()}, soon())
        call = asking(connection)
        await peer.answer((await peer.operation())[0])
        assert await call == Answer({})
