"""HAProxy in front of replicas, as docker/btcpay.yaml runs it, and between a replica and its database."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.lightning_host.programs import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

__all__ = ["DatabaseLine", "frozen", "line_to_database", "replicas_behind_proxy"]

MISSING: Final = "HAProxy is not there (Debian: apt-get install haproxy)"

_CONFIGURATION: Final = Path(__file__).parents[2] / "docker" / "proxy" / "haproxy.cfg"
_LINE: Final = """
defaults
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend up
    mode http
    bind "127.0.0.1:${UP}"
    monitor-uri /up
listen database
    mode tcp
    bind "127.0.0.1:${PORT}"
    server postgres "unix@${SOCKET}"
"""


def _haproxy() -> str:
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return found


@contextmanager
def replicas_behind_proxy(folder: Path, first: Program, second: Program) -> Iterator[Program]:
    """Run the proxy in front of two hosts that serve."""
    port = free_port()
    environment = {
        "BIND": f"127.0.0.1:{port}",
        "HOST_A": first.url.removeprefix("http://"),
        "HOST_B": second.url.removeprefix("http://"),
    }
    command = [_haproxy(), "-db", "-f", str(_CONFIGURATION)]
    with Program(command, environment, folder, f"http://127.0.0.1:{port}/live").running() as proxy:
        yield proxy


@dataclass(frozen=True)
class DatabaseLine:
    """What a host reaches its database through, so that it can be cut off from it alone.

    Attributes:
        program: The proxy that carries everything.
        url: The database's URL at this end.

    """

    program: Program
    url: str


@contextmanager
def line_to_database(folder: Path, postgres: PostgresServer, database: str) -> Iterator[DatabaseLine]:
    """Run a proxy in front of a database; `database` is its URL by the Unix socket."""
    up, port = free_port(), free_port()
    configuration = folder / f"line-{port}.cfg"
    configuration.write_text(_LINE)
    environment = {"UP": str(up), "PORT": str(port), "SOCKET": postgres.socket}
    command = [_haproxy(), "-db", "-f", str(configuration)]
    url = database.partition("?")[0].replace("@/", f"@127.0.0.1:{port}/")
    with Program(command, environment, folder, f"http://127.0.0.1:{up}/up").running() as program:
        yield DatabaseLine(program, url)


@contextmanager
def frozen(program: Program) -> Iterator[None]:
    """Let a program do nothing at all while the block runs; its connections stay open, and silent."""
    assert program.process is not None
    os.kill(program.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(program.process.pid, signal.SIGCONT)
