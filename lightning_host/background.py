"""Work that goes on when the client who asked for it has hung up: a payment under way must be seen to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lightning_host.tasks import TaskSet

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Background"]

_LAST_SECONDS: Final = 10.0
_T = TypeVar("_T")


class Background:
    """Runs work in tasks of its own, so that the cancellation of a request does not reach it."""

    def __init__(self) -> None:
        self._tasks = TaskSet()

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the work; it goes on when the waiting is cancelled."""
        return await asyncio.shield(self._tasks.start(work, "work for a request"))

    async def aclose(self) -> None:
        """Give what is under way a little time to end, then cancel it."""
        await self._tasks.aclose(patience=_LAST_SECONDS)
