"""A server so cheap that its client is the bottleneck: `python -m tests.benchmarks.responder INVOICES`.

It answers what a Flash answers (`answers.py`) over HTTP and over graphql-transport-ws, framed by hand, on uvloop.
Prints one line of JSON once it can be reached. Under `/bench` it is told what to do and says what it saw:

    POST /bench/counts   {"operations": {field: n}, "connections", "posts", "sockets", "cpu_seconds"}
    POST /bench/rewind   begins again with the first invoice and with all counts at zero
    POST /bench/pay      {"payment_hash"}: tells every subscription; answers {"at": seconds of the monotonic clock}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from tests.benchmarks.answers import Answers, ReadyInvoice
from tests.benchmarks.frames import CLOSE, PING, PONG, TEXT, accept_key, frame, take_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Responder", "main"]

_HEAD_END: Final = b"\r\n\r\n"
_ACK: Final = frame(b'{"type":"connection_ack"}')
_PONG: Final = frame(b'{"type":"pong"}')


class Responder:
    """What all connections of the server share."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.sockets: set[_Peer] = set()
        self.connections = 0
        self.posts = 0

    def control(self, path: str, body: bytes) -> dict[str, Any]:
        """Do what a request under `/bench` says."""
        if path == "/bench/pay":
            payment_hash = json.loads(body)["payment_hash"]
            self.answers.pay(payment_hash)
            at = time.monotonic()
            for peer in self.sockets:
                peer.tell(payment_hash)
            return {"at": at}
        if path == "/bench/rewind":
            self.answers.rewind()
            self.connections = self.posts = 0
        return {
            "operations": dict(self.answers.counts),
            "connections": self.connections,
            "posts": self.posts,
            "sockets": len(self.sockets),
            "cpu_seconds": time.process_time(),
        }


class _Peer(asyncio.Protocol):
    """One connection: HTTP until it is upgraded."""

    def __init__(self, responder: Responder) -> None:
        self._shared = responder
        self._buffer = bytearray()
        self._upgraded = False
        self._token = b""
        self._subscriptions: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, _error: Exception | None) -> None:
        self._shared.sockets.discard(self)

    def data_received(self, data: bytes) -> None:
        """Answer all that has come, with one write."""
        self._buffer += data
        answers: list[bytes] = []
        if not self._upgraded:
            self._read_http(answers)
        if self._upgraded:
            for opcode, payload in take_frames(self._buffer):
                self._read_frame(opcode, payload, answers)
        if answers:
            self._transport.write(b"".join(answers))

    def tell(self, payment_hash: str) -> None:
        """Tell every subscription of a payment."""
        event = self._shared.answers.settlement(payment_hash, self._token)
        for operation_id in self._subscriptions:
            self._transport.write(_next(operation_id, event))

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def _read_http(self, answers: list[bytes]) -> None:
        while not self._upgraded and (end := self._buffer.find(_HEAD_END)) >= 0:
            head = bytes(self._buffer[:end])
            lines = head.split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
            size = int(headers.get(b"content-length", b"0"))
            if len(self._buffer) < end + 4 + size:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + size])
            del self._buffer[: end + 4 + size]
            path = lines[0].split(b" ")[1].decode()
            if b"sec-websocket-key" in headers:
                self._upgrade(headers[b"sec-websocket-key"], answers)
            elif path.startswith("/bench/"):
                answers.append(_reply(json.dumps(self._shared.control(path, body)).encode()))
            else:
                self._shared.posts += 1
                token = headers.get(b"authorization", b"") or headers.get(b"x-api-key", b"")
                answers.append(_reply(self._shared.answers.answer(body, token)))

    def _upgrade(self, key: bytes, answers: list[bytes]) -> None:
        self._upgraded = True
        self._shared.connections += 1
        self._shared.sockets.add(self)
        answers.append(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\nSec-WebSocket-Accept: " + accept_key(key) + _HEAD_END
        )

    # --- graphql-transport-ws ---------------------------------------------------------------------------------------

    def _read_frame(self, opcode: int, payload: bytes, answers: list[bytes]) -> None:
        if opcode == TEXT:
            self._read_message(payload, answers)
        elif opcode == PING:
            answers.append(frame(payload, PONG))
        elif opcode == CLOSE:
            self._transport.write(b"".join([*answers, frame(payload, CLOSE)]))
            self._transport.close()
            answers.clear()

    def _read_message(self, message: bytes, answers: list[bytes]) -> None:
        # Where the type stands depends on who wrote it; a subscription is the rarest, an operation the most common.
        start = message[:64]
        if b'"subscribe"' in start:
            operation_id = _id(message)
            if b"myUpdates" in message:
                self._subscriptions.append(operation_id)
                self._shared.answers.counts["myUpdates"] += 1
                answers.append(_next(operation_id, self._shared.answers.first_event()))
            else:
                result = self._shared.answers.answer(message, self._token)
                answers += (_next(operation_id, result), frame(b'{"id":"%b","type":"complete"}' % operation_id))
        elif b'"connection_init"' in start:
            self._token = str(json.loads(message).get("payload", {}).get("Authorization", "")).encode()
            answers.append(_ACK)
        elif b'"ping"' in start:
            answers.append(_PONG)
        elif b'"complete"' in message and (operation_id := _id(message)) in self._subscriptions:
            self._subscriptions.remove(operation_id)


def _id(message: bytes) -> bytes:
    """Return the operation id: the text that follows the first `"id":`."""
    start = message.index(b'"', message.index(b'"id":') + 5) + 1
    return message[start : message.index(b'"', start)]


def _next(operation_id: bytes, result: bytes) -> bytes:
    return frame(b'{"id":"%b","type":"next","payload":%b}' % (operation_id, result))


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def _serve(responder: Responder) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: _Peer(responder), "127.0.0.1", 0, backlog=2048)
    async with server:
        port = server.sockets[0].getsockname()[1]
        urls = {"server": f"http://127.0.0.1:{port}/graphql", "websocket": f"ws://127.0.0.1:{port}/graphql"}
        print(json.dumps(urls), flush=True)  # noqa: T201 - the line that its parent waits for
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    import uvloop  # noqa: PLC0415 - only the process that serves needs it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("invoices", type=Path, help="a JSON file of [bolt11, payment hash]")
    parser.add_argument("--cycle", action="store_true", help="hand the same invoices out again and again")
    chosen = parser.parse_args(arguments)
    invoices = [ReadyInvoice(*row) for row in json.loads(chosen.invoices.read_text())]
    uvloop.run(_serve(Responder(Answers(invoices, cycle=chosen.cycle))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
