"""A socket against servers that speak WebSocket byte by byte: what is written, what is read, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.outcomes import Closed, Evidence, Garbage
from flash_driver.transports.network import make_tls_context
from flash_driver.transports.websocket.handshake import Limits
from flash_driver.transports.websocket.socket import Socket
from tests.support.sockets import CERTIFICATE, Peer, relayed, served, untrusted_tls, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Reader:
    """Notes what a socket tells."""

    def __init__(self) -> None:
        self.heard: list[str | bytes] = []
        self.ends: list[Evidence] = []
        self._changed = asyncio.Event()

    def text_received(self, text: str | bytes) -> None:
        """Note a message."""
        self.heard.append(text)
        self._changed.set()

    def socket_ended(self, why: Evidence) -> None:
        """Note the end."""
        self.ends.append(why)
        self._changed.set()

    async def messages(self, count: int) -> list[str | bytes]:
        """Wait for that many messages."""
        async with within():
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.heard

    async def end(self) -> Evidence:
        """Wait for the end."""
        async with within():
            while not self.ends:
                self._changed.clear()
                await self._changed.wait()
        return self.ends[0]


@asynccontextmanager
async def speaking(limits: Limits | None = None, **options: Any) -> AsyncIterator[tuple[Socket, Reader, Peer]]:
    """Open a socket to a server that the test itself speaks for."""

    async def wait(peer: Peer) -> None:
        await peer.socket.wait_closed()

    async with served(wait, **options) as server:
        reader = Reader()
        endpoint = server.endpoint(**({"tls": ssl.create_default_context(cafile=CERTIFICATE)} if options else {}))
        socket = Socket(endpoint, limits or Limits(), reader)
        await socket.open(Deadline.after(20))
        try:
            yield socket, reader, await server.peer()
        finally:
            await socket.close()


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """Return the bytes of a server's frame."""
    return Frame(opcode, data, fin).serialize(mask=False)


async def test_texts_both_ways() -> None:
    """A text arrives as it was written, on both sides, whatever letters it has."""
    async with speaking() as (socket, reader, peer):
        socket.send("grüße ⚡".encode())
        assert await peer.socket.recv() == "grüße ⚡"
        await peer.socket.send("zurück ⚡")
        assert await reader.messages(1) == ["zurück ⚡"]


async def test_fragments_are_put_together() -> None:
    """A message in pieces is one message, also when a ping comes between and a letter is cut in two."""
    whole = "ein Blitz: ⚡".encode()
    async with speaking() as (_, reader, peer):
        pieces = [
            frame(Opcode.TEXT, whole[:-2], fin=False),
            frame(Opcode.PING, b"alive?"),
            frame(Opcode.CONT, whole[-2:-1], fin=False),
            frame(Opcode.CONT, whole[-1:]),
            frame(Opcode.TEXT, b"next"),
            frame(Opcode.BINARY, b"\xff", fin=False),
            frame(Opcode.CONT, b"\xfe"),
        ]
        for piece in pieces:
            peer.socket.transport.write(piece)
            await asyncio.sleep(0)
        assert await reader.messages(3) == ["ein Blitz: ⚡", "next", b"\xff\xfe"]


async def test_bytes_in_any_portions() -> None:
    """A message that comes byte by byte is read like any other."""
    async with speaking() as (_, reader, peer):
        for number in b"".join(frame(Opcode.TEXT, text) for text in (b"one", b"two")):
            peer.socket.transport.write(bytes([number]))
            await asyncio.sleep(0)
        assert await reader.messages(2) == ["one", "two"]


async def test_texts_held_for_one_write() -> None:
    """Texts that are held go out together at the end of the turn, in order, and none waits for a later one."""
    async with speaking() as (socket, _, peer):
        written: list[int] = []
        assert socket._transport is not None
        real = socket._transport.write

        def count(data: bytes) -> None:
            written.append(len(data))
            real(data)

        socket._transport.write = count  # type: ignore[method-assign,assignment]  # looks on, changes nothing
        for number in range(10):
            socket.send(str(number).encode(), hold=True)
        assert written == []
        assert [await peer.socket.recv() for _ in range(10)] == [str(number) for number in range(10)]
        assert len(written) == 1
        socket.send(b"held", hold=True)
        socket.send(b"at once")
        assert len(written) == 2
        assert [await peer.socket.recv() for _ in range(2)] == ["held", "at once"]


async def test_held_texts_precede_the_goodbye() -> None:
    """What was written before the socket is closed is sent before the goodbye."""
    async with speaking() as (socket, _, peer):
        socket.send(b"last words", hold=True)
        closing = asyncio.create_task(socket.close())
        assert await peer.socket.recv() == "last words"
        await closing
        assert peer.socket.close_code == 1000


async def test_slow_peer_jams_the_socket_until_it_reads() -> None:
    """A caller that can wait is told to, and told when to go on; nothing written is lost."""
    async with speaking() as (socket, _, peer):
        peer.socket.transport.pause_reading()
        for _ in range(300):
            socket.send(b"x" * 60_000)
        assert socket.resumed is not None
        peer.socket.transport.resume_reading()
        waiting = asyncio.create_task(socket.unjammed())
        async with within():
            for _ in range(300):
                assert len(await peer.socket.recv()) == 60_000
            await waiting
        assert socket.resumed is None


async def test_loss_ends_the_waiting_for_a_slow_peer() -> None:
    """A jam ends with the socket."""
    async with speaking() as (socket, reader, peer):
        peer.socket.transport.pause_reading()
        for _ in range(300):
            socket.send(b"x" * 60_000)
        waiting = asyncio.create_task(socket.unjammed())
        await asyncio.sleep(0)
        peer.reset()
        async with within():
            await waiting
        assert await reader.end() == Closed(None)


async def test_peer_that_answers_pings_keeps_its_socket() -> None:
    """Signs of life that come in time change nothing, however often they are asked for."""
    async with speaking(Limits(ping_interval=0.01, ping_timeout=20)) as (socket, reader, peer):
        socket.prove_alive(20)
        await asyncio.sleep(0.1)
        assert socket.usable
        socket.send(b"still here")
        assert await peer.socket.recv() == "still here"
        assert reader.ends == []


async def test_silent_peer_is_dropped() -> None:
    """Of two questions for a sign of life the more impatient one counts."""
    async with served(Peer.hear) as server, relayed(server.url) as (url, relay):
        reader = Reader()
        socket = Socket(server.endpoint(url=url), Limits(), reader)
        await socket.open(Deadline.after(20))
        relay.frozen = True
        socket.prove_alive(20)
        socket.prove_alive(0.02)
        assert await reader.end() == Closed(None)
        socket.prove_alive(0.02)
        await socket.close()


@pytest.mark.parametrize("tls", [{}, {"ssl": untrusted_tls()}], ids=["plain", "TLS"])
async def test_closed_by_the_peer(tls: dict[str, Any]) -> None:
    """The reader learns the code at once, and the goodbye is returned; also over TLS, which can't be half closed."""
    async with speaking(**tls) as (socket, reader, peer):
        closing = asyncio.create_task(peer.socket.close(4500, "c0ffee"))
        assert await reader.end() == Closed(4500)
        assert not socket.usable
        await closing
        assert peer.socket.close_code == 4500


async def test_nothing_is_heard_after_the_end() -> None:
    """What comes in the same bytes as a goodbye, but behind it, reaches nobody."""
    async with speaking() as (_, reader, peer):
        goodbye = frame(Opcode.CLOSE, Close(1001, "").serialize())
        peer.socket.transport.write(frame(Opcode.TEXT, b"before") + goodbye + frame(Opcode.TEXT, b"after"))
        assert await reader.end() == Closed(1001)
        assert reader.heard == ["before"]


async def test_answers_still_come_while_we_say_goodbye() -> None:
    """Our goodbye ends what we say, not what we hear: the peer may still finish its sentence."""
    async with speaking() as (socket, reader, peer):
        peer.socket.transport.pause_reading()
        socket.say_goodbye()
        await peer.socket.send("one more thing")
        assert await reader.messages(1) == ["one more thing"]
        assert reader.ends == []
        peer.socket.transport.resume_reading()
        assert await reader.end() == Closed(1000)


@pytest.mark.parametrize("tls", [{}, {"ssl": untrusted_tls()}], ids=["plain", "TLS"])
async def test_peer_that_asks_for_answers_and_does_not_read_them(tls: dict[str, Any]) -> None:
    """Pings without end do not fill the memory, though the peer claims to be alive: it loses the socket."""
    flood = frame(Opcode.PING, b"x" * 125) * 1000 + frame(Opcode.PONG, b"")
    async with speaking(Limits(max_unread_bytes=2**20, max_idle_frames_per_read=4096), **tls) as (socket, reader, peer):
        assert socket._transport is not None
        for transport, buffer in ((peer.socket.transport, SO_RCVBUF), (socket._transport, SO_SNDBUF)):
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, buffer, 2**16)  # fills sooner than what grows
        peer.socket.transport.pause_reading()
        async with within():
            while not reader.ends:
                peer.socket.transport.write(flood)
                await asyncio.sleep(0)
                assert socket._transport is not None
                assert socket._transport.get_write_buffer_size() < 2**22
        assert reader.ends == [Closed(None)]


async def test_peer_that_is_gone_while_something_waits_for_it() -> None:
    """A peer that says nothing more and reads nothing more keeps nobody waiting for longer than the close timeout."""
    async with speaking(Limits(close_timeout=0.05)) as (socket, reader, peer):
        peer.socket.transport.pause_reading()
        while socket.resumed is None:
            socket.send(b"x" * 60_000)
            await asyncio.sleep(0)
        socket.send(b"x" * 6_000_000)
        peer.socket.transport.write_eof()
        assert await reader.end() == Closed(None)


async def test_fragments_take_no_more_memory_than_their_text() -> None:
    """A message in any number of pieces takes its own size, whether the pieces hold one byte or nothing."""
    async with speaking(Limits(max_idle_frames_per_read=4096)) as (socket, reader, peer):
        empty = frame(Opcode.CONT, b"", fin=False) * 1000
        last = frame(Opcode.PING, b"") + frame(Opcode.TEXT, b"", fin=False)
        peer.socket.transport.write(frame(Opcode.TEXT, b"o", fin=False) + empty + frame(Opcode.CONT, b"ne") + last)
        assert await reader.messages(1) == ["one"]
        peer.socket.transport.write(empty + frame(Opcode.CONT, b"xy", fin=False) * 500)
        await (await peer.socket.ping())
        assert socket._fragments == b"xy" * 500


PING = b'{"type":"ping"}'


@pytest.mark.parametrize(
    "unit",
    [
        frame(Opcode.PING, b""),
        frame(Opcode.PONG, b""),
        frame(Opcode.PING, b"x" * 125),
        frame(Opcode.TEXT, b"", fin=False) + frame(Opcode.CONT, b"", fin=False) * 50 + frame(Opcode.CONT, PING),
        frame(Opcode.TEXT, b"", fin=False) + frame(Opcode.CONT, b"") + frame(Opcode.PING, b""),
        frame(Opcode.TEXT, b""),
        frame(Opcode.TEXT, b" ", fin=False) + frame(Opcode.CONT, b" ", fin=False) * 1000 + frame(Opcode.CONT, PING),
        frame(Opcode.TEXT, PING),
    ],
    ids=["pings", "pongs", "large pings", "empty pieces", "mixed", "empty texts", "pieces of a byte", "short texts"],
)
async def test_work_per_read_is_bounded(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a read full of tiny frames the driver parses some thousands, counted, and then drops the connection."""
    parsed = heard = 0
    parse, hear = ClientProtocol.recv_frame, Reader.text_received

    def count_frame(self: ClientProtocol, each: Frame) -> None:
        nonlocal parsed
        parsed += 1
        parse(self, each)

    def count_text(self: Reader, text: str | bytes) -> None:
        nonlocal heard
        heard += 1
        hear(self, text)

    monkeypatch.setattr(ClientProtocol, "recv_frame", count_frame)
    monkeypatch.setattr(Reader, "text_received", count_text)
    async with speaking() as (socket, reader, _):
        read = unit * (2**18 // len(unit))
        socket.data_received(read)  # at once, as the event loop does with what lies ready
        assert reader.ends == [Garbage("the server sent more frames at once than any answer needs")]
        assert not socket.usable
    assert parsed <= 4096 + 2048
    assert heard <= 4096


async def test_a_server_that_floods_is_dropped() -> None:
    """The same over a real connection: whatever the portions are in which it comes, it comes to an end."""
    async with speaking() as (socket, reader, peer):
        while not reader.ends:
            peer.socket.transport.write(frame(Opcode.PING, b"") * 2**17)
            await asyncio.sleep(0)
        assert await reader.end() == Garbage("the server sent more frames at once than any answer needs")
        assert not socket.usable


async def test_as_many_answers_as_are_in_flight_may_come_at_once() -> None:
    """The answers to all operations that may wait, each with its `complete` and a ping between, fit into one read."""
    most = Limits().max_in_flight
    answer = frame(Opcode.TEXT, b'{"id":"1","type":"next","payload":{"data":{"a":1}}}')
    over = frame(Opcode.TEXT, b'{"id":"1","type":"complete"}')
    async with speaking() as (socket, reader, _):
        socket.data_received((answer + over) * most + frame(Opcode.PING, b"") * 8)
        assert len(reader.heard) == 2 * most
        assert socket.usable


async def test_peer_that_never_returns_the_goodbye() -> None:
    """Closing takes the close timeout at the longest."""
    async with speaking(Limits(close_timeout=0.05)) as (socket, _, peer):
        peer.socket.transport.pause_reading()
        async with within():
            await socket.close()
        assert not socket.usable


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(Opcode.TEXT, b"\xff"), "a text that is not UTF-8"),
        (b"\xff\xff", "something that is no WebSocket frame"),
        (frame(Opcode.TEXT, b"x" * 101), "a message larger than the limit"),
        (frame(Opcode.TEXT, b"x" * 60, fin=False) + frame(Opcode.CONT, b"x" * 60), "a message larger than the limit"),
        (frame(Opcode.CONT, b"x"), "something that is no WebSocket frame"),
    ],
)
async def test_what_no_peer_may_send(data: bytes, words: str) -> None:
    """Bytes that break the rules end the socket, with the rule in words; told once."""
    async with speaking(Limits(max_message_bytes=100)) as (socket, reader, peer):
        peer.socket.transport.write(data + frame(Opcode.TEXT, b"after"))
        assert await reader.end() == Garbage(f"the server sent {words}")
        assert not socket.usable
    assert len(reader.ends) == 1
    assert reader.heard == []


async def test_closing_before_it_was_ever_open() -> None:
    """A socket that never came about can be closed like any other."""
    async with served(Peer.hear) as server:
        socket = Socket(server.endpoint(tls=make_tls_context()), Limits(), Reader())
        assert not socket.usable
        await socket.close()
        socket.prove_alive(1)
