"""A link that takes its time: `python -m tests.benchmarks.link PORT --one-way-seconds 0.05`.

Every byte arrives so much later than it was sent, in order, whatever else is under way; there is no limit on how much.
A connection takes a round trip to come about, as a TCP handshake does. Prints one line of JSON once it can be reached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pipe", "main"]

_EARLY: Final = 0.0015
"""Timers of an event loop come up to a millisecond late, so they are set early and the rest is waited out awake."""


class Pipe:
    """One direction of a connection: what is sent arrives later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, one_way: float) -> None:
        self._one_way = one_way
        self._loop = loop
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self._not_before = 0.0
        self.to: asyncio.Transport | None = None

    def hold(self, seconds: float) -> None:
        """Let nothing arrive sooner than in that many seconds."""
        self._not_before = self._loop.time() + seconds

    def send(self, data: bytes | None) -> None:
        """Take bytes, or None for the end."""
        due = max(self._loop.time(), self._not_before) + self._one_way
        self._under_way.append((due, data))
        if len(self._under_way) == 1:
            self._loop.call_at(due - _EARLY, self._arrive)

    def _arrive(self) -> None:
        while self._under_way and self._under_way[0][0] <= self._loop.time():
            data = self._under_way.popleft()[1]
            if self.to is None or self.to.is_closing():
                continue
            if data is None:
                self.to.close()
            else:
                self.to.write(data)
        if self._under_way:
            early = self._under_way[0][0] - _EARLY
            if early > self._loop.time():
                self._loop.call_at(early, self._arrive)
            else:
                self._loop.call_soon(self._arrive)


class _End(asyncio.Protocol):
    """One end of a connection, whose bytes go into a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def data_received(self, data: bytes) -> None:
        self._pipe.send(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._pipe.send(None)


class _ClientEnd(_End):
    """The client's end: opens the way to the server."""

    def __init__(self, port: int, one_way: float) -> None:
        loop = asyncio.get_running_loop()
        self._there, self._back = Pipe(loop, one_way), Pipe(loop, one_way)
        super().__init__(self._there)
        self._port = port
        self._one_way = one_way
        self._connecting: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._back.to = cast("asyncio.Transport", transport)
        # The client's `connect` has returned at once; over a real link it would have taken a round trip.
        self._there.hold(2 * self._one_way)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _End(self._back), "127.0.0.1", self._port)
        self._there.to = transport


async def _serve(port: int, one_way: float) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with await loop.create_server(lambda: _ClientEnd(port, one_way), "127.0.0.1", 0) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)  # noqa: T201 - the awaited line
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="where the server is, on this machine")
    parser.add_argument("--one-way-seconds", type=float, default=0.05)
    chosen = parser.parse_args(arguments)
    asyncio.run(_serve(chosen.port, chosen.one_way_seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
