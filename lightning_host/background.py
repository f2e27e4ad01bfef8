"""Work that goes on when the client who asked for it has hung up: a payment under way must be seen to its end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Background"]

_log: Final = logging.getLogger("lightning_host")
_LAST_CHANCE_SECONDS: Final = 10.0
_T = TypeVar("_T")


class Background:
    """Runs work in tasks of its own, so that the cancellation of a request does not reach it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait for the work; it goes on when the waiting is cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Give what is under way a little time to end, then cancel it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_CHANCE_SECONDS)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever still waits gets it, too; nobody may be waiting any more.
            _log.info("a request ended with %s", type(error).__name__)
