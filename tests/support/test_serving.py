"""How servers of tests end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.support.proxy import FaultProxy
from tests.support.serving import serving_any_path, serving_streams, serving_websockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from websockets.asyncio.server import ServerConnection


async def _answer(_request: web.Request) -> web.Response:
    return web.Response()


async def _swallow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hear(connection: ServerConnection) -> None:
    await connection.wait_closed()


@contextlib.asynccontextmanager
async def _proxy() -> AsyncIterator[int]:
    async with FaultProxy("http://127.0.0.1:9") as proxy:
        proxy.hold()
        yield int(proxy.url.rpartition(":")[2])


@pytest.mark.parametrize(
    "server",
    [
        lambda: serving_any_path(_answer),
        lambda: serving_streams(_swallow),
        lambda: serving_websockets(_hear, open_timeout=0.1),
        _proxy,
    ],
    ids=["HTTP", "streams", "WebSocket", "proxy"],
)
async def test_a_connection_that_comes_at_the_end_is_closed(
    server: Callable[[], AbstractAsyncContextManager[int]],
) -> None:
    """Whatever a server has done of accepting a connection when it closes, it leaves no socket open."""
    left: list[str] = []
    for passes in range(5):
        async with server() as port:
            client = socket.create_connection(("127.0.0.1", port))
            for _ in range(passes):
                await asyncio.sleep(0)
        client.close()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            gc.collect()
        left += [f"after {passes}: {each.message}" for each in caught]
    assert left == []
