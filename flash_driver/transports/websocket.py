"""The WebSocket transport: the way that an Ory session token opens.

It is a gql `AsyncTransport` as well, so it serves anybody's `gql.Client`. One object keeps one connection: it connects
when first needed, again after a loss, and closes when nobody used it for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from gql.transport import AsyncTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportProtocolError, TransportQueryError
from graphql import ExecutionResult, GraphQLError

from flash_driver.deadline import Deadline
from flash_driver.log import get_logger
from flash_driver.operations import PROBE
from flash_driver.outcome import Answer, Cause, ErrorFrame, Evidence, NotConnected, NotWritten, TimedOut, describe
from flash_driver.transports.connection import (
    COMPLETED_BY_SERVER,
    Connection,
    ConnectionFailed,
    Endpoint,
    Limits,
    SubscriptionEnded,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from gql import GraphQLRequest

    from flash_driver.operations import Operation
    from flash_driver.transports.connection import Subscription

__all__ = ["WebSocketTransport"]

_log: Final = get_logger(transport="websocket")


class WebSocketTransport(AsyncTransport):
    """GraphQL over one shared WebSocket.

    Args:
        endpoint: Where to connect and with what credential.
        limits: What a connection waits for and holds.
        connect_timeout: Seconds for handshake and acknowledgement together.
        execute_timeout: Seconds that gql's `execute` waits for an answer.
        idle_timeout: Seconds without use after which the socket is closed.

    """

    name: Final = "websocket"

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits | None = None,
        *,
        connect_timeout: float = 4.0,
        execute_timeout: float = 10.0,
        idle_timeout: float = 300.0,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits or Limits()
        self._connect_timeout = connect_timeout
        self._execute_timeout = execute_timeout
        self._idle_timeout = idle_timeout
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._idle_watch: asyncio.Task[None] | None = None
        self._last_used = 0.0
        self.times_connected = 0

    # --- what the driver uses ---------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether an operation could be written at once."""
        return self._connection is not None and self._connection.usable

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live on the present connection."""
        return self.connected and self._connection is not None and self._connection.subscribed

    async def perform(
        self, operation: Operation, deadline: Deadline, late: Callable[[Evidence], None] | None = None
    ) -> Evidence:
        """Send an operation as a `subscribe` message, connecting first if need be.

        Args:
            operation: What to send.
            deadline: When to stop waiting.
            late: Called with an answer that comes after that.

        """
        try:
            connection = self._ready() or await self.connection(deadline)
        except ConnectionFailed as failure:
            return failure.evidence
        return await connection.execute(operation.written, deadline, late)

    async def probe(self, deadline: Deadline) -> Evidence:
        """Ask a harmless question that shows whether this server executes operations on a socket.

        An older server answers by closing the whole socket (flash-api.md 2), so this uses a connection of its own when
        subscriptions live on the shared one.
        """
        if not self.subscribed:
            return await self.perform(PROBE(), deadline)
        try:
            connection = await Connection.open(self._endpoint, self._limits, deadline)
        except ConnectionFailed as failure:
            return failure.evidence
        try:
            return await connection.execute(PROBE().written, deadline)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline.at):  # cuts the goodbye short, not what it cleans up
                    await connection.aclose()

    async def connection(self, deadline: Deadline) -> Connection:
        """Return the open connection; all who ask while it is being opened share the attempt.

        Raises:
            ConnectionFailed: It did not come about by the deadline.

        """
        if (ready := self._ready()) is not None:
            return ready
        if self._opening is None or self._opening.done():
            _log.info("WebSocket not connected, connecting")
            self._opening = asyncio.create_task(self._open(), name="flash-driver websocket connect")
            # Whoever asked may have gone by the time it fails; asyncio complains of errors that nobody looked at.
            self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        opening = self._opening
        try:
            async with asyncio.timeout_at(deadline.at):
                return await asyncio.shield(opening)
        except TimeoutError:
            raise ConnectionFailed("not connected in time", Cause.SLOW) from None
        except asyncio.CancelledError:
            if opening.cancelled() and not _being_cancelled():
                raise ConnectionFailed("the transport was closed") from None
            raise

    def _ready(self) -> Connection | None:
        """Return the connection if it can be used at once."""
        self._last_used = asyncio.get_running_loop().time()
        return self._connection if self._connection is not None and self._connection.usable else None

    async def open_subscription(self, operation: Operation, deadline: Deadline) -> Subscription:
        """Start a subscription on the shared connection.

        Raises:
            ConnectionFailed: There is no connection to start it on.

        """
        connection = await self.connection(deadline)
        return await connection.subscribe(operation.written, deadline)

    async def aclose(self) -> None:
        """Close the socket and end every task; the next use connects again."""
        tasks = [task for task in (self._opening, self._idle_watch) if task is not None]
        self._opening = self._idle_watch = None
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.aclose()

    async def _open(self) -> Connection:
        stale, self._connection = self._connection, None
        if stale is not None:
            await stale.aclose()
        connection = await Connection.open(self._endpoint, self._limits, Deadline.after(self._connect_timeout))
        self._connection = connection
        self.times_connected += 1
        _log.debug("WebSocket connected", times=self.times_connected)
        if self._idle_watch is None or self._idle_watch.done():
            self._idle_watch = asyncio.create_task(self._close_when_idle(), name="flash-driver websocket idle watch")
        return connection

    async def _close_when_idle(self) -> None:
        clock = asyncio.get_running_loop().time
        while (connection := self._connection) is not None:
            if connection.busy:
                self._last_used = clock()
            left = self._last_used + self._idle_timeout - clock()
            if left <= 0:
                self._connection = None
                await connection.aclose()
                _log.debug("WebSocket idle, closed")
            else:
                await asyncio.sleep(left)

    # --- what gql uses ----------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect now (gql's interface).

        Raises:
            TransportConnectionFailed: No connection came about.

        """
        await self._connection_for_gql()

    async def close(self) -> None:
        """Close the socket (gql's interface)."""
        await self.aclose()

    async def execute(self, request: GraphQLRequest) -> ExecutionResult:
        """Execute a query or mutation (gql's interface).

        Raises:
            TransportConnectionFailed: It was not sent, or the connection was lost before an answer came.
            TransportQueryError: The server answered with an `error` message.
            TransportProtocolError: The server answered something that is no result.
            TimeoutError: No answer came in time; it may have been executed.

        """
        connection = await self._connection_for_gql()
        evidence = await connection.execute(request.payload, Deadline.after(self._execute_timeout))
        match evidence:
            case Answer(data, errors):
                return _result(data, errors)
            case ErrorFrame(errors):
                raise TransportQueryError(describe(errors)[0], errors=list(errors))
            case TimedOut():
                raise TimeoutError("no answer in time")
            case NotWritten(why) | NotConnected(why):
                raise TransportConnectionFailed(why)
            case _ if connection.usable:
                raise TransportProtocolError("the operation was completed without an answer")
            case _:
                raise TransportConnectionFailed("the connection was lost before an answer came")

    async def subscribe(self, request: GraphQLRequest) -> AsyncGenerator[ExecutionResult, None]:
        """Yield the results of a subscription (gql's interface).

        Raises:
            TransportConnectionFailed: The connection was lost, or the server ended the subscription.

        """
        connection = await self._connection_for_gql()
        try:
            subscription = await connection.subscribe(request.payload, Deadline.after(self._execute_timeout))
        except ConnectionFailed as failure:
            raise TransportConnectionFailed(failure.why) from None
        try:
            while True:
                event = await subscription.receive()
                yield _result(event.data, event.errors)
        except SubscriptionEnded as ended:
            if str(ended) != COMPLETED_BY_SERVER:
                raise TransportConnectionFailed(str(ended)) from None
        finally:
            await subscription.aclose()

    async def _connection_for_gql(self) -> Connection:
        try:
            return await self.connection(Deadline.after(self._connect_timeout))
        except ConnectionFailed as failure:
            raise TransportConnectionFailed(failure.why) from None


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _result(data: Mapping[str, Any] | None, errors: Sequence[Mapping[str, Any]]) -> ExecutionResult:
    found = [
        GraphQLError(
            str(error.get("message")), path=error.get("path"), extensions=error.get("extensions"), original_error=None
        )
        for error in errors
    ]
    return ExecutionResult(data=None if data is None else dict(data), errors=found or None)
