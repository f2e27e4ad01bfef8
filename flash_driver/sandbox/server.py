"""One running sandbox: a Flash-compatible server on one port, with its control endpoint."""

from __future__ import annotations

import asyncio
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from flash_driver.sandbox.control import control_routes
from flash_driver.sandbox.schema.schema import flash_schema
from flash_driver.sandbox.schema.subscriptions import publish_price
from flash_driver.sandbox.serving.engine import Engine
from flash_driver.sandbox.serving.http import serve_http, serve_totp
from flash_driver.sandbox.serving.websocket import serve_websocket
from flash_driver.sandbox.simulation import Simulation, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from flash_driver.sandbox.bank.custodian import Clock
    from flash_driver.sandbox.options import SandboxOptions

__all__ = ["Sandbox", "run_sandbox"]

_SHUTDOWN_TIMEOUT: Final = 1.0
_ACCEPT_PASSES: Final = 3
"""How many passes of its loop asyncio takes at the most from accepting a connection to having it served."""


class Sandbox(Simulation):
    """A Flash-compatible server, for development, demos and tests.

        async with Sandbox(SandboxOptions(ws_mutations="decline")) as sandbox:
            client = factory.create(sandbox.connection_string)

    Args:
        options: How it behaves.
        clock: Tells it the time; tests may have their own.

    """

    def __init__(self, options: SandboxOptions | None = None, *, clock: Clock = utc_now) -> None:
        super().__init__(options, clock=clock)
        self._engine: Engine | None = None
        self._runner: web.AppRunner | None = None
        self._listening: socket.socket | None = None
        self._port = self.options.port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Bind to the port and serve.

        Raises:
            OSError: The port is taken, or the host is not an address of this machine.

        """
        engine = Engine(
            self._bank,
            self._invoices,
            self._sends,
            self._credentials,
            self._logins,
            flash_schema(self.options.max_complexity),
            self._sockets,
        )
        app = web.Application()
        app.add_routes(
            [web.post("/graphql", partial(serve_http, engine)), web.get("/graphql", partial(serve_websocket, engine))]
        )
        app.add_routes([web.post("/auth/totp/validate", partial(serve_totp, engine)), *control_routes(self)])
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            listening = await self._bind()
            await web.SockSite(runner, listening).start()  # noqa: TID251 - `aclose` stops accepting first
        except OSError:
            await runner.cleanup()
            raise
        self._engine, self._runner, self._listening = engine, runner, listening
        self._port = listening.getsockname()[1]
        self._bank.tasks.start(self._tick(), "price ticks")

    async def aclose(self) -> None:
        """Close every socket and end every task; a closed sandbox stays closed."""
        if self._engine is None or self._runner is None or self._listening is None:
            return
        # asyncio forgets a connection, and leaves it open, that it accepts as its server is closed.
        asyncio.get_running_loop().remove_reader(self._listening)
        for _ in range(_ACCEPT_PASSES):
            await asyncio.sleep(0)
        self._engine.closing.set()
        await asyncio.gather(*(each.close(1001, "Going away") for each in [*self._sockets]))
        await self._runner.cleanup()
        await self._bank.tasks.aclose()
        self._engine = self._runner = self._listening = None

    @property
    def server(self) -> str:
        """The URL of GraphQL over HTTP."""
        return f"http://{self._authority}/graphql"

    @property
    def websocket(self) -> str:
        """The URL of GraphQL over WebSocket."""
        return f"ws://{self._authority}/graphql"

    @property
    def control(self) -> str:
        """The URL that the control endpoint's paths are appended to."""
        return f"http://{self._authority}/control"

    @property
    def connection_string(self) -> str:
        """The line that a host is configured with."""
        return f"type=flash;server={self.server};token={self.token};allowinsecure=true"

    async def _bind(self) -> socket.socket:
        """Bind to one address: a free port would not be the same one on each address of `localhost`."""
        host = "127.0.0.1" if self.options.host == "localhost" else self.options.host
        found = await asyncio.get_running_loop().getaddrinfo(host, self.options.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family)

    @property
    def _authority(self) -> str:
        host = self.options.advertised_host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def ready_line(self) -> dict[str, str]:
        """Tell all that a client or a test needs to begin."""
        names = ("connection_string", "server", "websocket", "token", "api_key", "wallet_id", "control")
        return {name: getattr(self, name) for name in names}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.options.price_tick_seconds)
            publish_price(self._bank)


async def run_sandbox(options: SandboxOptions, *, on_ready: Callable[[Sandbox], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is called once the sandbox can be reached."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Sandbox(options) as sandbox:
            on_ready(sandbox)
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
