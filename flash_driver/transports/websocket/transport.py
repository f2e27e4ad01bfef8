"""The WebSocket transport: the way that an Ory session token opens.

It is a gql `AsyncTransport` as well, so it serves anybody's `gql.Client`. One socket carries many operations at once; a
host whom that is not enough permits more (`pool-size`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from gql.transport import AsyncTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportProtocolError, TransportQueryError
from graphql import ExecutionResult, GraphQLError

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import PROBE
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.outcomes import Answer, ErrorFrame, Evidence, NotConnected, NotWritten, TimedOut
from flash_driver.transports.websocket.connection import (
    COMPLETED_BY_SERVER,
    Connection,
    ConnectionFailed,
    Endpoint,
    Limits,
    SubscriptionEnded,
)
from flash_driver.transports.websocket.managed_connection import ConnectionTiming, ManagedConnection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from gql import GraphQLRequest

    from flash_driver.flash_api.documents import Operation
    from flash_driver.transports.websocket.connection import Subscription

__all__ = ["WebSocketTransport"]

_CROWDED: Final = 64
"""How many operations in flight on each socket make it worth opening a further one."""


class WebSocketTransport(AsyncTransport):
    """GraphQL over shared WebSockets.

    Args:
        endpoint: Where to connect and with what credential.
        limits: What a connection waits for and holds.
        size: How many sockets there may be; a further one is opened when each has many operations in flight.
        connect_timeout: Seconds for handshake and acknowledgement together.
        execute_timeout: Seconds that gql's `execute` waits for an answer.
        idle_timeout: Seconds without use after which a socket is closed.

    """

    name: Final = "websocket"

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits | None = None,
        *,
        size: int = 1,
        connect_timeout: float = 4.0,
        execute_timeout: float = 10.0,
        idle_timeout: float = 300.0,
    ) -> None:
        self._endpoint = endpoint
        self._limits = limits or Limits()
        self._waits = ConnectionTiming(connect_timeout, idle_timeout)
        self._execute_timeout = execute_timeout
        # Subscriptions live on the first one.
        self._managed = [ManagedConnection(endpoint, self._limits, self._waits)]
        self.widen(size)

    # --- what the driver uses ---------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether an operation could be written at once."""
        return self._managed[0].connected

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live on the present connection."""
        return self._managed[0].subscribed

    @property
    def times_connected(self) -> int:
        """How often the first socket was opened."""
        return self._managed[0].times_connected

    def widen(self, size: int) -> None:
        """Permit so many sockets, if there may be fewer now."""
        while len(self._managed) < size:
            self._managed.append(ManagedConnection(self._endpoint, self._limits, self._waits))

    async def perform(
        self, operation: Operation, deadline: Deadline, late: Callable[[Evidence], None] | None = None
    ) -> Evidence:
        """Send an operation as a `subscribe` message, connecting first if need be.

        Args:
            operation: What to send.
            deadline: When to stop waiting.
            late: Called with an answer that comes after that.

        """
        managed = self._managed[0] if len(self._managed) == 1 else self._roomiest()
        try:
            connection = managed.ready() or await managed.connection(deadline)
        except ConnectionFailed as failure:
            return failure.evidence
        return await connection.execute(operation.written, deadline, late)

    async def probe(self, deadline: Deadline) -> Evidence:
        """Ask a harmless question that shows whether this server executes operations on a socket.

        An older server closes the whole socket (flash-server.md 2), so this uses a connection of its own when
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
        """Return an open connection; all who ask while it is being opened share the attempt.

        Raises:
            ConnectionFailed: It did not come about by the deadline.

        """
        return await self._managed[0].connection(deadline)

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
        """Return the first connection with room; when all open ones are crowded, open another for what comes next."""
        open_now = [managed for managed in self._managed if managed.connected]
        for managed in open_now:
            if managed.in_flight < _CROWDED:
                return managed
        if open_now and len(open_now) < len(self._managed):
            next(managed for managed in self._managed if not managed.connected).open_ahead()
        return min(open_now, key=lambda managed: managed.in_flight, default=self._managed[0])

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
            return await self.connection(Deadline.after(self._waits.connect))
        except ConnectionFailed as failure:
            raise TransportConnectionFailed(failure.why) from None


def _result(data: Mapping[str, Any] | None, errors: Sequence[Mapping[str, Any]]) -> ExecutionResult:
    found = [
        GraphQLError(
            str(error.get("message")), path=error.get("path"), extensions=error.get("extensions"), original_error=None
        )
        for error in errors
    ]
    return ExecutionResult(data=None if data is None else dict(data), errors=found or None)
