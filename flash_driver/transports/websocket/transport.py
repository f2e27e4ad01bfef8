"""The WebSocket transport: the way that an Ory session token opens.

One socket carries many operations at once; a host for which that is not enough permits more (`pool-size`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import SharedAttempt
from flash_driver.flash_api.documents import PROBE
from flash_driver.flash_api.outcomes import Cause
from flash_driver.transports.base import NotReady
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import ConnectionFailed, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.flash_api.documents import Document, Operation
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.transports.base import Prober
    from flash_driver.transports.websocket.handshake import Endpoint
    from flash_driver.transports.websocket.subscription import Subscription

__all__ = ["ManagedConnection", "SocketTransport"]

_CROWDED: Final = 64
"""How many operations in flight on each socket make it worth opening a further one."""
_TRY_AGAIN_SECONDS: Final = 30.0
"""How long after a failure a connection that others can do without is tried again."""

_log: Final = get_logger(transport="websocket")


class SocketTransport:
    """GraphQL over shared WebSockets; `gql_adapter.WebSocketTransport` is the same for a `gql.Client`.

    Args:
        endpoint: Where to connect and with what credential.
        limits: What a connection waits for and holds.
        size: How many sockets there may be; a further one is opened when each has many operations in flight.

    Attributes:
        prober: The first connection: today's server takes subscriptions only, and says so (flash-server.md 2).

    """

    name: Final = "websocket"
    anonymous: Final = False
    shows_credential: Final = False
    counts_as: Final[Mapping[Document, Document]] = {}

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None, *, size: int = 1) -> None:
        self._endpoint = endpoint
        self._limits = limits or Limits()
        # Subscriptions live on the first one.
        self._managed = [ManagedConnection(endpoint, self._limits)]
        self.prober: Final[Prober] = self._managed[0]
        self.widen(size)

    @property
    def connected(self) -> bool:
        """Whether an operation could be written at once."""
        return self._managed[0].connected

    @property
    def opened_at(self) -> float | None:
        """When the shared connection was opened, on the event loop's clock; None while there is none."""
        return self._managed[0].opened_at

    @property
    def times_connected(self) -> int:
        """How often the first socket was opened."""
        return self._managed[0].times_connected

    def widen(self, size: int) -> None:
        """Permit this number of sockets, if there may be fewer now."""
        while len(self._managed) < size:
            self._managed.append(ManagedConnection(self._endpoint, self._limits))

    async def ready(self, deadline: Deadline) -> Connection:
        """Return the connection for the next operation, connecting first if need be.

        Raises:
            ConnectionFailed: It did not come about by the deadline.

        """
        managed = self._managed[0] if len(self._managed) == 1 else self._roomiest()
        return managed.ready() or await managed.connection(deadline)

    async def connection(self, deadline: Deadline) -> Connection:
        """Return an open connection; all who ask while it is being opened share the attempt.

        Raises:
            ConnectionFailed: It did not come about by the deadline.

        """
        return await self._managed[0].connection(deadline)

    async def fresh(self, deadline: Deadline) -> Connection:
        """Open a connection that is not shared; its caller closes it.

        Raises:
            ConnectionFailed: It did not come about by the deadline.

        """
        return await Connection.open(self._endpoint, self._limits, deadline)

    async def open_subscription(self, operation: Operation, deadline: Deadline) -> Subscription:
        """Start a subscription on the shared connection.

        Raises:
            ConnectionFailed: There is no connection to start it on.

        """
        connection = await self.connection(deadline)
        return await connection.subscribe(operation.written, deadline)

    async def aclose(self) -> None:
        """Close every socket and end every task; the next use connects again."""
        async with contextlib.AsyncExitStack() as each:
            for managed in self._managed:
                each.push_async_callback(managed.aclose)

    def _roomiest(self) -> ManagedConnection:
        """Return the first connection with room; when all open ones are busy, open another for what comes next."""
        open_now = [managed for managed in self._managed if managed.connected]
        for managed in open_now:
            if managed.in_flight < _CROWDED:
                return managed
        if open_now and len(open_now) < len(self._managed):
            next(managed for managed in self._managed if not managed.connected).open_ahead()
        return min(open_now, key=lambda managed: managed.in_flight, default=self._managed[0])


class ManagedConnection:
    """Keeps one connection.

    Args:
        endpoint: Where to connect and with what credential.
        limits: What a connection waits for and holds.

    Attributes:
        times_connected: How often it was opened.
        handshake_seconds: How long the handshake took when it was last opened; None before the first time.

    """

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._connection: Connection | None = None
        self._opening = SharedAttempt(self._open, "websocket connect", closed=_closed)
        self._idle_watch = SharedAttempt(self._close_when_idle, "websocket idle watch", closed=_closed)
        self._last_used = 0.0
        self._failed_at: float | None = None
        self.times_connected = 0
        self.handshake_seconds: float | None = None

    @property
    def connected(self) -> bool:
        """Whether an operation could be written at once."""
        return self._connection is not None and self._connection.usable

    @property
    def opened_at(self) -> float | None:
        """When the present connection was opened, on the event loop's clock; None while there is none."""
        return self._connection.opened_at if self._connection is not None and self._connection.usable else None

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live on the present connection."""
        return self._connection is not None and self._connection.subscribed

    @property
    def in_flight(self) -> int:
        """How many operations wait for their answers."""
        return 0 if self._connection is None else self._connection.in_flight

    def ready(self) -> Connection | None:
        """Return the connection if it can be used at once."""
        self._last_used = asyncio.get_running_loop().time()
        return self._connection if self._connection is not None and self._connection.usable else None

    async def connection(self, deadline: Deadline) -> Connection:
        """Return the open connection; all who ask while it is being opened share the attempt.

        Raises:
            ConnectionFailed: It did not come about by the deadline.

        """
        if (ready := self.ready()) is not None:
            return ready
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._opening.result()
        except TimeoutError:
            raise ConnectionFailed("not connected in time", Cause.SLOW) from None

    def open_ahead(self) -> None:
        """Begin to open the connection for those to come, unless that has just failed."""
        failed_lately = (
            self._failed_at is not None and asyncio.get_running_loop().time() - self._failed_at < _TRY_AGAIN_SECONDS
        )
        if self.ready() is None and not failed_lately:
            self._opening.begin()

    async def probe(self, deadline: Deadline) -> Evidence:
        """Ask a harmless question that shows whether this server executes operations on a socket.

        An older server closes the whole socket (flash-server.md 2), so this uses a connection of its own when
        subscriptions live on the shared one.
        """
        shared = not self.subscribed
        try:
            opening = self.connection(deadline) if shared else Connection.open(self._endpoint, self._limits, deadline)
            connection = await opening
        except NotReady as failure:
            return failure.evidence
        if shared:
            return await connection.execute(PROBE(), deadline)
        try:
            return await connection.execute(PROBE(), deadline)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline.at):  # cuts the goodbye short, not what it cleans up
                    await connection.aclose()

    async def aclose(self) -> None:
        """Close the socket and end every task; the next use connects again."""
        try:
            await self._opening.aclose()
            await self._idle_watch.aclose()
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.aclose()

    async def _open(self) -> Connection:
        _log.info("WebSocket not connected, connecting")
        stale, self._connection = self._connection, None
        if stale is not None:
            await stale.aclose()
        deadline = Deadline.after(self._limits.connect_timeout)
        try:
            connection = await Connection.open(self._endpoint, self._limits, deadline)
        except ConnectionFailed:
            self._failed_at = asyncio.get_running_loop().time()
            raise
        self._failed_at = None
        self._connection = connection
        self.handshake_seconds = asyncio.get_running_loop().time() - connection.opened_at
        self.times_connected += 1
        _log.debug("WebSocket connected", times=self.times_connected)
        self._idle_watch.begin()
        return connection

    async def _close_when_idle(self) -> None:
        clock = asyncio.get_running_loop().time
        while (connection := self._connection) is not None:
            if connection.busy:
                self._last_used = clock()
            left = self._last_used + self._limits.idle_timeout - clock()
            if left <= 0:
                self._connection = None
                await connection.aclose()
                _log.debug("WebSocket idle, closed")
            else:
                await asyncio.sleep(left)


def _closed() -> ConnectionFailed:
    return ConnectionFailed("the transport was closed")
