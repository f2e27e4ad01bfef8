"""A connection on real sockets: how it opens, and who gets which answer."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.outcomes import Answer, Cause, Closed, ErrorFrame, Evidence, Garbage, NotWritten
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import ConnectionFailed, Limits
from flash_driver.transports.websocket.subscription import SubscriptionEnded
from tests.support.sockets import Peer, accepting, relayed, served, within
from tests.support.talk import ASK, LISTEN, asking, opened, soon, talking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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
        assert await connection.request(ASK, soon()) == Answer({"a": 1})


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
    """A caller that gives up during the opening leaves no task and no socket behind."""
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
    """An answer that comes while its request is still being written reaches its caller (gql loses it)."""
    answered_while_jammed = 0

    async with served(Peer.serve_for_ever) as server, relayed(server.url, chunk=2048) as (url, _):
        connection = await Connection.open(server.endpoint(url=url), Limits(), soon())
        assert connection._socket._transport is not None
        raw = connection._socket._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        real = connection.text_received

        def look_on(text: str | bytes) -> None:
            nonlocal answered_while_jammed
            answered_while_jammed += connection._socket.resumed is not None
            real(text)

        connection.text_received = look_on  # type: ignore[method-assign]  # changes nothing
        padding = {"memo": "x" * 8000}
        calls = [
            asyncio.create_task(
                connection.request({**ASK, "operationName": f"Ask{number}", "variables": padding}, soon())
            )
            for number in range(100)
        ]
        answers = await asyncio.gather(*calls)
        await connection.aclose()
    assert answers == [Answer({"name": f"Ask{number}"}) for number in range(100)]
    assert answered_while_jammed > 0, "nothing was slow, so nothing was shown"


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
            assert await connection.request(ASK, soon()) == NotWritten(
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
