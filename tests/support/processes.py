"""Gives orders to drivers in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Driver", "Run"]

_ROOT: Final = Path(__file__).parents[2]
_LONGEST: Final = 120.0
_ENDING: Final = 10.0


class Run:
    """What one order came to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.signal: int | None = None
        self.died_at: str | None = None

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if event["event"] == kind]


class Driver:
    """A process that carries out orders, one at a time; each in a fork, so that the order may kill it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Self:
        """Start the process."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.victim", stdin=PIPE, stdout=PIPE, cwd=_ROOT, start_new_session=True
        )
        return cls(process)

    async def run(self, on_event: Callable[[dict[str, Any]], None] = lambda _: None, **order: Any) -> Run:
        """Give an order and wait for its end.

        Raises:
            AssertionError: It failed otherwise than by being killed.

        """
        run = Run()
        async for event in self.events(**order):
            run.events.append(event)
            on_event(event)
            if event["event"] == "dies":
                run.died_at = event["step"]
            if event["event"] == "ended":
                run.signal = event["signal"]
                assert (run.signal == signal.SIGKILL) == (run.died_at is not None)
        return run

    async def events(self, **order: Any) -> AsyncIterator[dict[str, Any]]:
        """Give an order and yield what comes of it until it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        while True:
            async with asyncio.timeout(_LONGEST):
                line = await self._process.stdout.readline()
            assert line, "the process has died"
            event = json.loads(line)
            assert event["event"] != "failed", event["why"]
            yield event
            if event["event"] == "ended":
                return

    async def aclose(self) -> None:
        """End the process, and with it an order that does not end, as after a test that failed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_ENDING):
                await self._process.wait()
        except TimeoutError:
            os.killpg(self._process.pid, signal.SIGKILL)  # its fork, too; it began a session of its own
            await self._process.wait()
