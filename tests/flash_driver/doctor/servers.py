"""Servers that are not quite Flash: what a doctor meets in the field."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from websockets.typing import Subprotocol

from tests.support.serving import serving_any_path, serving_streams, serving_websockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web
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

    async with serving_streams(pass_on, tls=server_tls()) as port:
        yield port


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
    async with serving_any_path(answer) as port:
        yield f"http://127.0.0.1:{port}/graphql"


@asynccontextmanager
async def socket_server(
    talk: Callable[[ServerConnection], Awaitable[None]], *, subprotocol: str | None = "graphql-transport-ws"
) -> AsyncIterator[str]:
    """Serve WebSockets; give the address."""
    offered = None if subprotocol is None else [Subprotocol(subprotocol)]
    async with serving_websockets(talk, subprotocols=offered) as port:
        yield f"ws://127.0.0.1:{port}/graphql"
