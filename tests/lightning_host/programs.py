"""Programs under test, each in a process of its own: the sandbox, the host, and whatever else a test brings."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Program", "free_port", "host_program", "sandbox_process", "sandbox_program", "wait_until"]

_READY_SECONDS: Final = 120.0
_ROOT: Final = str(Path(__file__).parents[2])
"""Where programs find this very checkout, wherever they run."""


@dataclass
class Program:
    """A program under test: started, stopped in order, started again on the same port.

    Attributes:
        command: What to run.
        environment: All that it finds in its environment.
        folder: Where it runs, and where its output is kept.
        ready: The URL that answers 200 once it is ready.

    """

    command: list[str]
    environment: dict[str, str]
    folder: Path
    ready: str
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it serves."""
        return str(httpx.URL(self.ready).join("/")).rstrip("/")

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self.folder / f"{Path(self.command[0]).name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._is_ready, f"{self.command} is ready")

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
            self.process.kill()
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Program]:
        """Run it for the length of a block."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def _is_ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"{self.command} ended before it was ready")
        with contextlib.suppress(httpx.TransportError):
            return asking.get(self.ready, timeout=5).status_code == 200
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so in another process; bounded."""
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.1)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def host_program(folder: Path, connection_string: str, **settings: str) -> Program:
    """Return a host with a database and a journal in a folder; `settings` are further variables of its environment."""
    port = free_port()
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": _ROOT,
        "LIGHTNING_HOST_CONNECTION_STRING": connection_string,
        "LIGHTNING_HOST_DATABASE_URL": f"sqlite:///{folder}/host.sqlite3",
        "LIGHTNING_HOST_PORT": str(port),
        "FLASH_JOURNAL_URL": f"sqlite+aiosqlite:///{folder}/journal.sqlite3",
        **settings,
    }
    command = [sys.executable, "-m", "lightning_host", "--verbose"]
    return Program(command, environment, folder, f"http://127.0.0.1:{port}/health")


@contextlib.contextmanager
def sandbox_program(folder: Path, *options: str) -> Iterator[dict[str, str]]:
    """Run `flash-driver sandbox` with further options; gives what it tells when it is ready."""
    with sandbox_process(folder, *options) as (_, ready):
        yield ready


@contextlib.contextmanager
def sandbox_process(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Do the same; gives the process, too, for tests that freeze or kill it."""
    run = "from flash_driver.cli import main; main()"
    command = [sys.executable, "-c", run, "sandbox", "--port", "0", "--json", *options]
    environment = {**os.environ, "PYTHONPATH": _ROOT}
    with (
        (folder / "sandbox.log").open("ab") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()
