"""Running the host: a socket, signals, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.host import HOST
from lightning_host.server.app import make_app
from lightning_host.server.connections import Gate
from lightning_host.web.concurrency_limit import ConcurrencyLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from connection_strings import LightningClientFactory
    from lightning_host.host import Host
    from lightning_host.settings import HostSettings

__all__ = ["run_host", "serving"]

_SHUTDOWN_SECONDS: Final = 5.0
_LINGERING_SECONDS: Final = 2.0
"""How long the rest of a body is taken in after it was refused, so that the client gets to read why."""

_BACKLOG: Final = 1024
_ACCEPT_PASSES: Final = 3
"""How many passes of its loop asyncio, and so uvloop, takes at the most from accepting a connection to serving it."""

_OTHER_FILES: Final = 200
"""Files that are no connection of a client: databases, wallets, webhooks."""

_log: Final = logging.getLogger("lightning_host")


@asynccontextmanager
async def serving(settings: HostSettings, factory: LightningClientFactory | None = None) -> AsyncIterator[HostSettings]:
    """Serve while the block runs; gives the settings with the port that was taken.

    Raises:
        OSError: The port is taken, or the address isn't this machine's.
        ConnectionStringError: A store's connection string can't be used.
        SettingsError: The database URL can't be used.

    """
    async with _serving(settings, factory) as host:
        yield host.settings


@asynccontextmanager
async def _serving(settings: HostSettings, factory: LightningClientFactory | None = None) -> AsyncIterator[Host]:
    bound = _bind(settings.bind, settings.port)
    try:
        settings = settings.model_copy(update={"port": bound.getsockname()[1]})
        runner = web.AppRunner(
            make_app(settings, factory),
            access_log=None,
            auto_decompress=False,  # a small body could become a large one: it is refused (web/bodies.py)
            handler_cancellation=True,
            keepalive_timeout=settings.idle_seconds,
            lingering_time=_LINGERING_SECONDS,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await runner.setup()
    except BaseException:
        bound.close()
        raise
    try:
        async with _listening(runner, bound, settings):
            yield runner.app[HOST]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _listening(runner: web.AppRunner, bound: socket.socket, settings: HostSettings) -> AsyncIterator[None]:
    """Take connections while the block runs, within the bounds that are set."""
    assert runner.server is not None, "it was set up"  # noqa: S101 - says so to the type checker
    limit = ConcurrencyLimit(
        "connections", most=settings.most_connections, most_per_client=settings.most_connections_per_address
    )
    gate = Gate(runner.server, limit, settings.trusted_proxies)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(gate, sock=bound, backlog=_BACKLOG)
    try:
        yield
    finally:
        # asyncio forgets a connection, and leaves it open, that it accepts as its server is closed: it stops to accept
        # first. uvloop stops when its server is closed, and brings what it accepted to its end.
        loop.remove_reader(bound)
        await _passes()
        server.close()
        await _passes()
        gate.close()


async def _passes() -> None:
    for _ in range(_ACCEPT_PASSES):
        await asyncio.sleep(0)


async def run_host(settings: HostSettings, ready: Callable[[HostSettings], None]) -> None:
    """Serve until SIGINT or SIGTERM; on SIGHUP read the connection strings again.

    Raises:
        OSError: As `serving`, and so the others.

    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    _allow_files(settings.most_connections + _OTHER_FILES)
    async with _serving(settings) as host:
        loop.add_signal_handler(signal.SIGHUP, host.rotation.asked.set)
        ready(host.settings)
        await stop.wait()


def _allow_files(wanted: int) -> None:
    """Let this process have as many files open as its bounds need, where the system lets it: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted <= soft or soft == resource.RLIM_INFINITY:
        return
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        _log.warning("MOST_CONNECTIONS is more than this process may have: it can open %d files", possible)


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)  # noqa: FBT003 - the only way that sockets have it
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{host} port {port}: {error.strerror}") from None
    except BaseException:
        bound.close()
        raise
    return bound
