"""A pgbouncer in transaction mode before a PostgreSQL server of the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.postgres import PASSWORD, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

__all__ = ["BOUNCER_MISSING", "bouncer_binary", "transaction_pooler"]

BOUNCER_MISSING: Final = "pgbouncer is not there (Debian: apt-get install pgbouncer)"


def bouncer_binary() -> str | None:
    """Return the program, None where there is none."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def transaction_pooler(server: PostgresServer) -> Iterator[int]:
    """Run a pooler with two connections to the server; give the port of 127.0.0.1 that it listens on."""
    program = bouncer_binary()
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="flash-driver-bouncer-"))
    users, settings = folder / "users", folder / "ini"
    users.write_text(f'"journal" "{PASSWORD}"\n')
    settings.write_text(
        f"[databases]\n* = host={Path(server.socket).parent}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n"
        "pool_mode = transaction\ndefault_pool_size = 2\n"
    )
    user = unprivileged() if os.geteuid() == 0 else None
    if user is not None:
        for path in (folder, users, settings):
            shutil.chown(path, user)
    process = subprocess.Popen([program, "-q", str(settings)], user=user, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        give_up_at = time.monotonic() + 20
        while not _listens(port):
            assert time.monotonic() < give_up_at, "pgbouncer does not start"
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
