"""One connection, kept: opened when first needed, again after a loss, and closed when nobody used it for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import SharedAttempt
from flash_driver.flash_api.outcomes import Cause
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import ConnectionFailed

if TYPE_CHECKING:
    from flash_driver.transports.websocket.handshake import Endpoint, Limits

__all__ = ["ManagedConnection"]

_TRY_AGAIN_SECONDS: Final = 30.0
"""How long after a failure a connection that others can do without is tried again."""

_log: Final = get_logger(transport="websocket")


class ManagedConnection:
    """Keeps one connection.

    Args:
        endpoint: Where to connect and with what credential.
        limits: What a connection waits for and holds.

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
