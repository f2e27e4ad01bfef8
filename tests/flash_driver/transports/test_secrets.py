"""The token goes to the server and nowhere else: a canary, searched for in every log, repr and error."""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog
from gql import Client, gql
from gql.transport.exceptions import TransportError

from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import MY_UPDATES, PROBE
from flash_driver.flash_api.outcomes import Answer, ErrorFrame
from flash_driver.transports.call_log import CallLog
from flash_driver.transports.capabilities import Capabilities
from flash_driver.transports.gql_client import GraphQLTransport
from flash_driver.transports.http import HttpTransport
from flash_driver.transports.router import Router
from flash_driver.transports.websocket import WebSocketTransport
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import ConnectionFailed, Endpoint, Limits
from flash_driver.transports.websocket.subscription import SubscriptionEnded
from tests.support.sockets import Peer, accepting, free_port, served
from tests.support.web import Reply, posted, replying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_driver.transports.base import Transport

CANARY = "ory_st_c4n4ryc4n4ryc4n4ryc4n4ry"
BEARER = {"Authorization": f"Bearer {CANARY}"}
ECHO = [{"message": f"bad header Authorization: Bearer {CANARY}", "extensions": {"code": "NOT_AUTHENTICATED"}}]


class Everything(logging.Handler):
    """Keeps whatever anybody logs, at any level, as text."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record: its message, its arguments and its traceback."""
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        self.lines.append(f"{record.name} {record.getMessage()} {record.args!r} {trace}")


@pytest.fixture
def log() -> Iterator[Everything]:
    """Turn every logger of the process up to DEBUG, and leave structlog as it comes."""
    structlog.reset_defaults()
    handler = Everything()
    names = [None, *logging.root.manager.loggerDict]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.root.addHandler(handler)
    yield handler
    logging.root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


async def knows(peer: Peer) -> None:
    """Play a server that repeats the token in what it says."""
    await peer.acknowledge()
    assert peer.init == {"type": "connection_init", "payload": BEARER}
    while True:
        operation_id, payload = await peer.operation()
        if payload["operationName"] == "MyUpdates":
            await peer.say(id=operation_id, type="error", payload=ECHO)
        else:
            await peer.say(id=operation_id, type="next", payload={"data": None, "errors": ECHO})


async def what_is_shown(transport: Transport) -> str:
    """Perform an operation through the router, and return all that a host could see of it."""
    memory = Capabilities()
    router = Router([transport], memory)
    call_log = CallLog(get_logger(), "asking", "asked")
    delivery = await router.perform(PROBE(), Deadline.after(40), call_log)
    shown = [repr(transport), str(transport), repr(router), repr(delivery.reasons), repr(delivery.outcome)]
    shown += [repr(memory), repr(memory.summary())]
    try:
        shown.append(repr(delivery.data("asking")))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
        shown += [repr(error), "".join(traceback.format_exception(error))]
    await transport.aclose()
    return "\n".join(shown)


async def test_socket(log: Everything) -> None:
    """No log of any library and nothing that a host sees shows the token of a WebSocket."""
    asyncio.get_running_loop().set_debug(True)
    async with served(knows) as server:
        endpoint = server.endpoint(headers=BEARER, init_payload=BEARER)
        transport = WebSocketTransport(endpoint, Limits(close_timeout=0.2))
        subscription = await transport.open_subscription(MY_UPDATES(), Deadline.after(40))
        with pytest.raises(SubscriptionEnded) as ended:
            await subscription.receive()
        connection = await transport.connection(Deadline.after(40))
        shown = [repr(endpoint), repr(connection), str(ended.value), await what_is_shown(transport)]
    assert any("closed with" in line or "connect" in line for line in log.lines)
    assert CANARY not in "\n".join(shown + log.lines)


async def test_socket_that_can_not_be_opened(log: Everything) -> None:
    """No failure on the way to a connection shows the token either."""

    async def close(peer: Peer) -> None:
        await peer.hear()
        await peer.socket.close(4403, CANARY)

    async def babble(peer: Peer) -> None:
        await peer.hear()
        await peer.socket.send(CANARY)

    async with accepting(f"HTTP/1.1 401 {CANARY}\r\n\r\n".encode(), hold=False) as port:
        urls = (f"ws://127.0.0.1:{free_port()}/", f"ws://127.0.0.1:{port}/", f"wss://127.0.0.1:{port}/")
        endpoints = [Endpoint(url, BEARER, BEARER) for url in urls]
        shown = [await what_is_shown(WebSocketTransport(endpoint)) for endpoint in endpoints]
    for script in (close, babble):
        async with served(script) as server:
            endpoint = server.endpoint(headers=BEARER, init_payload=BEARER)
            with pytest.raises(ConnectionFailed) as failed:
                await Connection.open(endpoint, Limits(), Deadline.after(40))
            shown.append("".join(traceback.format_exception(failed.value)))
    assert CANARY not in "\n".join(shown + log.lines)


async def test_socket_as_transport_of_gql(log: Everything) -> None:
    """The logs and errors of gql do not show it: its transport would log the whole `connection_init`."""
    shown = []
    async with served(knows) as server:
        transport = WebSocketTransport(server.endpoint(headers=BEARER, init_payload=BEARER), Limits(close_timeout=0.2))
        async with Client(transport=transport) as session:
            for document in ("query Ask { a }", "query MyUpdates { a }"):
                request = gql(document)
                request.operation_name = document.split()[1]
                with pytest.raises(TransportError) as failed:
                    await session.execute(request)
                shown.append(str(failed.value) if "MyUpdates" in document else "")
    assert CANARY not in "\n".join(shown + log.lines)


@pytest.mark.parametrize("kind", [HttpTransport, GraphQLTransport])
async def test_http_routes(kind: type[HttpTransport | GraphQLTransport], log: Everything) -> None:
    """No log of aiohttp, httpx, httpcore or gql and nothing that a host sees shows the token of an HTTP route."""
    asyncio.get_running_loop().set_debug(True)
    shown = []
    replies = [
        Reply(Answer({}), '{"data":{"__typename":"Query"}}'),
        Reply(Answer({}), "<html>", 502),
        Reply(Answer({}), "<html>", 401),
        Reply(Answer({}), "<html>", 302, {"Location": "http://127.0.0.1:1/"}),
        Reply(Answer({}), "<html>", 200),
    ]
    for reply in replies:
        async with posted(replying(reply)) as site:
            shown.append(await what_is_shown(kind(site.url, BEARER)))
            assert site.requests[0][1]["Authorization"] == BEARER["Authorization"]
    async with accepting(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", hold=False) as port:
        urls = (f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/", f"http://127.0.0.1:{free_port()}/")
        shown += [await what_is_shown(kind(url, BEARER)) for url in urls]
    assert CANARY not in "\n".join(shown + log.lines)


@pytest.mark.parametrize("evidence", [Answer(None, ECHO), ErrorFrame(ECHO)])
def test_token_that_the_server_repeats(evidence: Answer | ErrorFrame) -> None:
    """A server that puts the token into its own words does not get it into ours."""
    assert CANARY not in repr(classify(PROBE, evidence))


@pytest.mark.parametrize("kind", [HttpTransport, GraphQLTransport])
async def test_traceback_of_a_call_that_was_cancelled(kind: type[HttpTransport | GraphQLTransport]) -> None:
    """No variable of any frame that a cancellation has passed shows the token: hosts print such tracebacks."""
    async with accepting() as port:
        transport = kind(f"http://127.0.0.1:{port}/", BEARER)
        link = await transport.ready(Deadline.after(20))
        written = asyncio.Event()
        operation = replace(PROBE(), about_to_write=written.set)
        asked = asyncio.create_task(link.execute(operation, Deadline.after(20)))
        async with asyncio.timeout(20):
            await written.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asked
        await transport.aclose()
    assert frames_with_token(cancelled.value) == []


@pytest.mark.parametrize("stage", ["upgrade", "acknowledgement", "answer"])
async def test_traceback_of_a_socket_that_was_cancelled(stage: str) -> None:
    """Nor does one of a WebSocket, wherever the cancellation meets it."""
    said = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.hear()
        if stage == "answer":
            await peer.say(type="connection_ack")
            await peer.operation()
        said.set()
        await peer.hear()

    async with accepting(accepted=said) as port, served(script) as server:
        endpoint = server.endpoint(headers=BEARER, init_payload=BEARER)
        if stage == "upgrade":
            endpoint = replace(endpoint, url=f"ws://127.0.0.1:{port}/")

        async def ask() -> None:
            connection = await Connection.open(endpoint, Limits(close_timeout=0.2), Deadline.after(20))
            try:
                await connection.execute(PROBE(), Deadline.after(20))
            finally:
                await connection.aclose()

        asked = asyncio.create_task(ask())
        async with asyncio.timeout(20):
            await said.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asked
    assert frames_with_token(cancelled.value) == []


def frames_with_token(error: BaseException) -> list[str]:
    """Return the names of the frames, of an error and its causes, that have the token in a variable."""
    found = []
    told: traceback.TracebackException | None = traceback.TracebackException.from_exception(error, capture_locals=True)
    while told is not None:
        frames = [frame for frame in told.stack if frame.filename != __file__]
        assert frames
        found += [frame.name for frame in frames if CANARY in str(frame.locals)]
        told = told.__cause__ or told.__context__
    return found
