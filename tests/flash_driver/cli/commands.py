"""Runs commands as a user would, and keeps what they said."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flash_driver.cli import main

if TYPE_CHECKING:
    import pytest

__all__ = ["CANARY", "Commands", "Ended"]

CANARY: Final = "ory_st_CANARYcanaryCANARYcanaryCANARY12"
"""The token of the sandboxes here: no command may ever show it."""

_MOST_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status.
        out: What it wrote to standard output.
        err: What it wrote to standard error.

    """

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def documents(self) -> list[Any]:
        """The JSON documents on standard output, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def words(self) -> str:
        """All of standard output, without the line breaks that a narrow terminal needs."""
        return " ".join(self.out.split())


class Commands:
    """Runs commands in a thread, so that servers of the test go on meanwhile."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.said: list[str] = []

    async def __call__(self, *arguments: str) -> Ended:
        """Run one command to its end."""
        self._capsys.readouterr()
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        statuses: list[int] = []

        def run() -> None:
            try:
                statuses.append(main(list(arguments)))
            finally:
                loop.call_soon_threadsafe(ended.set)

        # A daemon: a command that never ends fails its test, and does not keep the tests from ending.
        threading.Thread(target=run, name=f"command {arguments[:2]}", daemon=True).start()
        async with asyncio.timeout(_MOST_SECONDS):
            await ended.wait()
        (status,) = statuses
        out, err = self._capsys.readouterr()
        self.said += [out, err]
        return Ended(status, out, err)
