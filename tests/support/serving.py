"""Servers of tests on loopback that leave no connection open when they close.

asyncio forgets a connection, and leaves it open, that it accepts as its server is closed. The warning about it breaks
the test that runs by then, which may be another one. So servers of tests stop accepting first, and ruff lets none be
made elsewhere (`banned-api` in pyproject.toml).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from websockets.asyncio.server import serve  # noqa: TID251 - closed as it has to be

if TYPE_CHECKING:
    import ssl
    from asyncio.trsock import TransportSocket
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from aiohttp.typedefs import Handler
    from websockets.asyncio.server import ServerConnection

__all__ = ["serving", "serving_any_path", "serving_streams", "serving_websockets"]

_ACCEPT_PASSES: Final = 3
"""How many passes the event loop needs from accepting a connection to having it served."""

_silent: Final = logging.Logger("the tests' own server", level=logging.CRITICAL)  # noqa: LOG001 - outside the tree


@asynccontextmanager
async def serving(app: web.Application, tls: ssl.SSLContext | None = None, **runner: Any) -> AsyncIterator[int]:
    """Serve an application while the block runs; yields the port."""
    running = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, **runner)
    await running.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        try:
            await web.SockSite(running, listening, ssl_context=tls).start()  # noqa: TID251 - as above
            yield listening.getsockname()[1]
        finally:
            await _stop_accepting([listening])
            await running.cleanup()


@asynccontextmanager
async def serving_any_path(handler: Handler, tls: ssl.SSLContext | None = None, **runner: Any) -> AsyncIterator[int]:
    """Serve one handler at every path and method while the block runs; yields the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with serving(app, tls, **runner) as port:
        yield port


@asynccontextmanager
async def serving_websockets(
    handler: Callable[[ServerConnection], Awaitable[None]], host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[int]:
    """Serve WebSockets while the block runs; yields the port."""
    async with serve(handler, host, 0, **{"logger": _silent, **options}) as server:
        try:
            yield next(iter(server.sockets)).getsockname()[1]
        finally:
            await _stop_accepting(server.sockets)


@asynccontextmanager
async def serving_streams(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    listening: socket.socket | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    limit: int = 2**16,
) -> AsyncIterator[int]:
    """Serve bytes while the block runs; yields the port.

    Args:
        handler: Serves one connection; cancelled when the block ends. What it leaves open is closed.
        listening: Where; on a free port if it is not given.
        tls: The server's certificate; in the clear if it is not given.
        limit: How many bytes a connection holds; it stops to read at twice as many.

    """
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except asyncio.CancelledError:
            # asyncio's server complains about handlers that end as cancelled; the end was asked for.
            writer.transport.abort()
        finally:
            writer.close()
            tasks.discard(task)

    taken = listening or socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(handle, sock=taken, ssl=tls, limit=limit)  # noqa: TID251 - as above
    async with server:
        try:
            yield taken.getsockname()[1]
        finally:
            await _stop_accepting(server.sockets)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _stop_accepting(listening: Iterable[socket.socket | TransportSocket]) -> None:
    """Take no more connections, and wait until those are served that were accepted."""
    for each in listening:
        asyncio.get_running_loop().remove_reader(each.fileno())
    for _ in range(_ACCEPT_PASSES):
        await asyncio.sleep(0)
