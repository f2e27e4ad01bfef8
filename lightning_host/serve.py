"""Running the host: a socket, signals, an orderly end."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.app import make_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from connection_strings import LightningClientFactory
    from lightning_host.settings import HostSettings

__all__ = ["run_host", "serving"]

_SHUTDOWN_SECONDS: Final = 5.0
_LINGERING_SECONDS: Final = 2.0
"""How long the rest of a body is taken in after it was refused, so that the client gets to read why."""

_BACKLOG: Final = 1024


@asynccontextmanager
async def serving(settings: HostSettings, factory: LightningClientFactory | None = None) -> AsyncIterator[HostSettings]:
    """Serve while the block runs; gives the settings with the port that was taken.

    Raises:
        OSError: The port is taken, or the address isn't this machine's.
        ConnectionStringError: A store's connection string can't be used.
        SettingsError: The database URL can't be used.

    """
    bound = _bind(settings.bind, settings.port)
    try:
        settings = settings.model_copy(update={"port": bound.getsockname()[1]})
        runner = web.AppRunner(
            make_app(settings, factory),
            access_log=None,
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
        await web.SockSite(runner, bound, backlog=_BACKLOG).start()
        yield settings
    finally:
        await runner.cleanup()


async def run_host(settings: HostSettings, ready: Callable[[HostSettings], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        OSError: As `serving`, and so the others.

    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with serving(settings) as bound:
        ready(bound)
        await stop.wait()


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)  # noqa: FBT003 - the only way that sockets have it
    except BaseException:
        bound.close()
        raise
    return bound
