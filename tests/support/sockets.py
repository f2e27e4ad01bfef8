"""Real sockets for tests of transports: scripted WebSocket servers, and a relay that is slow or goes deaf."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from flash_driver.common import exact_json as wire
from flash_driver.common.deadline import Deadline
from flash_driver.transports.websocket.handshake import Endpoint, Limits
from flash_driver.transports.websocket.protocol import SUBPROTOCOL
from flash_driver.transports.websocket.socket import Socket
from tests.support.serving import serving_streams, serving_websockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from websockets.asyncio.server import ServerConnection

    from flash_driver.flash_api.outcomes import Evidence

__all__ = [
    "CERTIFICATE",
    "Peer",
    "Relay",
    "Served",
    "accepting",
    "free_port",
    "relayed",
    "served",
    "shake_hands",
    "swallowing",
    "untrusted_tls",
    "within",
]

CERTIFICATE: Final = Path(__file__).with_name("tls") / "localhost.pem"
"""A certificate for localhost and 127.0.0.1, with its key; nobody trusts it unless told to."""

PATIENCE: Final = 20.0
"""Seconds after which a test that waits for something has failed."""


def within(seconds: float = PATIENCE) -> asyncio.Timeout:
    """Bound a wait that a working driver ends much earlier."""
    return asyncio.timeout(seconds)


class Peer:
    """The server's end of one connection, for a script to speak through."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.init: dict[str, Any] | None = None
        self.acknowledged = asyncio.Event()

    async def hear(self) -> Any:
        """Wait for the client's next message."""
        return wire.decode(await self.socket.recv())

    async def acknowledge(self) -> None:
        """Wait for `connection_init` and acknowledge it."""
        self.init = await self.hear()
        await self.say(type="connection_ack")
        self.acknowledged.set()

    async def operation(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next `subscribe`; returns its id and payload."""
        message = await self.hear()
        assert message["type"] == "subscribe", message
        return message["id"], message["payload"]

    async def say(self, **message: object) -> None:
        """Send one message."""
        await self.socket.send(wire.encode(message))

    async def answer(self, operation_id: str, **data: object) -> None:
        """Answer an operation: its result, and that it is over."""
        await self.say(id=operation_id, type="next", payload={"data": data})
        await self.say(id=operation_id, type="complete")

    async def serve_for_ever(self) -> None:
        """Acknowledge, and answer every operation with its own name until the client is gone."""
        await self.acknowledge()
        while True:
            operation_id, payload = await self.operation()
            await self.answer(operation_id, name=payload["operationName"])

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        raw = self.socket.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.transport.abort()


class Served:
    """A scripted server that is running."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.peers: list[Peer] = []
        self.failures: list[BaseException] = []
        self._came = asyncio.Condition()

    def endpoint(self, **more: Any) -> Endpoint:
        """Return where to connect, with a token."""
        bearer = {"Authorization": "Bearer ory_st_test"}
        return Endpoint(**{"url": self.url, "headers": bearer, "init_payload": bearer, **more})

    async def peer(self, number: int = 0) -> Peer:
        """Wait for a connection, counted from zero."""
        async with within(), self._came:
            await self._came.wait_for(lambda: len(self.peers) > number)
        return self.peers[number]

    async def acknowledged(self, number: int = 0) -> Peer:
        """Wait for a connection whose script has acknowledged it, and leaves the rest to the test."""
        peer = await self.peer(number)
        async with within():
            await peer.acknowledged.wait()
        return peer

    async def add(self, peer: Peer) -> None:
        """Note a connection."""
        async with self._came:
            self.peers.append(peer)
            self._came.notify_all()


@asynccontextmanager
async def served(
    script: Callable[[Peer], Awaitable[None]], *, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[Served]:
    """Run a WebSocket server on loopback that plays the script to each connection.

    A script that the client's disconnection interrupts has done its part; any other exception fails the test.
    """
    serving = Served("")

    async def handle(connection: ServerConnection) -> None:
        peer = Peer(connection)
        await serving.add(peer)
        try:
            await script(peer)
        except ConnectionClosed:
            pass
        except BaseException as error:
            serving.failures.append(error)
            raise
        await connection.wait_closed()

    settings = {
        "subprotocols": [Subprotocol(SUBPROTOCOL)],
        "compression": None,
        "ping_interval": None,
        **options,
    }
    async with serving_websockets(handle, host, **{"close_timeout": 0.5, **settings}) as port:
        serving.url = f"{'wss' if 'ssl' in options else 'ws'}://{host}:{port}/graphql"
        try:
            yield serving
        finally:
            for peer in serving.peers:
                peer.socket.transport.abort()
    assert serving.failures == []


class Relay:
    """Passes bytes on between a client and a server; slowly, or not at all."""

    def __init__(self, port: int, chunk: int) -> None:
        self.port = port
        self.chunk = chunk
        self.frozen = False
        self.writers: set[asyncio.StreamWriter] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        there_reader, there = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers |= {writer, there}
        with contextlib.suppress(ConnectionError), contextlib.closing(there):
            await asyncio.gather(self._pump(reader, there, self.chunk), self._pump(there_reader, writer, 2**16))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunk: int) -> None:
        while data := await reader.read(chunk):
            if self.frozen:
                continue
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    def end(self) -> None:
        """Drop every connection."""
        for writer in self.writers:
            writer.transport.abort()


@asynccontextmanager
async def relayed(url: str, *, chunk: int = 2**16) -> AsyncIterator[tuple[str, Relay]]:
    """Stand between a client and a server; `chunk` bytes per turn towards the server. Yields the URL to use instead."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    relay = Relay(int(authority.rpartition(":")[2]), chunk)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with serving_streams(relay.carry, listening, limit=2**12) as near:
        yield f"{scheme}://127.0.0.1:{near}/{path}", relay


@asynccontextmanager
async def accepting(
    reply: bytes = b"", *, hold: bool = True, accepted: asyncio.Event | None = None
) -> AsyncIterator[int]:
    """Accept TCP connections, send these bytes, and then hold the line or hang up. Yields the port.

    Args:
        reply: What is sent as soon as something was read.
        hold: Whether the connection stays open afterwards.
        accepted: Set with each connection.

    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if accepted is not None:
            accepted.set()
        with contextlib.suppress(ConnectionError):
            if reply:
                await reader.read(2**16)
                writer.write(reply)
                await writer.drain()
            if hold:
                await reader.read(-1)

    async with serving_streams(accept) as port:
        yield port


@contextmanager
def swallowing(host: str, port: int = 0) -> Iterator[tuple[str, int]]:
    """Listen without ever answering, and with a queue that is full: further connections hang. Gives the address."""
    with contextlib.ExitStack() as held:
        full = held.enter_context(socket.create_server((host, port), backlog=0))
        for _ in range(8):
            filler = held.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class _Nobody:
    """Reads nothing of a socket."""

    def text_received(self, text: str | bytes) -> None:
        """Leave it."""

    def socket_ended(self, why: Evidence) -> None:
        """Let it go."""


async def shake_hands(endpoint: Endpoint, limits: Limits | None = None) -> Socket:
    """Open a socket that nobody reads."""
    opened = Socket(endpoint, limits or Limits(), _Nobody())
    await opened.open(Deadline.after(PATIENCE))
    return opened


def untrusted_tls() -> ssl.SSLContext:
    """Return a server's TLS settings with a certificate that nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context
