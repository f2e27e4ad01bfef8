"""The peer that nobody here wrote: installed once, started for each test as the test needs it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.peer import NodePeer, install, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class StartPeer(Protocol):
    """Starts a peer with these options."""

    async def __call__(self, **options: Any) -> NodePeer:
        """Start it; it ends with the test."""
        ...


@pytest.fixture(scope="session")
def node() -> str:
    """Give the path of Node, with the peer's packages installed."""
    return install()


@pytest.fixture
async def peer(node: str) -> AsyncIterator[StartPeer]:
    """Give what starts a peer."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> NodePeer:
            return await stack.enter_async_context(running(node, **options))

        yield start
