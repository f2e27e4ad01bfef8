"""Fixtures of the sandbox's own tests."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from aiohttp import ClientSession

from flash_driver.sandbox import Sandbox, SandboxOptions
from tests.flash_driver.sandbox.clients import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class StartLab(Protocol):
    """Starts a sandbox with options."""

    async def __call__(self, **options: Any) -> Lab:
        """Start one."""
        ...


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now

    def advance(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
async def start_lab() -> AsyncIterator[StartLab]:
    """Give a way to start sandboxes whose sockets execute everything; all is closed after the test."""
    async with AsyncExitStack() as stack:

        async def start(*, clock: Clock | None = None, **options: Any) -> Lab:
            chosen = SandboxOptions(**{"ws_mutations": "accept", **options})
            sandbox = await stack.enter_async_context(Sandbox(chosen, clock=clock) if clock else Sandbox(chosen))
            session = await stack.enter_async_context(ClientSession())
            return Lab(sandbox, session, stack)

        yield start


@pytest.fixture
async def lab(start_lab: StartLab) -> Lab:
    """Give a sandbox with the options it has by default."""
    return await start_lab()
