"""Every test of a transport leaves nothing behind: no task, no socket."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(autouse=True)
async def _nothing_left_behind() -> AsyncIterator[None]:
    """Fail a test after which the driver still has a task."""
    yield
    for _ in range(5):
        await asyncio.sleep(0)
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")]
    assert left == []


@pytest.fixture(autouse=True, scope="module")
def _nothing_unclosed() -> Iterator[None]:
    """Fail a module that left a socket open: it complains when it is collected, and warnings are errors."""
    yield
    gc.collect()
