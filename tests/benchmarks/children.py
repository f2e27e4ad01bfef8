"""Processes of a benchmark, spoken to in lines of JSON: each thing measured has one of its own."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from types import TracebackType

__all__ = ["Child", "ChildFailed", "cpu_seconds", "heed", "obey", "post", "tell"]

_ROOT: Final = Path(__file__).parents[2]
_LONGEST: Final = 120.0
_ENDING: Final = 10.0


class ChildFailed(RuntimeError):
    """A process of a benchmark ended, or said nothing for too long."""


class Child:
    """A process that is told what to do and says what came of it.

    Args:
        arguments: A module of this repository with its arguments; or a program, where `program` says so.
        environment: What it finds in its environment besides ours.

    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, program: Path | None = None
    ) -> None:
        self._name = " ".join(arguments)
        self._process = subprocess.Popen(
            [program, *arguments] if program else [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**os.environ, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that it has used so far, in user and kernel."""
        return cpu_seconds(self._process.pid)

    def ask(self, **order: Any) -> dict[str, Any]:
        """Tell it what to do and wait for what came of it."""
        self.send(**order)
        return self.hear()

    def send(self, **order: Any) -> None:
        """Tell it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, seconds: float = _LONGEST) -> dict[str, Any]:
        """Wait for what it says next.

        Raises:
            ChildFailed: It says nothing any more.

        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise ChildFailed(f"{self._name}: {'it has ended' if ready else 'it says nothing'}")
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        """End it, and wait until it has."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used so far, in user and kernel."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tell(**said: Any) -> None:
    """Say something to the process that started this one."""
    print(json.dumps(said), flush=True)  # noqa: T201 - a line of the conversation


async def heed() -> dict[str, Any]:
    """Wait for the next order while carrying one out."""
    order: dict[str, Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    return order


def obey(carry_out: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]]) -> None:
    """Carry out one order after the other until there are no more; each on an event loop of its own."""
    for line in sys.stdin:
        asyncio.run(carry_out(json.loads(line)))


def post(url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Post to a server on loopback and read its answer."""
    request = Request(url, json.dumps(body or {}).encode(), {"Content-Type": "application/json"})  # noqa: S310 - ours
    with urlopen(request, timeout=10) as response:  # noqa: S310 - as above
        answer: dict[str, Any] = json.load(response)
        return answer
