"""The WebSocket transport as gql knows transports, so that it serves any `gql.Client`.

The driver itself needs nothing of this: it loads gql only where a request goes through gql's own client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gql.transport import AsyncTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportProtocolError, TransportQueryError
from graphql import ExecutionResult, GraphQLError

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.outcomes import Answer, ErrorFrame, NotConnected, NotWritten, TimedOut
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.transports.websocket.subscription import COMPLETED_BY_SERVER, SubscriptionEnded
from flash_driver.transports.websocket.transport import SocketTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from gql import GraphQLRequest

    from flash_driver.transports.websocket.connection import Connection
    from flash_driver.transports.websocket.handshake import Endpoint, Limits

__all__ = ["WebSocketTransport"]


class WebSocketTransport(SocketTransport, AsyncTransport):
    """Answers what a `gql.Client` asks of its transport.

    Args:
        endpoint: Where to connect and with what credential.
        limits: What a connection waits for and holds.
        size: How many sockets there may be.
        execute_timeout: Seconds that `execute` waits for an answer.

    """

    def __init__(
        self, endpoint: Endpoint, limits: Limits | None = None, *, size: int = 1, execute_timeout: float = 10.0
    ) -> None:
        super().__init__(endpoint, limits, size=size)
        self._execute_timeout = execute_timeout

    async def connect(self) -> None:
        """Connect now.

        Raises:
            TransportConnectionFailed: No connection came about.

        """
        await self._connection_for_gql()

    async def close(self) -> None:
        """Close the socket."""
        await self.aclose()

    async def execute(self, request: GraphQLRequest) -> ExecutionResult:
        """Execute a query or mutation.

        Raises:
            TransportConnectionFailed: It was not sent, or the connection was lost before an answer came.
            TransportQueryError: The server answered with an `error` message.
            TransportProtocolError: The server answered something that is no result.
            TimeoutError: No answer came in time; it may have been executed.

        """
        connection = await self._connection_for_gql()
        evidence = await connection.request(request.payload, Deadline.after(self._execute_timeout))
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
        """Yield the results of a subscription.

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
            return await self.connection(Deadline.after(self._limits.connect_timeout))
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
