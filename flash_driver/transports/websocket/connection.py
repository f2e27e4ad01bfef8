"""One WebSocket connection from handshake to close: many operations in flight, each knowing its own fate.

What gql's own transport gets wrong is the reason this exists (architecture.md): an operation is registered *before*
its frame is written, so no answer can be missed; each knows whether its frame was written when the socket went; and
nothing that the server sends leaves anybody waiting for ever.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from flash_driver.common.log import get_logger
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.outcomes import Answer, Cause, Closed, ErrorFrame, Evidence, Garbage, NotWritten, TimedOut
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.transports.websocket.in_flight import EXPIRED, InFlight
from flash_driver.transports.websocket.protocol import (
    Acknowledged,
    Completed,
    Failed,
    GraphQLTransportWS,
    Next,
    Ping,
    ProtocolViolation,
)
from flash_driver.transports.websocket.subscription import COMPLETED_BY_SERVER, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Operation
    from flash_driver.transports.base import Late
    from flash_driver.transports.websocket.handshake import Endpoint, Limits
    from flash_driver.transports.websocket.protocol import Event

__all__ = ["Connection"]

_log: Final = get_logger(transport="websocket")


class Connection:
    """A graphql-transport-ws connection; made by `Connection.open`.

    Attributes:
        opened_at: When it was begun, on the event loop's clock.

    """

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self._limits = limits
        from flash_driver.transports.websocket.socket import Socket  # noqa: PLC0415 - loads the websockets library

        self._socket = Socket(endpoint, limits, self)
        self._protocol = GraphQLTransportWS()
        self._acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_flight = InFlight(limits)
        self._subscriptions: dict[str, Subscription] = {}
        self._silence: asyncio.TimerHandle | None = None
        self._ended = False
        self.opened_at = asyncio.get_running_loop().time()

    @classmethod
    async def open(cls, endpoint: Endpoint, limits: Limits, deadline: Deadline) -> Connection:
        """Connect, say `connection_init`, wait for the acknowledgement.

        Raises:
            ConnectionFailed: At any step, with the reason.

        """
        connection = await cls.connect(endpoint, limits, deadline)
        await connection.introduce(endpoint, deadline)
        return connection

    @classmethod
    async def connect(cls, endpoint: Endpoint, limits: Limits, deadline: Deadline) -> Connection:
        """Open the socket alone; `introduce` comes next.

        Raises:
            ConnectionFailed: It did not come about.

        """
        connection = cls(endpoint, limits)
        await connection._socket.open(deadline)
        return connection

    async def introduce(self, endpoint: Endpoint, deadline: Deadline) -> None:
        """Say `connection_init` and wait for the acknowledgement; without one the socket is dropped.

        It takes the endpoint, which has no repr, since a host may print the variables of a frame that waits.

        Raises:
            ConnectionFailed: The server closed, said something else, or nothing in time.

        """
        try:
            async with asyncio.timeout_at(deadline.at):
                if self._socket.usable:
                    self._socket.send(self._protocol.init(endpoint.init_payload))
                await self._acknowledged
        except BaseException as error:
            self._socket.abort()
            if isinstance(error, TimeoutError):
                raise ConnectionFailed("no connection_ack in time", Cause.SLOW) from None
            if isinstance(error, ConnectionFailed):
                raise error from None
            raise

    @property
    def subprotocol(self) -> str | None:
        """What the server agreed to speak."""
        return self._socket.subprotocol

    @property
    def usable(self) -> bool:
        """Whether an operation may be written now."""
        return not self._ended and self._socket.usable

    @property
    def subscribed(self) -> bool:
        """Whether subscriptions live on this connection."""
        return bool(self._subscriptions)

    @property
    def in_flight(self) -> int:
        """How many operations wait for their answers."""
        return len(self._in_flight.calls)

    @property
    def busy(self) -> bool:
        """Whether anything is in flight or subscribed."""
        return bool(self._subscriptions or self._in_flight.calls)

    # --- operations -------------------------------------------------------------------------------------------------

    async def execute(self, operation: Operation, deadline: Deadline, late: Late | None = None) -> Evidence:
        """Send an operation as a `subscribe` message and wait for its one answer.

        While it is due, the peer has to show now and then that it lives: a server that is slow is waited for, a socket
        that is dead is dropped.
        """
        return await self.request(operation.written, deadline, late, operation.about_to_write)

    async def request(
        self,
        payload: Mapping[str, object] | bytes,
        deadline: Deadline,
        late: Late | None = None,
        about_to_write: Callable[[], None] | None = None,
    ) -> Evidence:
        """Do the same for what is spelled out already.

        Args:
            payload: query, operationName and variables, or the same as JSON.
            deadline: When to stop waiting.
            late: Called with the answer if it comes after the caller stopped waiting.
            about_to_write: Called right before it is written.

        """
        slots, call = self._in_flight.slots, None
        if not slots.enter_at_once() and not await slots.enter(deadline):
            return NotWritten("too many operations in flight" if self.usable else "the socket closed meanwhile")
        try:
            obstacle = await self._obstacle(deadline)
            # Nothing else runs from here until the text is written: what is not written by then never will be.
            if obstacle is not None:
                return NotWritten(obstacle)
            if about_to_write is not None:
                about_to_write()
            operation_id, message = self._protocol.subscribe(payload)
            crowded = bool(self._in_flight.calls)
            call = self._in_flight.begin(operation_id, late, deadline)
            self._socket.send(message, hold=crowded)
            if self._silence is None:
                self._watch_silence()
            evidence = await call.answer
        except asyncio.CancelledError:
            if call is not None:
                call.give_up()
            raise
        finally:
            if call is not None:
                self._in_flight.end(operation_id, call, deadline)
            slots.leave()
        if evidence is not EXPIRED:
            return evidence
        # An answer is overdue: a sign of life is due now rather than at the next ping.
        self._socket.prove_alive(self._limits.suspicion_timeout)
        return TimedOut(alive=self._socket.heard_at > call.began)

    async def _obstacle(self, deadline: Deadline) -> str | None:
        """Return why nothing can be written now, None when it can; waits for a peer that reads slowly."""
        if self._socket.resumed is not None and not await self._unjammed(deadline):
            return "the server takes no more for now"
        if not self._socket.usable:
            return "the socket closed before the request was written"
        return "no time was left to write the request" if deadline.passed else None

    def _watch_silence(self) -> None:
        """See to it that the peer is asked for a sign of life while an answer takes long; one timer for all."""
        self._silence = asyncio.get_running_loop().call_later(self._limits.suspicion_after, self._suspect)

    def _suspect(self) -> None:
        self._silence = None
        oldest = next(iter(self._in_flight.calls.values()), None)
        if oldest is None or not self.usable:
            return
        if asyncio.get_running_loop().time() - oldest.began >= self._limits.suspicion_after:
            self._socket.prove_alive(self._limits.suspicion_timeout)
        self._watch_silence()

    async def _unjammed(self, deadline: Deadline) -> bool:
        """Wait until the peer reads again; returns whether it did in time, or the socket is gone."""
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._socket.unjammed()
        except TimeoutError:
            return False
        return True

    # --- subscriptions ----------------------------------------------------------------------------------------------

    async def subscribe(self, payload: Mapping[str, object] | bytes, deadline: Deadline) -> Subscription:
        """Start a GraphQL subscription.

        Raises:
            ConnectionFailed: The socket is gone or jammed; nothing is subscribed.

        """
        if not await self._unjammed(deadline):
            raise ConnectionFailed("the subscription could not be written in time", Cause.SLOW)
        if not self.usable:
            raise ConnectionFailed("the socket closed before the subscription was written")
        operation_id, message = self._protocol.subscribe(payload)
        self._socket.send(message)
        subscription = Subscription(operation_id, self._limits.max_queued_events, self.unsubscribe)
        self._subscriptions[operation_id] = subscription
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Tell the server that nobody reads this subscription any more."""
        if self._subscriptions.pop(subscription.operation_id, None) is not None and self.usable:
            self._socket.send(self._protocol.complete(subscription.operation_id))

    # --- the end ----------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the socket; whatever is in flight learns that it was dropped."""
        try:
            await self._socket.close()
        finally:
            self._end_all(Closed(None))

    def socket_ended(self, why: Evidence) -> None:
        """Tell everybody who still waits."""
        self._end_all(why)

    def _end_all(self, why: Evidence) -> None:
        self._ended = True
        if self._silence is not None:
            self._silence.cancel()
        if not self._acknowledged.done():
            self._acknowledged.set_exception(_why_not_acknowledged(why))
            self._acknowledged.exception()  # the caller that opened it may be gone
        self._in_flight.end_all(why)
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.end(_in_words(why))

    # --- reading ----------------------------------------------------------------------------------------------------

    def text_received(self, text: str | bytes) -> None:
        """Hand a message to whom it belongs."""
        if self._ended:
            return
        try:
            self._take(self._protocol.receive(text))
        except ProtocolViolation as error:
            _log.warning("websocket protocol violated by the server", what=str(error))
            self._end_all(Garbage(f"the server sent {error}"))
            self._socket.say_goodbye(4400, "protocol violation")
        except Exception as error:  # noqa: BLE001 - a fault of ours: nobody may be left waiting, nothing more be written
            _log.error("reading a message broke", error=type(error).__name__)
            self._end_all(Closed(None))
            self._socket.say_goodbye()

    def _take(self, event: Event) -> None:
        match event:
            case Next(operation_id, data, errors):
                if subscription := self._subscriptions.get(operation_id):
                    if not subscription.deliver(event):
                        self.unsubscribe(subscription)
                else:
                    self._in_flight.settle(operation_id, Answer(data, errors))
            case Completed(operation_id):
                words = "the operation was completed without an answer"
                self._over(operation_id, COMPLETED_BY_SERVER, Garbage(words))
            case Failed(operation_id, errors):
                self._over(operation_id, f"the server refused it: {describe(errors)[0]}", ErrorFrame(errors))
            case Ping(answer):
                if self._socket.usable:
                    self._socket.send(answer, hold=True)
            case Acknowledged():
                if not self._acknowledged.done():
                    self._acknowledged.set_result(None)
            case _:
                pass

    def _over(self, operation_id: str, why: str, evidence: Evidence) -> None:
        if subscription := self._subscriptions.pop(operation_id, None):
            subscription.end(why)
        else:
            self._in_flight.settle(operation_id, evidence)


def _why_not_acknowledged(why: Evidence) -> ConnectionFailed:
    match why:
        case Closed(code) if code is not None:
            cause = Cause.CREDENTIAL if code in (4401, 4403) else Cause.UNREACHABLE
            return ConnectionFailed(f"the server closed with code {code} before connection_ack", cause, code=code)
        case Garbage(words):
            return ConnectionFailed(f"{words} before connection_ack", foreign=True)
        case _:
            return ConnectionFailed("the connection was lost before connection_ack")


def _in_words(why: Evidence) -> str:
    match why:
        case Garbage(words):
            return words
        case Closed(code) if code is not None:
            return f"closed with code {code}"
        case _:
            return "the socket dropped"
