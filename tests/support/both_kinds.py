"""A workbench for tests that hold on both kinds of servers: one that executes on the socket, one that declines."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.driver import Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["bench"]


@pytest.fixture(params=["accept", "decline"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Give a workbench whose sandboxes are of one kind, unless a test names another."""
    async with AsyncExitStack() as stack:
        yield Bench(stack, request.param)
