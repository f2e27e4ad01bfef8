"""A connection and the test as its server: what the tests of connections have in common."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from flash_driver.common.deadline import Deadline
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import Limits
from tests.support.sockets import Peer, Relay, Served, relayed, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flash_driver.flash_api.outcomes import Evidence

__all__ = ["ASK", "LISTEN", "LONG", "acknowledge_and_wait", "asking", "jammed", "opened", "soon", "talking"]

ASK = {"query": "query Ask { a }", "operationName": "Ask", "variables": {}}
LISTEN = {"query": "subscription Listen { a }", "operationName": "Listen", "variables": {}}
LONG = 60.0


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
    return asyncio.create_task(connection.request({**ASK, "operationName": name}, more.pop("deadline", soon()), **more))


async def acknowledge_and_wait(peer: Peer) -> None:
    """Play a server that acknowledges, and then leaves the rest to the test."""
    await peer.acknowledge()
    await peer.socket.wait_closed()


@asynccontextmanager
async def talking(limits: Limits | None = None) -> AsyncIterator[tuple[Connection, Peer]]:
    """Open a connection to a server that the test itself speaks for."""
    async with served(acknowledge_and_wait) as server, opened(server, limits) as connection:
        yield connection, await server.acknowledged()


@asynccontextmanager
async def jammed() -> AsyncIterator[tuple[Connection, Served, Relay]]:
    """Open a connection whose socket takes nothing more: the peer does not read, and the buffers are full."""
    async with served(acknowledge_and_wait) as server, relayed(server.url) as (url, relay):
        connection = await Connection.open(
            server.endpoint(url=url), Limits(close_timeout=0.1, max_unread_bytes=2**26), soon()
        )
        (await server.peer()).socket.transport.pause_reading()
        filler = asyncio.create_task(connection.request({**ASK, "variables": {"memo": "x" * 20_000_000}}, soon()))
        await asyncio.sleep(0.05)
        assert not filler.done()
        yield connection, server, relay
        relay.end()
        await filler
        await connection.aclose()
