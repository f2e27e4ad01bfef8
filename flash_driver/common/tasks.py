"""Tasks with an owner: each is started by it, logged when it fails, and ended by it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from connection_strings.errors import LightningError
from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SharedAttempt", "TaskSet", "being_cancelled"]

_LOOK_SECONDS: Final = 0.1
"""How often tasks that are to end are looked after."""

_log: Final = get_logger(part="tasks")
T = TypeVar("T")


class TaskSet:
    """The tasks of one owner, on one event loop.

    A `LightningError` is what a task may well end with, and is logged for developers only; anything else is a defect,
    and is logged as an error. Neither goes further, unless the owner awaits the task.

    Args:
        program: What the names of its tasks begin with.

    """

    def __init__(self, program: str = "flash-driver") -> None:
        self._program = program
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, T], name: str, on_failure: Callable[[BaseException], None] | None = None
    ) -> asyncio.Task[T]:
        """Run work in a task of its own.

        Args:
            work: What it does.
            name: The same for a person, such as `journal pruning`.
            on_failure: Told what the task ended with, in place of the log.

        """
        task = asyncio.create_task(work, name=f"{self._program} {name}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, on_failure=on_failure))
        return task

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the tasks of now have ended, for this number of seconds at most; returns whether all have."""
        if not self._tasks:
            return True
        _, left = await asyncio.wait(set(self._tasks), timeout=seconds)
        return not left

    def cancel(self) -> None:
        """Have every task end; one that is ending already, as all do at the end of an event loop, is left in peace."""
        for task in [*self._tasks]:
            if not task.cancelling():
                task.cancel()

    async def aclose(self, *, patience: float = 0.0) -> None:
        """Wait for the tasks for this number of seconds, then cancel what is left, and wait until it has ended."""
        if patience:
            await self.ended(patience)
        while self._tasks:
            # Again and again: what looked like an ending may have been a timeout of the task's own, which it survives.
            self.cancel()
            await self.ended(_LOOK_SECONDS)

    def _done(self, task: asyncio.Task[Any], on_failure: Callable[[BaseException], None] | None) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if on_failure is not None:
            on_failure(error)
        elif isinstance(error, LightningError):
            _log.debug("a task failed", task=task.get_name(), why=str(error))
        else:
            _log.error("a task broke", task=task.get_name(), error=type(error).__name__)


class SharedAttempt(Generic[T]):
    """Something that many may need at once, and that is tried once for all of them.

    A caller that is cancelled does not end it, since others may wait for it. Once it has ended, the next caller begins
    another. What it fails with belongs to those who wait for it, and is not logged.

    Args:
        attempt: What is tried.
        name: What it does, such as `journal opening`.
        closed: Makes the error for those who wait while it is closed.

    """

    def __init__(
        self, attempt: Callable[[], Coroutine[Any, Any, T]], name: str, *, closed: Callable[[], Exception]
    ) -> None:
        self._attempt = attempt
        self._name = name
        self._closed = closed
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> asyncio.Task[T]:
        """Begin, unless it is under way; who awaits the task itself must shield it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._attempt(), name=f"flash-driver {self._name}")
            # Those who wait may be gone by the time it fails; asyncio complains of errors that nobody looked at.
            self._task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._task

    async def result(self) -> T:
        """Return what comes of it.

        Raises:
            Exception: What `closed` makes, if it is closed meanwhile; else whatever the attempt raises.

        """
        task = self.begin()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not being_cancelled():
                raise self._closed() from None
            raise

    async def aclose(self) -> None:
        """End the attempt, if there is one; the next caller begins another."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def being_cancelled() -> bool:
    """Whether somebody wants the running task to end; else a `CancelledError` is about what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
