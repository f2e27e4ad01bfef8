"""A TCP proxy on loopback that breaks connections in every way a network does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import urlsplit

from tests.support.serving import serving_streams

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Accept", "FaultProxy"]

Accept = Literal["normal", "refuse", "ignore"]

_CHUNK: Final = 4096
_RESET: Final = struct.pack("ii", 1, 0)


class _Link:
    """One connection: the client's side, the server's side, and what becomes of the bytes between them."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.frozen = False
        self.left: int | None = None

    async def run(self, target: int | str) -> None:
        """Carry bytes both ways, to a port or a Unix socket, until one side ends."""
        try:
            if isinstance(target, str):
                self._server = await asyncio.open_unix_connection(target)
            else:
                self._server = await asyncio.open_connection("127.0.0.1", target)
            pumps = [
                asyncio.create_task(self._pump(self._client[0], self._server[1], answers=False)),
                asyncio.create_task(self._pump(self._server[0], self._client[1], answers=True)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """End both sides; with a RST if asked for."""
        for side in filter(None, (self._client, self._server)):
            transport = side[1].transport
            sock = transport.get_extra_info("socket")
            if reset and sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            if reset:
                transport.abort()
            else:
                transport.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                if self._proxy.bytes_per_second:
                    await asyncio.sleep(len(data) / self._proxy.bytes_per_second)
                if self.frozen:
                    # Bytes are swallowed, TCP stays up: neither side can tell.
                    continue
                if answers and self.left is not None:
                    data, self.left = data[: self.left], self.left - len(data)
                writer.write(data)
                await writer.drain()
                if answers and self.left is not None and self.left <= 0:
                    return


class FaultProxy:
    """Stands between a client and a server on loopback.

    Attributes:
        accept: What becomes of new connections: carried, refused with a RST, or accepted and never served.
        delay: Seconds by which each chunk is held up.
        bytes_per_second: How much passes in a second and direction; zero for as much as can.
        accepted: How many connections came.

    """

    def __init__(self, target: str) -> None:
        """Make a proxy to a URL, `unix:///path` for a Unix socket; it listens once entered."""
        self._target = urlsplit(target)
        self._links: set[_Link] = set()
        self._open = AsyncExitStack()
        self._port = 0
        self._held: list[asyncio.Event] | None = None
        self.accept: Accept = "normal"
        self.delay = 0.0
        self.bytes_per_second = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._port = await self._open.enter_async_context(serving_streams(self._serve))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and end every connection."""
        await self._open.aclose()

    @property
    def url(self) -> str:
        """The target's URL with this proxy in its place."""
        return f"{self._target.scheme}://127.0.0.1:{self._port}{self._target.path}"

    @property
    def open_links(self) -> int:
        """How many connections are being carried."""
        return len(self._links)

    def cut(self) -> None:
        """End every connection in good order (FIN)."""
        for link in [*self._links]:
            link.close()

    def reset(self) -> None:
        """End every connection with a RST."""
        for link in [*self._links]:
            link.close(reset=True)

    def freeze(self) -> None:
        """Let every present connection go half-open: TCP stays up, and nothing passes any more, either way."""
        for link in self._links:
            link.frozen = True

    def truncate(self, answer_bytes: int) -> None:
        """Let that many bytes more of the server's pass on each present connection, then end it."""
        for link in self._links:
            link.left = answer_bytes

    def hold(self) -> None:
        """Accept new connections and carry none of them, until `release`."""
        self._held = [] if self._held is None else self._held

    def release(self) -> None:
        """Carry the connections that are held, the last one first."""
        held, self._held = self._held or [], None
        for gate in reversed(held):
            gate.set()

    def heal(self) -> None:
        """Let new connections pass again; those that went half-open stay so, the client has to find out."""
        self.accept, self.delay, self.bytes_per_second = "normal", 0.0, 0
        self.release()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, reader, writer)
        try:
            if self.accept == "refuse":
                link.close(reset=True)
                return
            if self.accept == "ignore":
                link.frozen = True
            if self._held is not None:
                gate = asyncio.Event()
                self._held.append(gate)
                await gate.wait()
            self._links.add(link)
            await link.run(self._target.path if self._target.scheme == "unix" else self._target.port or 80)
        finally:
            self._links.discard(link)
            link.close()
