"""One WebSocket connection from handshake to close: many operations in flight, each knowing its own fate.

What gql's own transport gets wrong is the reason this exists (gql.md B2, B4, B7): an operation is registered *before*
its frame is written, so no answer can be missed; each knows whether its frame was written when the socket went; and
nothing that the server sends leaves anybody waiting for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as SocketState

from flash_driver.log import get_logger
from flash_driver.outcome import (
    Answer,
    Cause,
    Closed,
    ErrorFrame,
    Evidence,
    Garbage,
    NotWritten,
    TimedOut,
    describe,
)
from flash_driver.transports.handshake import ConnectionFailed, Endpoint, Limits, shake_hands
from flash_driver.transports.protocol import (
    Acknowledged,
    Completed,
    Failed,
    GraphQLTransportWS,
    Next,
    Ping,
    ProtocolViolation,
)
from flash_driver.transports.subscription import COMPLETED_BY_SERVER, Subscription, SubscriptionEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from websockets.asyncio.client import ClientConnection

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

# Close codes that the websockets library sends about what it received (RFC 6455 7.4.1).
_COMPLAINTS: Final = {
    1002: "something that is no WebSocket frame",
    1007: "a text that is not UTF-8",
    1009: "a message larger than the limit",
}


class _Call:
    """An operation that is due exactly one answer."""

    __slots__ = ("_late", "answer")

    def __init__(self, late: Callable[[Evidence], None] | None) -> None:
        self.answer: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        self._late = late

    @property
    def answered(self) -> bool:
        """Whether the answer lies ready for its caller."""
        return self.answer.done() and not self.answer.cancelled()

    @property
    def awaited_late(self) -> bool:
        """Whether the answer is of use to somebody after its caller is gone."""
        return self._late is not None

    def settle(self, evidence: Evidence) -> None:
        """Give the answer to the caller, or to `late` if the caller is gone."""
        if not self.answer.done():
            self.answer.set_result(evidence)
        else:
            self.settle_late(evidence)

    def settle_late(self, evidence: Evidence) -> None:
        """Give the answer to `late`; what goes wrong there must not take the reader of the socket down."""
        if self._late is None:
            return
        try:
            self._late(evidence)
        except Exception as error:  # noqa: BLE001 - somebody else's code, called by the task that everybody depends on
            _log.error("a late answer could not be taken in", error=type(error).__name__)


class Connection:
    """An acknowledged graphql-transport-ws connection; made by `Connection.open`."""

    def __init__(self, socket: ClientConnection, protocol: GraphQLTransportWS, limits: Limits) -> None:
        self._socket = socket
        self._protocol = protocol
        self._limits = limits
        self._calls: dict[str, _Call] = {}
        self._late: dict[str, _Call] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._slots = asyncio.Semaphore(limits.max_in_flight)
        self._ended = False
        self._doubt: asyncio.Task[None] | None = None
        self._reader = asyncio.create_task(self._read(), name="flash-driver websocket reader")

    @classmethod
    async def open(cls, endpoint: Endpoint, limits: Limits, deadline: Deadline) -> Connection:
        """Connect, say `connection_init`, wait for the acknowledgement.

        Raises:
            ConnectionFailed: At any step, with the reason.

        """
        try:
            async with asyncio.timeout_at(deadline.at):
                socket = await shake_hands(endpoint, limits)
        except TimeoutError:
            raise ConnectionFailed("no handshake in time", Cause.SLOW) from None
        protocol = GraphQLTransportWS()
        try:
            async with asyncio.timeout_at(deadline.at):
                await _await_acknowledgement(socket, protocol, endpoint)
        except BaseException as error:
            socket.transport.abort()
            if (failure := _why_not_acknowledged(error)) is not None:
                raise failure from None
            raise
        return cls(socket, protocol, limits)

    @property
    def usable(self) -> bool:
        """Whether an operation may be written now."""
        socket = self._socket
        return not self._ended and socket.state is SocketState.OPEN and not socket.transport.is_closing()

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live on this connection."""
        return bool(self._subscriptions)

    @property
    def busy(self) -> bool:
        """Whether anything is in flight or subscribed."""
        return bool(self._subscriptions or self._calls)

    # --- operations -------------------------------------------------------------------------------------------------

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
            return NotWritten("too many operations in flight" if self.usable else "the socket closed meanwhile")
        try:
            # From this check to the end of the synchronous part of `send` nothing else runs, so "not usable" here means
            # that no byte was written, and any failure after it means that some may have been.
            if deadline.passed:
                return NotWritten("no time was left to write the request")
            if not self.usable:
                return NotWritten("the socket closed before the request was written")
            operation_id, message = self._protocol.subscribe(payload)
            call = self._calls[operation_id] = _Call(late)
            return await self._await_answer(operation_id, message, call, deadline)
        finally:
            self._slots.release()

    async def _await_answer(self, operation_id: str, message: str, call: _Call, deadline: Deadline) -> Evidence:
        try:
            async with asyncio.timeout_at(deadline.at):
                with contextlib.suppress(ConnectionClosed):  # the reader tells what became of it
                    await self._socket.send(message)
                return await call.answer
        except TimeoutError:
            if call.answered:
                return call.answer.result()
            self._suspect()
            return TimedOut()
        except asyncio.CancelledError:
            if call.answered:
                call.settle_late(call.answer.result())
            raise
        finally:
            call.answer.cancel()
            self._abandon(operation_id)

    def _abandon(self, operation_id: str) -> None:
        """Stop waiting for an answer, but remember for a while who would want it late."""
        call = self._calls.pop(operation_id, None)
        if call is None or not call.awaited_late:
            return
        self._late[operation_id] = call
        if len(self._late) > self._limits.max_late:
            del self._late[next(iter(self._late))]

    async def _slot(self, deadline: Deadline) -> bool:
        if not self._slots.locked():
            return await self._slots.acquire()
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._slots.acquire()
        except TimeoutError:
            return False

    # --- subscriptions ----------------------------------------------------------------------------------------------

    async def subscribe(self, payload: Mapping[str, object], deadline: Deadline) -> Subscription:
        """Start a GraphQL subscription.

        Raises:
            ConnectionFailed: The socket is gone or jammed; nothing is subscribed.

        """
        if not self.usable:
            raise ConnectionFailed("the socket closed before the subscription was written")
        operation_id, message = self._protocol.subscribe(payload)
        subscription = Subscription(operation_id, self._limits.max_queued_events, self.unsubscribe)
        self._subscriptions[operation_id] = subscription
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._socket.send(message)
        except BaseException as error:
            await self.unsubscribe(subscription)
            if isinstance(error, TimeoutError):
                raise ConnectionFailed("the subscription could not be written in time", Cause.SLOW) from None
            if isinstance(error, ConnectionClosed):
                raise ConnectionFailed("the socket closed while the subscription was written") from None
            raise
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Tell the server that nobody reads this subscription any more."""
        if self._subscriptions.pop(subscription.operation_id, None) is not None and self.usable:
            await self._say(self._protocol.complete(subscription.operation_id))

    async def _say(self, text: str) -> None:
        """Write without waiting for a slow peer: when this returns, the text is in the socket's buffer."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(0):  # strikes only where `send` waits, which is after it has written
                await self._socket.send(text)

    # --- the end ----------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the socket and end every task; whatever is in flight learns that it was dropped."""
        try:
            if self.usable:
                await self._socket.close()
        finally:
            self._socket.transport.abort()
            if self._doubt is not None:
                self._doubt.cancel()
            await asyncio.gather(*filter(None, (self._reader, self._doubt)), return_exceptions=True)

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

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Hand every message to whom it belongs until the socket is gone, then tell everybody who still waits."""
        why: Evidence = Closed(None)
        violated = False
        try:
            while True:
                await self._take(await self._socket.recv())
        except ConnectionClosed as error:
            why = _why_closed(error)
        except ProtocolViolation as error:
            violated = True
            why = Garbage(f"the server sent {error}")
            _log.warning("websocket protocol violated by the server", what=str(error))
        finally:
            self._end_all(why)
        if violated:
            # Nobody waits for this goodbye: it may take as long as the close timeout.
            await self._socket.close(4400, "protocol violation")

    async def _take(self, text: str | bytes) -> None:
        event = self._protocol.receive(text)
        match event:
            case Next(operation_id, data, errors):
                if subscription := self._subscriptions.get(operation_id):
                    subscription.deliver(event)
                    if subscription.ended:
                        await self.unsubscribe(subscription)
                else:
                    self._settle(operation_id, Answer(data, errors))
            case Failed(operation_id, errors):
                self._over(operation_id, f"the server refused it: {describe(errors)[0]}", ErrorFrame(errors))
            case Completed(operation_id):
                words = "the operation was completed without an answer"
                self._over(operation_id, COMPLETED_BY_SERVER, Garbage(words))
            case Ping(answer):
                await self._say(answer)
            case _:
                pass

    def _over(self, operation_id: str, why: str, evidence: Evidence) -> None:
        if subscription := self._subscriptions.pop(operation_id, None):
            subscription.end(why)
        else:
            self._settle(operation_id, evidence)

    def _settle(self, operation_id: str, evidence: Evidence) -> None:
        """Give an answer to whom it is due; one that nobody knows of belongs to an operation given up long ago."""
        call = self._calls.pop(operation_id, None) or self._late.pop(operation_id, None)
        if call is not None:
            call.settle(evidence)

    def _end_all(self, why: Evidence) -> None:
        self._ended = True
        self._late.clear()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.answer.done():
                call.answer.set_result(why)
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.end(_in_words(why))


async def _await_acknowledgement(socket: ClientConnection, protocol: GraphQLTransportWS, endpoint: Endpoint) -> None:
    await socket.send(protocol.init(endpoint.init_payload))
    while not isinstance(event := protocol.receive(await socket.recv()), Acknowledged):
        if isinstance(event, Ping):
            await socket.send(event.answer)


def _why_not_acknowledged(error: BaseException) -> ConnectionFailed | None:
    if isinstance(error, TimeoutError):
        return ConnectionFailed("no connection_ack in time", Cause.SLOW)
    if isinstance(error, ProtocolViolation):
        return ConnectionFailed(f"the server sent {error} before connection_ack")
    if not isinstance(error, ConnectionClosed):
        return None
    if error.rcvd is None:
        return ConnectionFailed("the connection was lost before connection_ack")
    cause = Cause.CREDENTIAL if error.rcvd.code in (4401, 4403) else Cause.UNREACHABLE
    return ConnectionFailed(f"the server closed with code {error.rcvd.code} before connection_ack", cause)


def _why_closed(error: ConnectionClosed) -> Evidence:
    ours = error.sent is not None and not error.rcvd_then_sent
    if ours and error.sent is not None and error.sent.code in _COMPLAINTS:
        return Garbage(f"the server sent {_COMPLAINTS[error.sent.code]}")
    return Closed(None if error.rcvd is None else error.rcvd.code)


def _in_words(why: Evidence) -> str:
    match why:
        case Garbage(words):
            return words
        case Closed(code) if code is not None:
            return f"closed with code {code}"
        case _:
            return "the socket dropped"
