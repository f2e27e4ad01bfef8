"""One WebSocket connection from handshake to close: many operations in flight, each knowing its own fate.

What gql's own transport gets wrong is the reason this exists (gql.md B2, B7): an operation is registered *before* its
frame is written, so no answer can be missed, and each knows whether its frame was written when the socket went.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
from websockets.protocol import State as SocketState
from websockets.typing import Subprotocol

from flash_driver.log import get_logger
from flash_driver.outcome import (
    Answer,
    Cause,
    Closed,
    ErrorFrame,
    Evidence,
    Garbage,
    NotConnected,
    NotWritten,
    TimedOut,
)
from flash_driver.transports.network import why_not_connected
from flash_driver.transports.protocol import (
    SUBPROTOCOL,
    Acknowledged,
    Completed,
    Failed,
    GraphQLTransportWS,
    Next,
    Ping,
    ProtocolViolation,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from flash_driver.deadline import Deadline

__all__ = [
    "COMPLETED_BY_SERVER",
    "Connection",
    "ConnectionFailed",
    "Endpoint",
    "Limits",
    "Subscription",
    "SubscriptionEnded",
]

_log: Final = get_logger(transport="websocket")

COMPLETED_BY_SERVER: Final = "the server completed it"
"""Why a subscription ended that the server ended in good order."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a connection waits for and holds; times in seconds."""

    ping_interval: float = 10.0
    ping_timeout: float = 10.0
    suspicion_timeout: float = 2.0
    close_timeout: float = 1.0
    max_message_bytes: int = 4 * 2**20
    max_in_flight: int = 512
    max_queued_events: int = 1024


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where to connect and what to show there; has no repr because it holds the token."""

    url: str
    headers: Mapping[str, str]
    init_payload: Mapping[str, object]
    tls: ssl.SSLContext | None = None


class ConnectionFailed(Exception):
    """No usable connection came about, so nothing was written."""

    def __init__(self, why: str, cause: Cause = Cause.UNREACHABLE) -> None:
        super().__init__(why)
        self.why = why
        self.cause = cause

    @property
    def evidence(self) -> NotConnected:
        """What a transport reports of it."""
        return NotConnected(self.why, self.cause)


class SubscriptionEnded(Exception):
    """No more events will come; says why."""


class Subscription:
    """The events of one GraphQL subscription, in order."""

    def __init__(self, operation_id: str, connection: Connection, max_queued: int) -> None:
        self.operation_id = operation_id
        self._connection = connection
        self._events: asyncio.Queue[Next | None] = asyncio.Queue()
        self._max_queued = max_queued
        self._ended: str | None = None

    def deliver(self, event: Next) -> None:
        """Take an event from the connection; a reader that falls too far behind loses the subscription, not events."""
        if self._ended is None and self._events.qsize() >= self._max_queued:
            self.end("its reader fell too far behind")
            return
        if self._ended is None:
            self._events.put_nowait(event)

    def end(self, why: str) -> None:
        """Tell the reader, behind the events already queued, that no more come."""
        if self._ended is None:
            self._ended = why
            self._events.put_nowait(None)

    async def receive(self) -> Next:
        """Wait for the next event.

        Raises:
            SubscriptionEnded: No more will come; also if asked again.

        """
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise SubscriptionEnded(self._ended)
        return event

    async def aclose(self) -> None:
        """End the subscription on the server."""
        self.end("it was closed")
        await self._connection.unsubscribe(self)


class _Call:
    """An operation that is due exactly one answer."""

    __slots__ = ("answer", "answered", "late")

    def __init__(self, answer: asyncio.Future[Evidence], late: Callable[[Evidence], None] | None) -> None:
        self.answer = answer
        self.late = late
        self.answered = False

    def settle(self, evidence: Evidence) -> None:
        if self.answered:
            return
        self.answered = True
        if not self.answer.done():
            self.answer.set_result(evidence)
        elif self.late is not None:
            self.late(evidence)


class _NoRedirects(connect):
    """A handshake that goes where it was sent or nowhere: a redirect must not carry the token elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Connection:
    """An acknowledged graphql-transport-ws connection; made by `Connection.open`."""

    def __init__(self, socket: ClientConnection, protocol: GraphQLTransportWS, limits: Limits) -> None:
        self._socket = socket
        self._protocol = protocol
        self._limits = limits
        self._calls: dict[str, _Call] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._slots = asyncio.Semaphore(limits.max_in_flight)
        self._violation: str | None = None
        self._doubt: asyncio.Task[None] | None = None
        self.close_code: int | None = None
        self._reader = asyncio.create_task(self._read(), name="flash-driver websocket reader")

    @classmethod
    async def open(cls, endpoint: Endpoint, limits: Limits, deadline: Deadline) -> Connection:
        """Connect, say `connection_init`, wait for the acknowledgement.

        Raises:
            ConnectionFailed: At any step, with the reason.

        """
        socket: ClientConnection | None = None
        try:
            async with asyncio.timeout_at(deadline.at):
                socket = await _handshake(endpoint, limits)
                protocol = GraphQLTransportWS()
                await socket.send(protocol.init(endpoint.init_payload))
                while not isinstance(event := protocol.receive(await socket.recv()), Acknowledged):
                    if isinstance(event, Ping):
                        await socket.send(event.answer)
        except BaseException as error:
            if socket is not None:
                socket.transport.abort()
            if isinstance(error, TimeoutError):
                step = "no handshake" if socket is None else "no connection_ack"
                raise ConnectionFailed(f"{step} in time", Cause.SLOW) from None
            if isinstance(error, ConnectionClosed):
                code = error.rcvd.code if error.rcvd else None
                cause = Cause.CREDENTIAL if code in (4401, 4403) else Cause.UNREACHABLE
                said = "the connection was lost" if code is None else f"the server closed with code {code}"
                raise ConnectionFailed(f"{said} before connection_ack", cause) from None
            if isinstance(error, ProtocolViolation):
                raise ConnectionFailed(f"the server sent {error} before connection_ack") from None
            raise
        return cls(socket, protocol, limits)

    @property
    def usable(self) -> bool:
        """Whether an operation may be written now."""
        return self._socket.state is SocketState.OPEN and self._violation is None

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live on this connection."""
        return bool(self._subscriptions)

    @property
    def busy(self) -> bool:
        """Whether anything is in flight or subscribed."""
        return bool(self._subscriptions) or any(not call.answer.done() for call in self._calls.values())

    async def execute(
        self, payload: Mapping[str, object], deadline: Deadline, late: Callable[[Evidence], None] | None = None
    ) -> Evidence:
        """Send a query or mutation as a `subscribe` message and wait for its one answer.

        Args:
            payload: query, operationName and variables.
            deadline: When to stop waiting.
            late: Called with the answer if it comes after the caller stopped waiting.

        """
        if not await self._slot(deadline):
            return NotWritten("too many operations in flight")
        call: _Call | None = None
        operation_id = ""
        try:
            # From this check to the end of the synchronous part of `send` nothing else runs, so "not usable" here means
            # that no byte was written, and any failure after it means that some may have been.
            if not self.usable:
                return NotWritten("the socket closed before the request was written")
            operation_id, message = self._protocol.subscribe(payload)
            call = _Call(asyncio.get_running_loop().create_future(), late)
            self._calls[operation_id] = call
            try:
                async with asyncio.timeout_at(deadline.at):
                    with contextlib.suppress(ConnectionClosed):
                        await self._socket.send(message)
                    return await call.answer
            except TimeoutError:
                self._suspect()
                return TimedOut()
        finally:
            self._slots.release()
            if call is not None:
                call.answer.cancel()
                if call.late is None or call.answered:
                    self._calls.pop(operation_id, None)

    async def subscribe(self, payload: Mapping[str, object], deadline: Deadline) -> Subscription:
        """Start a GraphQL subscription.

        Raises:
            ConnectionFailed: The socket is gone; nothing was subscribed.

        """
        if not self.usable:
            raise ConnectionFailed("the socket closed before the subscription was written")
        operation_id, message = self._protocol.subscribe(payload)
        subscription = Subscription(operation_id, self, self._limits.max_queued_events)
        self._subscriptions[operation_id] = subscription
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._socket.send(message)
        except (TimeoutError, ConnectionClosed):
            self._subscriptions.pop(operation_id, None)
            raise ConnectionFailed("the socket closed while the subscription was written") from None
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Tell the server that nobody reads this subscription any more."""
        if self._subscriptions.pop(subscription.operation_id, None) is not None and self.usable:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(self._limits.close_timeout):
                    await self._socket.send(self._protocol.complete(subscription.operation_id))

    async def closed(self) -> None:
        """Wait until the connection is gone, however that comes."""
        await asyncio.shield(self._reader)

    async def aclose(self) -> None:
        """Close the socket and end the reader; whatever is in flight learns that it was dropped."""
        try:
            await self._socket.close()
        finally:
            self._socket.transport.abort()
            if self._doubt is not None:
                self._doubt.cancel()
            await asyncio.gather(*filter(None, (self._reader, self._doubt)), return_exceptions=True)

    async def _slot(self, deadline: Deadline) -> bool:
        if not self._slots.locked():
            return await self._slots.acquire()
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._slots.acquire()
        except TimeoutError:
            return False

    def _suspect(self) -> None:
        """An answer is overdue: ask the peer for a sign of life now rather than at the next ping."""
        if self._doubt is None or self._doubt.done():
            self._doubt = asyncio.create_task(self._prove_alive(), name="flash-driver websocket sign of life")

    async def _prove_alive(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            try:
                async with asyncio.timeout(self._limits.suspicion_timeout):
                    await (await self._socket.ping())
            except TimeoutError:
                _log.warning("websocket peer gave no sign of life, dropping the socket")
                self._socket.transport.abort()

    async def _read(self) -> None:
        """Hand every message to whom it belongs until the socket is gone, then tell everybody who still waits."""
        why: Evidence = Closed(None)
        try:
            while True:
                await self._take(await self._socket.recv())
        except ConnectionClosed as error:
            self.close_code = error.rcvd.code if error.rcvd else None
            why = Closed(self.close_code)
        except ProtocolViolation as error:
            self._violation = str(error)
            why = Garbage(f"the server sent {error}")
            _log.warning("websocket protocol violated by the server", what=str(error))
            await self._socket.close(4400, "protocol violation")
        finally:
            self._end_all(why)

    async def _take(self, text: str | bytes) -> None:
        event = self._protocol.receive(text)
        match event:
            case Next(operation_id, data, errors):
                if subscription := self._subscriptions.get(operation_id):
                    subscription.deliver(event)
                else:
                    self._settle(operation_id, Answer(data, errors))
            case Failed(operation_id, errors):
                words = errors[0].get("message", "")
                self._over(operation_id, f"the server refused it: {words}", ErrorFrame(errors))
            case Completed(operation_id):
                words = "the operation was completed without an answer"
                self._over(operation_id, COMPLETED_BY_SERVER, Garbage(words))
            case Ping(answer):
                await self._socket.send(answer)
            case _:
                pass

    def _over(self, operation_id: str, why: str, evidence: Evidence) -> None:
        if subscription := self._subscriptions.pop(operation_id, None):
            subscription.end(why)
        else:
            self._settle(operation_id, evidence)

    def _settle(self, operation_id: str, evidence: Evidence) -> None:
        if call := self._calls.pop(operation_id, None):
            call.settle(evidence)

    def _end_all(self, why: Evidence) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.late = None
            call.settle(why)
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.end("the socket dropped" if self.close_code is None else f"closed with code {self.close_code}")


async def _handshake(endpoint: Endpoint, limits: Limits) -> ClientConnection:
    options: dict[str, Any] = {} if endpoint.tls is None else {"ssl": endpoint.tls}
    try:
        return await _NoRedirects(
            endpoint.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=dict(endpoint.headers),
            user_agent_header=None,
            compression=None,
            proxy=None,
            open_timeout=None,
            ping_interval=limits.ping_interval,
            ping_timeout=limits.ping_timeout,
            close_timeout=limits.close_timeout,
            max_size=limits.max_message_bytes,
            logger=_quiet_logger(),
            **options,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        cause = Cause.CREDENTIAL if status in (401, 403) else Cause.UNREACHABLE
        raise ConnectionFailed(f"the handshake was answered with HTTP {status}", cause) from None
    except InvalidHandshake as error:
        raise ConnectionFailed(f"the handshake failed ({type(error).__name__})") from None
    except TimeoutError:
        raise
    except (OSError, WebSocketException) as error:
        raise ConnectionFailed(why_not_connected(error)) from None


def _quiet_logger() -> logging.Logger:
    """Return a logger for the websockets library that can't be turned up: at DEBUG it would print the token."""
    logger = logging.Logger("flash_driver.websockets", level=logging.WARNING)  # noqa: LOG001 - outside the tree on purpose
    logger.parent = logging.getLogger("flash_driver")
    return logger
