"""Many callers at once, each calling again as soon as it is answered; what that costs the client."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

__all__ = ["Sample", "load"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run came to; times in microseconds.

    Attributes:
        requests: How many were answered.
        per_second: How many of them in a second.
        p50: How long half of them took at the most.
        p99: How long all but one of a hundred took at the most.
        cpu: CPU time of the client process per request, user and kernel, all threads.
        busy: The share of the time that the client process was on a CPU; 1 is one core.

    """

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu: float
    busy: float


async def load(
    call: Callable[[], Awaitable[None]], at_once: int, *, seconds: float | None = None, requests: int | None = None
) -> Sample:
    """Call for that many seconds, or that many times, with that many calls under way at any moment."""
    latencies: list[int] = []
    clock = time.perf_counter_ns
    end = None if seconds is None else clock() + int(seconds * 1e9)
    turns = _turns(requests, end)

    async def caller() -> None:
        for _ in turns:
            began = clock()
            await call()
            latencies.append(clock() - began)

    began, cpu = clock(), time.process_time_ns()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    took, cpu = clock() - began, time.process_time_ns() - cpu
    latencies.sort()
    count = len(latencies)
    return Sample(
        requests=count,
        per_second=count * 1e9 / took,
        p50=latencies[count // 2] / 1e3,
        p99=latencies[min(count - 1, count * 99 // 100)] / 1e3,
        cpu=cpu / count / 1e3,
        busy=cpu / took,
    )


def _turns(requests: int | None, end: int | None) -> Iterator[None]:
    """Yield once for each call; all callers draw from the same."""
    while (requests is None or requests > 0) and (end is None or time.perf_counter_ns() < end):
        if requests is not None:
            requests -= 1
        yield
