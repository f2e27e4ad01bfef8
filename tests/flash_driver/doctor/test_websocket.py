from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from flash_driver.doctor.findings import Examination, Result
from flash_driver.doctor.websocket import examine_socket
from flash_driver.transports.websocket.handshake import Endpoint
from tests.flash_driver.cli.commands import CANARY
from tests.flash_driver.doctor.servers import http_server, socket_server
from tests.support.sockets import accepting

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection


async def rows(url: str, seconds: float = 5.0) -> dict[str, tuple[Result, str, str]]:
    """Examine a socket; give result, what was found and advice by row."""
    examination = Examination(seconds)
    header = {"Authorization": f"Bearer {CANARY}"}
    await examine_socket(examination, Endpoint(url, header, header))
    assert not any(CANARY in check.found + check.advice for check in examination.checks)
    return {check.name: (check.result, check.found, check.advice) for check in examination.checks}


async def acknowledge(socket: ServerConnection) -> None:
    """Do as a server does up to the acknowledgement, with a ping before it."""
    await socket.recv()
    await socket.send('{"type":"ping"}')
    assert json.loads(await socket.recv()) == {"type": "pong"}
    await socket.send('{"type":"connection_ack"}')


async def quiet(socket: ServerConnection) -> None:
    """Take everything and say nothing."""
    async for _ in socket:
        pass


async def test_server_without_the_protocol() -> None:
    """A server that agrees to no subprotocol, or insists on another one, is no Flash."""
    async with http_server(_upgrade_without_subprotocol) as url:
        found = await rows(url.replace("http:", "ws:"))
    assert found["subprotocol"][:2] == (Result.FAIL, "the server agreed to none")
    assert found["connection_ack"][0] is Result.SKIPPED


async def _upgrade_without_subprotocol(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    return socket


async def test_server_with_another_protocol() -> None:
    """A server that picks a protocol that was not offered is no Flash either."""

    async def answer(request: web.Request) -> web.StreamResponse:
        request.headers.getone("Sec-WebSocket-Protocol")
        socket = web.WebSocketResponse(protocols=("graphql-ws",))
        socket.headers["Sec-WebSocket-Protocol"] = "graphql-ws"
        await socket.prepare(request)
        await socket.receive()
        return socket

    async with http_server(answer) as url:
        found = await rows(url.replace("http:", "ws:"))
    assert found["WebSocket"][:2] == (Result.FAIL, "the server does not speak graphql-transport-ws")


@pytest.mark.parametrize(
    ("code", "advice"),
    [(4403, "log in to Flash again"), (4500, "no account"), (4406, "check host and path"), (4999, "does not talk")],
)
async def test_close_before_the_acknowledgement(code: int, advice: str) -> None:
    """The close code decides on the advice."""

    async def close(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close(code)

    async with socket_server(close) as url:
        found = await rows(url)
    assert found["connection_ack"][:2] == (Result.FAIL, f"the server closed with code {code}")
    assert advice in found["connection_ack"][2]
    assert found["subscription"][0] is Result.SKIPPED


async def test_connection_lost_before_the_acknowledgement() -> None:
    """A loss without a code is told as one."""

    async def drop(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    async with socket_server(drop) as url:
        assert (await rows(url))["connection_ack"][1] == "the connection was lost"


async def test_nonsense_before_the_acknowledgement() -> None:
    """Something else than the protocol points at another kind of server."""

    async def babble(socket: ServerConnection) -> None:
        await socket.send("hello")
        await quiet(socket)

    async with socket_server(babble) as url:
        found = await rows(url)
    assert found["connection_ack"][1] == "the server sent a message that is not JSON"


async def test_redirect_is_not_followed_with_the_token() -> None:
    """A server that sends elsewhere is told so; the token does not travel there."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with http_server(answer) as url:
        found = await rows(url.replace("http:", "ws:"))
    assert found["WebSocket"][1] == "the handshake was answered with HTTP 302"
    assert "write the final address into websocket=" in found["WebSocket"][2]
    assert seen == ["/graphql"]


async def test_handshake_that_is_none() -> None:
    """An answer that is no proper handshake, and no answer at all, are told apart from a refusal."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=101)

    async with http_server(answer) as url:
        found = await rows(url.replace("http:", "ws:"))
    assert found["WebSocket"][1].startswith(("the handshake failed", "could not connect"))
    refused = await rows("ws://127.0.0.1:1/graphql")
    assert refused["WebSocket"][1] == "the connection was refused"


async def test_handshake_that_never_ends() -> None:
    """A server that does not even shake hands ends the row in its time."""
    async with accepting() as port:
        found = await rows(f"ws://127.0.0.1:{port}/graphql", 0.2)
    assert found["WebSocket"][1] == "no answer within 0.2 s"


async def test_probe_that_stays_without_an_answer() -> None:
    """A mute server fails the questions, one after the other, each in its time."""

    async def talk(socket: ServerConnection) -> None:
        await acknowledge(socket)
        await quiet(socket)

    async with socket_server(talk) as url:
        found = await rows(url, 0.5)
    assert found["connection_ack"][0] is Result.PASS
    assert found["socket mutations"][1] == "no answer in time"
    assert found["subscription"][1] == "no answer within 0.5 s"
    assert "asks about each invoice" in found["subscription"][2]


async def test_second_connection_that_fails() -> None:
    """When the first socket is gone and no second comes, the subscription fails with the reason."""
    connections = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await acknowledge(socket)
            await socket.recv()
        await socket.close(4500)

    async with socket_server(talk) as url:
        found = await rows(url)
    assert found["socket mutations"][1] == "the server closes the socket on them; subscriptions only"
    assert found["subscription"][1] == "the server closed with code 4500 before connection_ack"
