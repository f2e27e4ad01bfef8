"""Servers that are not quite Flash: what a doctor meets in the field."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web
from websockets.asyncio.server import serve
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from websockets.asyncio.server import ServerConnection

    from flash_driver.sandbox import Sandbox

__all__ = ["CERTIFICATE", "http_server", "server_tls", "socket_server", "tls_front"]

CERTIFICATE: Final = Path(__file__).with_name("loopback.pem")
"""A certificate for 127.0.0.1 that nobody trusts, with its key."""


def server_tls() -> ssl.SSLContext:
    """Return the settings of a server with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@asynccontextmanager
async def tls_front(sandbox: Sandbox) -> AsyncIterator[int]:
    """Put TLS in front of a sandbox; give the port."""
    behind = urlsplit(sandbox.server)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(behind.hostname, behind.port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=server_tls())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def http_server(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve one answer at every path; give the address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/graphql"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def socket_server(
    talk: Callable[[ServerConnection], Awaitable[None]], *, subprotocol: str | None = "graphql-transport-ws"
) -> AsyncIterator[str]:
    """Serve WebSockets; give the address."""
    offered = None if subprotocol is None else [Subprotocol(subprotocol)]
    async with serve(talk, "127.0.0.1", 0, subprotocols=offered) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/graphql"
