"""Connections of one process, bounded in number: in all, and by address.

A connection takes memory and a file before it has sent a byte, so they are counted as they are made, not when a request
has come. One too many gets a ready answer to whatever it asks (429 when its address has too many, 503 when the process
has), and is closed. Trusted proxies bring connections of many clients: for them only the whole bound holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from lightning_host.client_address import is_trusted, key_of, read_address
from lightning_host.server.app import SECURITY_HEADERS
from lightning_host.web.concurrency_limit import RETRY_SECONDS, TooMany

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_host.client_address import Network
    from lightning_host.web.concurrency_limit import ConcurrencyLimit

__all__ = ["Gate"]

_PATIENCE_SECONDS: Final = 2.0
"""How long one that is turned away may take to ask, so that it gets to read why."""

_MOST_WAITING: Final = 100
"""How many may be waiting for that at once; others are cut off without a word."""

_REASONS: Final = {TooMany.OF_CLIENT: "Too Many Requests", TooMany.IN_ALL: "Service Unavailable"}
_WORDS: Final = {
    TooMany.OF_CLIENT: "too many connections from this address; try again soon\n",
    TooMany.IN_ALL: "too many connections; try again soon\n",
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
        self._refusals: set[_Refusal] = set()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self._open)

    def close(self) -> None:
        """Cut off those that are being turned away."""
        for refusal in self._refusals:
            refusal.abort()

    def _open(self, transport: asyncio.Transport) -> tuple[asyncio.Protocol, Callable[[], None]]:
        """Return who takes a connection on, and what to call once it is closed."""
        peer = transport.get_extra_info("peername")
        address = read_address(str(peer[0])) if peer else None
        client = None if address is None or is_trusted(address, self._proxies) else key_of(address)
        refused = self._limit.enter(client)
        if refused is None:
            return self._server(), lambda: self._limit.leave(client)
        refusal = _Refusal(refused)
        if len(self._refusals) >= _MOST_WAITING:
            transport.abort()
        self._refusals.add(refusal)
        return refusal, lambda: self._refusals.discard(refusal)


class _Connection(asyncio.Protocol):
    """Hands everything on to the protocol that takes the connection, which is decided once it is made."""

    def __init__(self, open_: Callable[[asyncio.Transport], tuple[asyncio.Protocol, Callable[[], None]]]) -> None:
        self._open = open_
        self._inner = asyncio.Protocol()
        self._closed: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream"  # noqa: S101 - says so to the type checker
        self._inner, self._closed = self._open(transport)
        self._inner.connection_made(transport)

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


class _Refusal(asyncio.Protocol):
    """Answers the first thing that comes with a refusal, and closes."""

    def __init__(self, why: TooMany) -> None:
        self._why = why
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream"  # noqa: S101 - says so to the type checker
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, transport.abort)

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        del data
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_answer(self._why))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._timer is not None:
            self._timer.cancel()


def _answer(why: TooMany) -> bytes:
    words = _WORDS[why]
    lines = (
        f"HTTP/1.1 {why.value} {_REASONS[why]}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(words)}",
        f"Retry-After: {RETRY_SECONDS}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in SECURITY_HEADERS.items()),
        "",
        words,
    )
    return "\r\n".join(lines).encode()
