from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.load import load


class Calls:
    """Counts calls and how many were under way at once."""

    def __init__(self) -> None:
        self.made = self.now = self.most = 0

    async def __call__(self) -> None:
        """Take a few turns of the event loop."""
        self.made += 1
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.now -= 1


@pytest.mark.parametrize(("at_once", "requests", "most"), [(1, 5, 1), (4, 10, 4), (8, 3, 3)])
async def test_so_many_calls_so_many_at_once(at_once: int, requests: int, most: int) -> None:
    """As many calls are made as asked for, as many at once as there are callers, or fewer if there are fewer calls."""
    calls = Calls()
    sample = await load(calls, at_once, requests=requests)
    assert (sample.requests, calls.made, calls.most) == (requests, requests, most)
    assert 0 < sample.p50 <= sample.p99


async def test_time_ends_the_load() -> None:
    """With a time instead of a number every call that was begun is counted."""
    calls = Calls()
    sample = await load(calls, 2, seconds=0.01)
    assert sample.requests == calls.made >= 2
