"""The judge's patience: for as long as something moves."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from tests.faults.patience import lag, while_it_moves


async def forever() -> None:
    """Never get done."""
    await asyncio.Event().wait()


async def test_what_gets_done_is_waited_for() -> None:
    """Work that is done in time is reported as done."""
    assert await while_it_moves(asyncio.sleep(0.01), lambda: 0, still_beats=50)


async def test_nothing_moves() -> None:
    """Work that shows no sign of life is given up and ended."""
    ended = asyncio.Event()

    async def stuck() -> None:
        try:
            await forever()
        finally:
            ended.set()

    assert not await while_it_moves(stuck(), lambda: 0, still_beats=2)
    assert ended.is_set()


async def test_what_moves_is_waited_for() -> None:
    """Work that takes longer than the patience with standstill is waited for as long as something moves."""
    moves = itertools.count()
    assert await while_it_moves(asyncio.sleep(1.0), lambda: next(moves), still_beats=2)


async def test_the_total_is_bounded() -> None:
    """What moves for ever and never gets done is given up, too."""
    moves = itertools.count()
    assert not await while_it_moves(forever(), lambda: next(moves), longest=0.2)


async def test_what_breaks_is_told() -> None:
    """An error in the work is the caller's."""

    async def broken() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await while_it_moves(broken(), lambda: 0)


async def test_a_loop_that_is_held_up_is_late() -> None:
    """What blocks the event loop shows in its lag."""
    measuring = asyncio.create_task(lag())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - what is measured
    assert await measuring >= 0.15
