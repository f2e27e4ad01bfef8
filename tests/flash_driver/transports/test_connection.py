"""A connection on real sockets: who gets which answer, and what everybody learns when it ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from flash_driver.deadline import Deadline
from flash_driver.outcome import Answer, Cause, Closed, ErrorFrame, Evidence, Garbage, NotWritten, TimedOut
from flash_driver.transports.connection import (
    COMPLETED_BY_SERVER,
    Connection,
    ConnectionFailed,
    Limits,
    Subscription,
    SubscriptionEnded,
)
from tests.support.sockets import Peer, Relay, Served, accepting, relayed, served, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ASK = {"query": "query Ask { a }", "operationName": "Ask", "variables": {}}
LISTEN = {"query": "subscription Listen { a }", "operationName": "Listen", "variables": {}}
LONG = 20.0


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(LONG)


@asynccontextmanager
async def opened(server: Served, limits: Limits | None = None, **more: Any) -> AsyncIterator[Connection]:
    """Open a connection, and close it after the block."""
    connection = await Connection.open(server.endpoint(**more), limits or Limits(), soon())
    try:
        yield connection
    finally:
        await connection.aclose()


def asking(connection: Connection, name: str = "Ask", **more: Any) -> asyncio.Task[Evidence]:
    """Start an operation."""
    return asyncio.create_task(connection.execute({**ASK, "operationName": name}, more.pop("deadline", soon()), **more))


async def acknowledge_and_wait(peer: Peer) -> None:
    """Play a server that acknowledges, and then leaves the rest to the test."""
    await peer.acknowledge()
    await peer.socket.wait_closed()


@asynccontextmanager
async def talking(limits: Limits | None = None) -> AsyncIterator[tuple[Connection, Peer]]:
    """Open a connection to a server that the test itself speaks for."""
    async with served(acknowledge_and_wait) as server, opened(server, limits) as connection:
        yield connection, await server.acknowledged()


# --- opening --------------------------------------------------------------------------------------------------------


async def test_opening_shows_the_token_and_waits_for_the_acknowledgement() -> None:
    """`connection_init` carries the payload given, and operations may be written once it is acknowledged."""
    async with served(Peer.serve_for_ever) as server, opened(server) as connection:
        peer = await server.peer()
        assert peer.init == {"type": "connection_init", "payload": {"Authorization": "Bearer ory_st_test"}}
        assert connection.usable
        assert not connection.subscribed
        assert not connection.busy


async def test_ping_before_the_acknowledgement() -> None:
    """A server may ping before it acknowledges, and gets its pong."""

    async def ping_first(peer: Peer) -> None:
        init = await peer.hear()
        await peer.say(type="ping")
        assert await peer.hear() == {"type": "pong"}
        await peer.say(type="pong")
        await peer.say(type="connection_ack")
        assert init["type"] == "connection_init"
        operation_id, _ = await peer.operation()
        await peer.answer(operation_id, a=1)

    async with served(ping_first) as server, opened(server) as connection:
        assert await connection.execute(ASK, soon()) == Answer({"a": 1})


async def failed_opening(script: Callable[[Peer], Awaitable[None]], deadline: Deadline) -> ConnectionFailed:
    """Return why a connection to this server does not come about."""
    async with served(script) as server:
        with pytest.raises(ConnectionFailed) as caught:
            async with within():
                await Connection.open(server.endpoint(), Limits(), deadline)
    assert caught.value.__suppress_context__
    return caught.value


async def test_never_acknowledged() -> None:
    """A server that does not acknowledge is given up at the deadline."""
    failure = await failed_opening(Peer.hear, Deadline.after(0.5))
    assert (failure.why, failure.cause) == ("no connection_ack in time", Cause.SLOW)


async def test_handshake_never_answered() -> None:
    """A server that takes the connection and says nothing is given up at the deadline."""
    async with accepting() as port, served(Peer.serve_for_ever) as server:
        endpoint = server.endpoint(url=f"ws://127.0.0.1:{port}/graphql")
        with pytest.raises(ConnectionFailed) as caught:
            async with within():
                await Connection.open(endpoint, Limits(), Deadline.after(0.2))
    assert (caught.value.why, caught.value.cause) == ("no handshake in time", Cause.SLOW)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (4401, Cause.CREDENTIAL),
        (4403, Cause.CREDENTIAL),
        (4408, Cause.UNREACHABLE),
        (4500, Cause.UNREACHABLE),
        (1013, Cause.UNREACHABLE),
    ],
)
async def test_closed_instead_of_acknowledged(code: int, cause: Cause) -> None:
    """A close during initialisation is told with its code; two codes are about the token."""

    async def close(peer: Peer) -> None:
        await peer.hear()
        await peer.socket.close(code, "c0ffee")

    failure = await failed_opening(close, soon())
    assert (failure.why, failure.cause) == (f"the server closed with code {code} before connection_ack", cause)


async def test_lost_instead_of_acknowledged() -> None:
    """A connection that breaks during initialisation was of no use."""

    async def reset(peer: Peer) -> None:
        await peer.hear()
        peer.reset()

    failure = await failed_opening(reset, soon())
    assert failure.why == "the connection was lost before connection_ack"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<html>c0ffee", "a message that is not JSON"),
        ('{"type":"connection_error","payload":"c0ffee"}', "a message of no known type"),
        ('{"type":"complete","id":"1"}', "a complete message before connection_ack"),
    ],
)
async def test_something_else_instead_of_the_acknowledgement(text: str, what: str) -> None:
    """A server that says something else is not the server we mean."""

    async def babble(peer: Peer) -> None:
        await peer.hear()
        await peer.socket.send(text)

    failure = await failed_opening(babble, soon())
    assert failure.why == f"the server sent {what} before connection_ack"


@pytest.mark.parametrize("step", ["handshake", "acknowledgement"])
async def test_cancelled_while_opening(step: str) -> None:
    """Whoever gives up during the opening leaves no task and no socket behind."""
    heard = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.hear()
        heard.set()
        await peer.socket.wait_closed()

    async with accepting() as port, served(silent) as server:
        url = server.url if step == "acknowledgement" else f"ws://127.0.0.1:{port}/graphql"
        opening = asyncio.create_task(Connection.open(server.endpoint(url=url), Limits(), soon()))
        async with within():
            if step == "acknowledgement":
                await heard.wait()
            else:
                await asyncio.sleep(0.05)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        if step == "acknowledgement":
            async with within():
                await server.peers[0].socket.wait_closed()


# --- answers --------------------------------------------------------------------------------------------------------


async def test_many_in_flight_answered_in_any_order() -> None:
    """Of two hundred operations answered last first, each gets its own answer."""
    async with talking() as (connection, peer):
        calls = [asking(connection, f"Ask{number}") for number in range(200)]
        asked = [await peer.operation() for _ in calls]
        assert connection.busy
        for operation_id, payload in reversed(asked):
            await peer.answer(operation_id, name=payload["operationName"])
        assert await asyncio.gather(*calls) == [Answer({"name": f"Ask{number}"}) for number in range(200)]
        assert not connection.busy


async def test_answers_are_told_apart_from_events() -> None:
    """On the same socket, answers and events go each to whom they belong, in order."""
    async with talking() as (connection, peer):
        first = await connection.subscribe(LISTEN, soon())
        second = await connection.subscribe(LISTEN, soon())
        assert connection.subscribed
        ids = [(await peer.operation())[0] for _ in range(2)]
        call = asking(connection)
        operation_id, _ = await peer.operation()
        for number in range(3):
            for each in ids:
                await peer.say(id=each, type="next", payload={"data": {"of": each, "number": number}})
        await peer.answer(operation_id, a=1)
        assert await call == Answer({"a": 1})
        for subscription, each in zip((first, second), ids, strict=True):
            events = [(await subscription.receive()).data for _ in range(3)]
            assert events == [{"of": each, "number": number} for number in range(3)]


@pytest.mark.parametrize(
    ("replies", "evidence"),
    [
        (
            [{"type": "next", "payload": {"data": None, "errors": [{"message": "no"}]}}],
            Answer(None, [{"message": "no"}]),
        ),
        ([{"type": "error", "payload": [{"message": "no"}]}], ErrorFrame([{"message": "no"}])),
        ([{"type": "complete"}], Garbage("the operation was completed without an answer")),
        ([{"type": "next", "payload": {"data": {}}}, {"type": "next", "payload": {"data": {"b": 1}}}], Answer({})),
    ],
)
async def test_each_kind_of_answer(replies: list[dict[str, Any]], evidence: Evidence) -> None:
    """The first word about an operation is its answer; the connection lives on."""
    async with talking() as (connection, peer):
        call = asking(connection)
        operation_id, _ = await peer.operation()
        for reply in replies:
            await peer.say(id=operation_id, **reply)
        assert await call == evidence
        again = asking(connection)
        await peer.answer((await peer.operation())[0], a=1)
        assert await again == Answer({"a": 1})


async def test_no_answer_is_lost_when_the_socket_drains_slowly() -> None:
    """An answer that comes while its request is still being written reaches its caller (gql loses it, gql.md B7)."""
    drained_late = 0

    async with served(Peer.serve_for_ever) as server, relayed(server.url, chunk=2048) as (url, _):
        connection = await Connection.open(server.endpoint(url=url), Limits(), soon())
        raw = connection._socket.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        real = connection._socket.send

        async def send(message: str) -> None:
            nonlocal drained_late
            waiting = set(connection._calls)
            await real(message)
            drained_late += bool(waiting - set(connection._calls))

        connection._socket.send = send  # type: ignore[method-assign,assignment]  # looks on, changes nothing
        padding = {"memo": "x" * 8000}
        calls = [
            asyncio.create_task(
                connection.execute({**ASK, "operationName": f"Ask{number}", "variables": padding}, soon())
            )
            for number in range(100)
        ]
        answers = await asyncio.gather(*calls)
        await connection.aclose()
    assert answers == [Answer({"name": f"Ask{number}"}) for number in range(100)]
    assert drained_late > 0, "nothing was slow, so nothing was shown"


async def test_unknown_ids_are_nobody_s_business() -> None:
    """Messages about operations that nobody waits for change nothing."""
    async with talking() as (connection, peer):
        call = asking(connection)
        operation_id, _ = await peer.operation()
        for kind in ("next", "error", "complete"):
            await peer.say(id="999", type=kind, payload={"data": {}})
        await peer.say(type="pong")
        await peer.answer(operation_id, a=1)
        await peer.answer(operation_id, a=2)
        assert await call == Answer({"a": 1})
        assert connection.usable


async def test_server_pings_are_answered() -> None:
    """A `ping` at the level of the protocol gets a `pong` at once."""
    async with talking() as (_, peer):
        await peer.say(type="ping", payload={"a": 1})
        async with within():
            assert await peer.hear() == {"type": "pong"}


async def test_bad_frames_hang_nobody() -> None:
    """After a frame that the protocol does not know, everybody in flight is told and the socket is closed."""
    bad: list[str | bytes] = [b"\0\1", "<html>", "null", "[]", '{"type":"ka"}', '{"id":1,"type":"next","payload":{}}']
    for frame in bad:
        async with talking() as (connection, peer):
            calls = [asking(connection) for _ in range(3)]
            subscription = await connection.subscribe(LISTEN, soon())
            for _ in range(4):
                await peer.operation()
            with capture_logs() as entries:
                await peer.socket.send(frame)
                async with within():
                    told = await asyncio.gather(*calls)
            (why,) = {str(getattr(evidence, "why", evidence)) for evidence in told}
            assert why.startswith("the server sent a ")
            with pytest.raises(SubscriptionEnded, match="the server sent a "):
                await subscription.receive()
            assert not connection.usable
            assert await connection.execute(ASK, soon()) == NotWritten(
                "the socket closed before the request was written"
            )
            async with within():
                await peer.socket.wait_closed()
            assert peer.socket.close_code == 4400
            assert [entry["event"] for entry in entries] == ["websocket protocol violated by the server"]


@pytest.mark.parametrize(
    ("limits", "frame", "words"),
    [
        (Limits(max_message_bytes=1000), "x" * 1001, "the server sent a message larger than the limit"),
        (Limits(), b"\xff\xfe", "the server sent a text that is not UTF-8"),
    ],
)
async def test_frames_that_websockets_refuses(limits: Limits, frame: str | bytes, words: str) -> None:
    """A message too large or not text ends the connection; everybody in flight is told why."""
    async with talking(limits) as (connection, peer):
        calls = [asking(connection) for _ in range(2)]
        for _ in calls:
            await peer.operation()
        await peer.socket.send(frame, text=True)
        async with within():
            assert await asyncio.gather(*calls) == [Garbage(words)] * 2
        assert not connection.usable


async def test_bytes_that_are_no_frame() -> None:
    """A peer that speaks no WebSocket any more is told apart from one that hung up."""
    async with talking() as (connection, peer):
        call = asking(connection)
        await peer.operation()
        peer.socket.transport.write(b"\xff\xff\xff\xff")
        async with within():
            assert await call == Garbage("the server sent something that is no WebSocket frame")


async def test_a_fault_of_our_own_leaves_no_zombie(monkeypatch: pytest.MonkeyPatch) -> None:
    """If reading fails in a way that nobody thought of, everybody is told and nothing more is written."""
    async with talking() as (connection, peer):
        call = asking(connection)
        operation_id, _ = await peer.operation()

        def fail(_text: str) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(type(connection._protocol), "receive", lambda _self, text: fail(text))
        await peer.answer(operation_id, a=1)
        async with within():
            assert await call == Closed(None)
        assert not connection.usable


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
        assert await connection.execute(ASK, soon()) == NotWritten("the socket closed before the request was written")
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
        call = asyncio.create_task(connection.execute({**ASK, "variables": {"memo": "x" * 20_000_000}}, soon()))
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
        assert connection._doubt is not None
        async with within():
            await connection._doubt
        assert connection.usable
        ids = [(await peer.operation())[0] for _ in range(2)]
        call = asking(connection)
        for operation_id in (*ids, (await peer.operation())[0]):
            await peer.answer(operation_id, a=operation_id)
        assert await call == Answer({"a": "3"})


async def test_closing_tells_everybody() -> None:
    """Whoever waits when the connection is closed on our side learns it, and closing twice does no harm."""
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
        async with within(5):
            await connection.aclose()
        assert connection._doubt is not None
        assert connection._doubt.done()


async def test_cancelled_while_closing() -> None:
    """Also a closing that is given up leaves nothing behind."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), Limits(close_timeout=LONG), soon())
        relay.frozen = True
        closing = asyncio.create_task(connection.aclose())
        await asyncio.sleep(0.02)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with within(5):
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
        assert connection._late == {}


async def test_cancelled_while_writing() -> None:
    """A caller that gives up while its request is being written spoils nothing for the next one."""
    async with served(Peer.serve_for_ever) as server, relayed(server.url, chunk=4096) as (url, _):
        connection = await Connection.open(server.endpoint(url=url), Limits(), soon())
        long = {**ASK, "variables": {"memo": "x" * 900_000}}
        writing = asyncio.create_task(connection.execute(long, soon()))
        await asyncio.sleep(0.01)
        assert not writing.done()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await connection.execute(ASK, soon()) == Answer({"name": "Ask"})
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
        refused = await connection.execute({**ASK, "operationName": "Refused"}, Deadline.after(0.05))
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
        assert await connection.execute(ASK, Deadline.after(-1)) == NotWritten("no time was left to write the request")
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
                await connection.execute({"variables": object()}, soon())
        call = asking(connection)
        await peer.answer((await peer.operation())[0])
        assert await call == Answer({})


# --- late answers ---------------------------------------------------------------------------------------------------


async def test_late_answer_after_the_time() -> None:
    """An answer that comes after its caller's time still reaches whoever asked for it, once."""
    late: list[Evidence] = []
    came = asyncio.Event()

    def take(evidence: Evidence) -> None:
        late.append(evidence)
        came.set()

    async with talking() as (connection, peer):
        assert await asking(connection, deadline=Deadline.after(0.05), late=take) == TimedOut()
        operation_id, _ = await peer.operation()
        assert not connection.busy
        await peer.answer(operation_id, a=1)
        async with within():
            await came.wait()
    assert late == [Answer({"a": 1})]


async def test_late_answer_after_a_cancellation() -> None:
    """The same when the caller was cancelled."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()
    async with talking() as (connection, peer):
        call = asking(connection, late=late.put_nowait)
        operation_id, _ = await peer.operation()
        call.cancel()
        await peer.say(id=operation_id, type="error", payload=[{"message": "no"}])
        with pytest.raises(asyncio.CancelledError):
            await call
        async with within():
            assert await late.get() == ErrorFrame([{"message": "no"}])


async def test_answer_that_nobody_wants_any_more() -> None:
    """An answer that lies ready when its caller is cancelled, and that nobody asked for late, is dropped."""
    async with talking() as (connection, peer):
        call = asking(connection)
        operation_id, _ = await peer.operation()
        connection._settle(operation_id, Answer({"a": 1}))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not connection.busy


async def test_answer_in_the_very_moment_of_giving_up() -> None:
    """An answer that lies ready when its caller is cancelled is not lost."""
    late: list[Evidence] = []
    async with talking() as (connection, peer):
        call = asking(connection, late=late.append)
        operation_id, _ = await peer.operation()
        connection._settle(operation_id, Answer({"a": 1}))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert late == [Answer({"a": 1})]


async def test_answer_between_giving_up_and_noticing() -> None:
    """An answer between the cancellation and the caller's last step is not lost either."""
    late: list[Evidence] = []
    async with talking() as (connection, peer):
        call = asking(connection, late=late.append)
        operation_id, _ = await peer.operation()
        call.cancel()
        connection._settle(operation_id, Answer({"a": 1}))
        with pytest.raises(asyncio.CancelledError):
            await call
        assert connection._late == {}
    assert late == [Answer({"a": 1})]


async def test_answer_in_the_very_moment_of_the_deadline() -> None:
    """An answer that lies ready when time runs out is the answer."""
    async with talking() as (connection, peer):
        loop = asyncio.get_running_loop()
        deadline = Deadline.after(0.1)
        late: list[Evidence] = []
        call = asking(connection, deadline=deadline, late=late.append)
        operation_id, _ = await peer.operation()
        # Runs in the same turn of the loop as the timeout, just before it.
        loop.call_at(deadline.at - 1e-9, connection._settle, operation_id, Answer({"a": 1}))
        assert await call == Answer({"a": 1})
    assert late == []


async def test_late_answers_are_bounded() -> None:
    """Of operations that are never answered only so many are remembered, the youngest."""
    late: asyncio.Queue[Evidence] = asyncio.Queue()
    async with talking(Limits(max_late=2)) as (connection, peer):
        for number in range(4):
            call = asking(connection, f"Ask{number}", deadline=Deadline.after(0.05), late=late.put_nowait)
            assert await call == TimedOut()
        assert len(connection._late) == 2
        ids = [(await peer.operation())[0] for _ in range(4)]
        for operation_id in ids:
            await peer.answer(operation_id, of=operation_id)
        async with within():
            assert [await late.get() for _ in range(2)] == [Answer({"of": operation_id}) for operation_id in ids[2:]]
        assert connection._late == {}


async def test_nobody_is_told_late_that_the_socket_closed() -> None:
    """A close is no answer: who gave up before it hears nothing of it."""
    late: list[Evidence] = []
    async with talking() as (connection, peer):
        assert await asking(connection, deadline=Deadline.after(0.05), late=late.append) == TimedOut()
        await peer.operation()
        await connection.aclose()
    assert late == []
    assert connection._late == {}


async def test_fault_in_taking_a_late_answer_hurts_nobody() -> None:
    """An exception in somebody's callback is logged without content, and the connection serves on."""

    def fail(evidence: Evidence) -> None:
        raise ValueError(evidence)

    async with talking() as (connection, peer):
        assert await asking(connection, deadline=Deadline.after(0.05), late=fail) == TimedOut()
        operation_id, _ = await peer.operation()
        call = asking(connection)
        with capture_logs() as entries:
            await peer.answer(operation_id, secret="c0ffee")
            await peer.answer((await peer.operation())[0], a=1)
            assert await call == Answer({"a": 1})
    assert [entry for entry in entries if entry["log_level"] == "error"] == [
        {
            "event": "a late answer could not be taken in",
            "error": "ValueError",
            "transport": "websocket",
            "log_level": "error",
        }
    ]


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
        with pytest.raises(SubscriptionEnded, match=r"^the server refused it: no, \*\*\*$"):
            await subscription.receive()


async def test_subscription_survives_an_event_with_errors() -> None:
    """A failure in one event does not end the subscription (flash-api.md 1.2)."""
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


@asynccontextmanager
async def jammed() -> AsyncIterator[tuple[Connection, Served, Relay]]:
    """Open a connection whose socket takes nothing more: the peer does not read, and the buffers are full."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(server.endpoint(url=url), Limits(close_timeout=0.1), soon())
        (await server.peer()).socket.transport.pause_reading()
        filler = asyncio.create_task(connection.execute({**ASK, "variables": {"memo": "x" * 20_000_000}}, soon()))
        await asyncio.sleep(0.05)
        assert not filler.done()
        yield connection, server, relay
        relay.end()
        await filler
        await connection.aclose()


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
    """A socket that breaks while the subscription is written is told as such."""
    async with jammed() as (connection, _, relay):
        subscribing = asyncio.create_task(connection.subscribe(LISTEN, soon()))
        await asyncio.sleep(0.01)
        relay.end()
        with pytest.raises(ConnectionFailed, match="closed while the subscription was written"):
            async with within():
                await subscribing
        assert not connection.subscribed


async def test_a_jammed_socket_does_not_stop_the_reader() -> None:
    """A ping that can't be answered at once keeps nobody from reading what comes after it."""
    async with jammed() as (connection, server, _):
        peer = await server.peer()
        for _ in range(3):
            await peer.say(type="ping")
        operation_id = next(iter(connection._calls))
        await peer.answer(operation_id, a=1)
        async with within():
            while connection.busy:  # noqa: ASYNC110 - the answer wakes its caller, not us
                await asyncio.sleep(0)
        assert connection.usable
