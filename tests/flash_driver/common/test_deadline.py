from __future__ import annotations

import asyncio

import pytest

from flash_driver.common.deadline import Deadline


async def test_after_is_that_far_away() -> None:
    """A deadline lies on the loop's clock, where `asyncio.timeout_at` takes it from."""
    before = asyncio.get_running_loop().time()
    deadline = Deadline.after(10)
    after = asyncio.get_running_loop().time()
    assert before + 10 <= deadline.at <= after + 10
    assert 0 < deadline.remaining <= 10
    assert not deadline.passed


@pytest.mark.parametrize("seconds", [0, -1])
async def test_passed_deadline_has_nothing_left(seconds: float) -> None:
    """The time left is never negative."""
    deadline = Deadline.after(seconds)
    assert deadline.remaining == 0.0
    assert deadline.passed


async def test_share_leaves_the_rest_to_others() -> None:
    """Half of the time left ends half-way."""
    deadline = Deadline.after(100)
    assert 49 < deadline.share(0.5).remaining <= 50
    assert deadline.share(1.0).at <= deadline.at + 1e-6
    assert Deadline.after(-1).share(0.5).passed


async def test_at_most_is_the_earlier_one() -> None:
    """A limit shortens the time and never lengthens it."""
    deadline = Deadline.after(100)
    assert deadline.at_most(1000) == deadline
    assert deadline.at_most(1).remaining <= 1


async def test_a_lock_is_waited_for_until_then() -> None:
    """A lock that somebody holds is given up on at the deadline; a free one is had even after it."""
    lock = asyncio.Lock()
    assert await Deadline.after(-1).acquire(lock)
    assert not await Deadline.after(0.01).acquire(lock)
    lock.release()
    assert await Deadline.after(10).acquire(lock)


def test_needs_a_running_loop() -> None:
    """There is no deadline without the clock it lies on."""
    with pytest.raises(RuntimeError):
        Deadline.after(1)
