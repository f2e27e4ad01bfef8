"""The graphql-transport-ws protocol as a state machine: text in, events out; no socket, no clock, no task.

Source: PROTOCOL.md of the npm package graphql-ws, and flash-server.md 1.2 for what Flash's server makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common import exact_json as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "SUBPROTOCOL",
    "Acknowledged",
    "Completed",
    "Event",
    "Failed",
    "GraphQLTransportWS",
    "Next",
    "Ping",
    "Pong",
    "ProtocolViolation",
]

SUBPROTOCOL: Final = "graphql-transport-ws"


class _State(Enum):
    """How far the conversation has come."""

    OPENED = "opened"
    INITIALISING = "initialising"
    ACKNOWLEDGED = "acknowledged"


class ProtocolViolation(Exception):
    """The peer said something that the protocol does not allow; names what, shows no content."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """`connection_ack`: operations may be sent. Proves nothing about the token (flash-server.md 1.3)."""


@dataclass(frozen=True, slots=True)
class Next:
    """`next`: a result of the operation with this id."""

    id: str
    data: Mapping[str, Any] | None
    errors: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Failed:
    """`error`: the operation with this id is over; nothing more comes for it."""

    id: str
    errors: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Completed:
    """`complete`: the operation with this id is over."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """`ping`: the answer to send at once."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """`pong`: the peer is alive."""


Event = Acknowledged | Next | Failed | Completed | Ping | Pong


class GraphQLTransportWS:
    """One conversation over one socket.

    Methods that speak return the text to send, in UTF-8; `receive` reads one text message and returns what it means.
    """

    __slots__ = ("_last_id", "_state")

    def __init__(self) -> None:
        self._state = _State.OPENED
        self._last_id = 0

    def init(self, payload: Mapping[str, object]) -> bytes:
        """Return `connection_init`; allowed once (a second one is closed with 4429)."""
        if self._state is not _State.OPENED:
            raise RuntimeError("connection_init is sent once per socket")
        self._state = _State.INITIALISING
        return wire.write({"type": "connection_init", "payload": payload})

    def subscribe(self, payload: Mapping[str, object] | bytes) -> tuple[str, bytes]:
        """Return a fresh operation id and the `subscribe` message that starts it: query, mutation or subscription.

        Args:
            payload: query, operationName and variables, or the same as JSON.

        """
        if self._state is not _State.ACKNOWLEDGED:
            raise RuntimeError("subscribe is sent after connection_ack")
        self._last_id += 1
        operation_id = str(self._last_id)
        written = payload if isinstance(payload, bytes) else wire.write(payload)
        return operation_id, b'{"id":"%d","type":"subscribe","payload":%b}' % (self._last_id, written)

    def complete(self, operation_id: str) -> bytes:
        """Return `complete`, which ends a subscription from our side."""
        return wire.write({"id": operation_id, "type": "complete"})

    def receive(self, text: str | bytes) -> Event:
        """Read one message.

        Raises:
            ProtocolViolation: It is not JSON, not a message of the protocol, or comes at the wrong time.

        """
        if isinstance(text, bytes):
            raise ProtocolViolation("a binary message")
        try:
            message = wire.decode(text)
        except wire.MalformedJSON:
            raise ProtocolViolation("a message that is not JSON") from None
        if self._state is _State.ACKNOWLEDGED:
            match message:
                case {"type": "next", "id": str(operation_id), "payload": {"data": dict() | None as data, **rest}}:
                    return Next(operation_id, data, _errors(rest["errors"]) if rest.get("errors") else ())
                case {"type": "complete", "id": str(operation_id)}:
                    return Completed(operation_id)
                case {"type": "error", "id": str(operation_id)}:
                    return Failed(operation_id, _errors(message.get("payload")))
        return self._receive_other(message)

    def _receive_other(self, message: object) -> Event:
        """Read what is rarer than data: what is said of the connection itself, and what is odd."""
        match message:
            case {"type": "ping"}:
                return Ping(b'{"type":"pong"}')
            case {"type": "pong"}:
                return Pong()
            case {"type": "connection_ack"}:
                return self._acknowledge()
            case {"type": "next" | "error" | "complete" as kind} if self._state is not _State.ACKNOWLEDGED:
                raise ProtocolViolation(f"a {kind} message before connection_ack")
            case {"type": "next", "id": str(operation_id), "payload": {"errors": errors, **rest}} if "data" not in rest:
                return Next(operation_id, None, _errors(errors) if errors else ())
            case {"type": "next" | "error" | "complete" as kind}:
                raise ProtocolViolation(f"a {kind} message without an id or a result")
            case _:
                raise ProtocolViolation("a message of no known type")

    def _acknowledge(self) -> Acknowledged:
        if self._state is not _State.INITIALISING:
            raise ProtocolViolation("a connection_ack that was not asked for")
        self._state = _State.ACKNOWLEDGED
        return Acknowledged()


def _errors(payload: object) -> Sequence[Mapping[str, Any]]:
    """Read a list of GraphQL errors; an empty or odd one still means that something failed."""
    rows = payload if isinstance(payload, list) else [payload]
    errors = [row for row in rows if isinstance(row, dict)]
    return errors or [{"message": "an error without a message"}]
