"""Tasks have an owner, which ends them; what many need at once is tried once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest

from connection_strings.errors import LightningError
from flash_driver.common.tasks import SharedAttempt, TaskSet, being_cancelled


async def test_a_task_that_breaks_is_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """A defect is one line at ERROR, with the task's name and the error's type alone: its words may hold a secret."""

    async def work() -> None:
        raise RuntimeError("token=ory_st_secret")

    tasks = TaskSet()
    tasks.start(work(), "journal pruning")
    assert await tasks.ended()
    await asyncio.sleep(0)
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.levelno == logging.ERROR
    assert "journal pruning" in line.getMessage()
    assert "RuntimeError" in line.getMessage()
    assert "ory_st" not in caplog.text
    assert len(tasks) == 0


async def test_a_failure_is_told_to_who_asked_for_it(caplog: pytest.LogCaptureFixture) -> None:
    """Who starts a task may be told what it ended with, in place of the log; its end by cancelling is no failure."""

    async def work() -> None:
        raise RuntimeError("broken")

    tasks, told = TaskSet(), list[BaseException]()
    tasks.start(work(), "part", on_failure=told.append)
    tasks.start(asyncio.sleep(3600), "other part", on_failure=told.append)
    await asyncio.sleep(0)
    await tasks.aclose()
    assert [str(error) for error in told] == ["broken"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_task_that_fails_as_it_may_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    """A `LightningError` says that something could not be done now: nothing that an operator has to mend."""

    async def work() -> None:
        raise LightningError("not now")

    tasks = TaskSet()
    tasks.start(work(), "session check")
    assert await tasks.ended()
    await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_closing_waits_then_cancels() -> None:
    """What ends within the patience ends by itself; what does not is cancelled, and has ended afterwards."""
    ended: list[str] = []

    async def short() -> None:
        await asyncio.sleep(0.01)
        ended.append("by itself")

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    tasks = TaskSet()
    tasks.start(short(), "short")
    tasks.start(long(), "long")
    assert not await tasks.ended(0.2)
    await tasks.aclose(patience=0.01)
    assert ended == ["by itself", "cancelled"]


async def test_a_task_that_is_cancelled_in_the_moment_of_a_timeout_ends() -> None:
    """A timeout of its own looks like an ending, and the task goes on after it; closing ends it all the same."""
    loop = asyncio.get_running_loop()
    timeout, go = loop.time() + 0.02, loop.create_future()

    async def work() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(timeout):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def close() -> int:
        await go
        cancelling = task.cancelling()
        await tasks.aclose()
        return cancelling

    tasks = TaskSet()
    task, closing = tasks.start(work(), "test"), asyncio.create_task(close())
    await asyncio.sleep(0)
    loop.call_at(timeout - 0.01, go.set_result, None)
    time.sleep(0.05)  # noqa: ASYNC251 - so that both moments come in one pass of the loop
    async with asyncio.timeout(40):
        assert await closing == 1, "it was closed in the moment of the timeout"
    assert task.cancelled()


async def test_an_attempt_is_shared_and_outlives_a_caller() -> None:
    """Ten callers begin one attempt; one that is cancelled takes it from nobody, and the next begins another."""
    begun, go = [0], asyncio.Event()

    async def attempt() -> int:
        begun[0] += 1
        await go.wait()
        return begun[0]

    shared = SharedAttempt(attempt, "test", closed=lambda: LightningError("was closed"))
    callers = [asyncio.create_task(shared.result()) for _ in range(10)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 9
    assert await shared.result() == 2


async def test_who_waits_for_an_attempt_that_is_closed_gets_an_error() -> None:
    """Closing raises the owner's error in those who wait: a `CancelledError` would mean that they are to end."""

    async def attempt() -> None:
        await asyncio.Event().wait()

    shared = SharedAttempt(attempt, "test", closed=lambda: LightningError("was closed"))
    caller = asyncio.create_task(shared.result())
    await asyncio.sleep(0)
    await shared.aclose()
    with pytest.raises(LightningError, match="was closed"):
        await caller


async def test_tells_whose_cancellation_it_is() -> None:
    """A task that is cancelled knows it, and one whose awaited future was cancelled knows that it was not meant."""

    async def wait(future: asyncio.Future[None]) -> bool:
        try:
            await future
        except asyncio.CancelledError:
            return being_cancelled()
        raise AssertionError

    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(2)]
    tasks = [asyncio.create_task(wait(future)) for future in futures]
    await asyncio.sleep(0)
    tasks[0].cancel()
    futures[1].cancel()
    assert await asyncio.gather(*tasks) == [True, False]
    assert not being_cancelled()
