"""Connections of one process, bounded in number: in all, and by address.

A connection takes memory and a file before it has sent a byte, so they are counted as they are made, not when a request
has come. One too many waits a moment for another to end: clients open as many connections as they have requests. Then
it gets a ready answer to whatever it asks (429 when its address has too many, 503 when the process has), and is closed;
or it is closed without one, where its client would read an error as "there is no such payment" (phoenixd/clients.py).
Trusted proxies bring connections of many clients: for them only the whole bound holds.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final, cast

from lightning_host.client_address import is_trusted, key_of, read_address
from lightning_host.phoenixd.clients import begins_such_a_question
from lightning_host.server.app import SECURITY_HEADERS
from lightning_host.web.concurrency_limit import RETRY_SECONDS, TooMany

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_host.client_address import Network
    from lightning_host.web.concurrency_limit import ConcurrencyLimit

__all__ = ["Gate"]

_WAIT_SECONDS: Final = 5.0
"""How long one too many waits for another to end."""

_PATIENCE_SECONDS: Final = 2.0
"""How long one that is turned away may take to ask and to read why."""

_MOST_WAITING: Final = 300
"""How many may be waiting, or being told, at once; others are cut off without a word."""

_REASONS: Final = {TooMany.OF_CLIENT: "Too Many Requests", TooMany.IN_ALL: "Service Unavailable"}
_WORDS: Final = {
    TooMany.OF_CLIENT: "too many connections from this address; try again soon",
    TooMany.IN_ALL: "too many connections; try again soon",
}


class Gate:
    """Makes a protocol for each new connection: what `loop.create_server` wants.

    Args:
        server: Makes the protocol of a connection that is let in.
        limit: The bounds.
        proxies: Addresses for which only the whole bound holds.

    """

    def __init__(
        self, server: Callable[[], asyncio.Protocol], limit: ConcurrencyLimit, proxies: Sequence[Network]
    ) -> None:
        self._server = server
        self._limit = limit
        self._proxies = proxies
        self._waiting: dict[_Waiting, None] = {}  # in the order they came

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self._open)

    def close(self) -> None:
        """Cut off those that wait or are being turned away."""
        for waiting in self._waiting:
            waiting.abort()

    def _open(self, connection: _Connection) -> None:
        """Let a connection in, or have it wait."""
        peer = connection.transport.get_extra_info("peername")
        address = read_address(str(peer[0])) if peer else None
        client = None if address is None or is_trusted(address, self._proxies) else key_of(address)
        refused = self._limit.enter(client)
        if refused is None:
            self._let_in(connection, client)
            return
        if len(self._waiting) >= _MOST_WAITING:
            connection.transport.abort()
            return
        waiting = _Waiting(connection, client, refused)
        self._waiting[waiting] = None
        connection.hand_to(waiting, lambda: self._waiting.pop(waiting, None))

    def _let_in(self, connection: _Connection, client: str | None, asked: bytes = b"") -> None:
        connection.hand_to(self._server(), lambda: self._leave(client))
        if asked:
            connection.data_received(asked)

    def _leave(self, client: str | None) -> None:
        """Count a connection out, and let in whom there is room for now."""
        self._limit.leave(client)
        for waiting in [*self._waiting]:
            if waiting.turned_away:
                continue
            refused = self._limit.enter(waiting.client)
            if refused is TooMany.IN_ALL:
                return
            if refused is None:
                del self._waiting[waiting]
                waiting.end()
                self._let_in(waiting.connection, waiting.client, waiting.asked)


class _Connection(asyncio.Protocol):
    """Hands everything on to what takes the connection on, which is decided once it is made."""

    transport: asyncio.Transport

    def __init__(self, open_: Callable[[_Connection], None]) -> None:
        self._open = open_
        self._inner = asyncio.Protocol()
        self._closed: Callable[[], object] | None = None

    def hand_to(self, inner: asyncio.Protocol, closed: Callable[[], object]) -> None:
        """Let a protocol take the connection on; `closed` is called once it has ended, unless it is handed on."""
        self._inner, self._closed = inner, closed
        inner.connection_made(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # a stream; uvloop's is none by inheritance
        self._open(self)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        if self._closed is not None:
            self._closed()
        self._inner.connection_lost(error)


class _Waiting(asyncio.Protocol):
    """Reads nothing while it waits; then answers the first thing that comes with a refusal.

    Args:
        connection: What waits.
        client: Where it comes from, None for a trusted proxy.
        why: Why it has to wait.

    Attributes:
        asked: What it has sent already: uvloop begins to read after `connection_made`, even if that has paused reading.
        turned_away: Whether it waits no longer to be let in.

    """

    def __init__(self, connection: _Connection, client: str | None, why: TooMany) -> None:
        self.connection = connection
        self.client = client
        self.asked = b""
        self.turned_away = False
        self._why = why
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        del transport
        self.connection.transport.pause_reading()
        self._timer = asyncio.get_running_loop().call_later(_WAIT_SECONDS, self._turn_away)

    def end(self) -> None:
        """Wait no longer: the connection is let in."""
        if self._timer is not None:
            self._timer.cancel()
        self.connection.transport.resume_reading()

    def abort(self) -> None:
        """Close without a word."""
        self.connection.transport.abort()

    def _turn_away(self) -> None:
        self.turned_away = True
        transport = self.connection.transport
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, transport.abort)
        if self.asked:
            self._answer(self.asked)
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.turned_away:
            self._answer(data)
        else:
            self.asked += data
            self.connection.transport.pause_reading()

    def _answer(self, asked: bytes) -> None:
        transport = self.connection.transport
        if not self._answered and begins_such_a_question(asked):
            transport.abort()
        elif not self._answered and not transport.is_closing():
            # What else comes is read and left: to close on it would reset the connection, and the answer with it.
            self._answered = True
            transport.write(_answer_of(self._why))
            transport.write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._timer is not None:
            self._timer.cancel()


def _answer_of(why: TooMany) -> bytes:
    body = json.dumps({"code": "too-many-connections", "message": _WORDS[why]})
    lines = (
        f"HTTP/1.1 {why.value} {_REASONS[why]}",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Retry-After: {RETRY_SECONDS}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in SECURITY_HEADERS.items()),
        "",
        body,
    )
    return "\r\n".join(lines).encode()
