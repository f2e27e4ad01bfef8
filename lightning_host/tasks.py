"""Tasks with an owner: each is started by it, logged by it when it fails, and ended by it.

`Background` is for work that goes on when the client who asked for it has hung up, such as a payment under way.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from connection_strings import LightningError

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Background", "TaskSet"]

_log: Final = logging.getLogger("lightning_host")
_MAY_HAPPEN: Final = (LightningError, SQLAlchemyError, OSError, TimeoutError)
"""What a wallet, a database or a client makes a task end with; anything else is a defect."""
_LAST_SECONDS: Final = 10.0
_T = TypeVar("_T")


class TaskSet:
    """The tasks of one owner."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Run work in a task of its own; a failure is logged, whether somebody awaits the task or not."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def aclose(self, *, patience: float = 0.0) -> None:
        """Wait for the tasks for some seconds, then cancel what is left."""
        if patience and self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.INFO if isinstance(error, _MAY_HAPPEN) else logging.ERROR
            _log.log(level, "%s ended with %s", task.get_name(), type(error).__name__)


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
