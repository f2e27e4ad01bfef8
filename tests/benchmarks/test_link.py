"""The link that takes its time: its pipe on a clock of the test's own, and the whole of it spoken to."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from tests.benchmarks.children import Child
from tests.benchmarks.link import Pipe
from tests.support.serving import serving_streams

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_WAY = 0.5


class Clock:
    """What a pipe needs of an event loop, with a time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def time(self) -> float:
        """Tell the time."""
        return self.now

    def call_at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._timers, (when, next(self._numbers), what))

    def call_soon(self, what: Callable[[], None]) -> None:
        """Do something a little later: turns of an event loop take time as well."""
        self.call_at(self.now + 0.0001, what)

    def advance(self, to: float) -> None:
        """Let time go on, and do what is due on the way."""
        while self._timers and self._timers[0][0] <= to:
            when, _, what = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            what()
        self.now = to


class End:
    """Notes what arrives, and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.arrived: list[tuple[float, bytes | None]] = []

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self.arrived.append((round(self._clock.now, 3), data))

    def close(self) -> None:
        """Take the end."""
        self.arrived.append((round(self._clock.now, 3), None))

    def is_closing(self) -> bool:
        """Whether the end has come."""
        return self.arrived[-1:] != [] and self.arrived[-1][1] is None


def piped() -> tuple[Clock, End, Pipe]:
    """Give a pipe that leads to an end, and the clock of both."""
    clock = Clock()
    end, pipe = End(clock), Pipe(cast("Any", clock), ONE_WAY)
    pipe.to = cast("Any", end)
    return clock, end, pipe


def test_bytes_arrive_in_order_each_at_its_time() -> None:
    """Whatever is under way already, each piece takes the same time; the end comes last."""
    clock, end, pipe = piped()
    for at, data in ((0.0, b"a"), (0.1, b"b"), (0.1, b"c"), (0.4, None)):
        clock.advance(at)
        pipe.send(data)
    clock.advance(0.499)
    assert end.arrived == []
    clock.advance(2)
    assert end.arrived == [(0.5, b"a"), (0.6, b"b"), (0.6, b"c"), (0.9, None)]


def test_a_new_connection_takes_a_round_trip_more() -> None:
    """What is held is let go after that time, and then takes its own; later pieces are not held up any more."""
    clock, end, pipe = piped()
    pipe.hold(2 * ONE_WAY)
    pipe.send(b"hello")
    clock.advance(1.2)
    pipe.send(b"again")
    clock.advance(3)
    assert end.arrived == [(1.5, b"hello"), (1.7, b"again")]


async def test_bytes_pass_whole_both_ways_and_so_does_the_end() -> None:
    """Through the running link a megabyte comes back as it went, twice, and the server sees the client go."""
    sent, ended = bytes(range(256)) * 4096, asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with serving_streams(echo) as port:
        with Child("tests.benchmarks.link", str(port), "--one-way-seconds", "0.005") as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", (await asyncio.to_thread(link.hear))["port"])
            for _ in range(2):
                writer.write(sent)
                assert await reader.readexactly(len(sent)) == sent
            writer.close()
            await writer.wait_closed()
            await ended.wait()
