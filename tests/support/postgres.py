"""A PostgreSQL server of the tests' own, made of Debian's binaries: in a folder of its own, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

__all__ = ["MISSING", "PASSWORD", "PostgresServer", "binaries", "unprivileged"]

MISSING: Final = "PostgreSQL's binaries are not there (Debian: apt-get install postgresql)"
PASSWORD: Final = "never-shown-in-any-text"

_UNPRIVILEGED: Final = ("postgres", "nobody")
"""Who runs the server when the tests run as root, which PostgreSQL refuses to be."""


def binaries() -> Path | None:
    """Return the folder with initdb and postgres, the newest version's; None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return None if on_path is None else Path(on_path).parent


class PostgresServer:
    """A server that listens on a Unix socket only, and can be stopped and started.

    Args:
        bin_folder: Where its programs are.
        durable: Whether it waits for its disk, which tests need not.

    """

    def __init__(self, bin_folder: Path, *, durable: bool = False) -> None:
        self._bin = bin_folder
        self._durable = durable
        self._user = unprivileged() if os.geteuid() == 0 else None
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> Self:
        # A socket's path may have 107 characters only, so pytest's own folders are too deep.
        self._folder = Path(tempfile.mkdtemp(prefix="flash-driver-pg-"))
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user is not None:
            shutil.chown(self._folder, self._user)
            shutil.chown(secret, self._user)
        made = ("--username=journal", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
        self._run("initdb", "--no-sync", "--pgdata", self._data, *made)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        # Each database is some 300 files: removing hundreds takes half a minute, for which nobody has to wait.
        command = ["sh", "-c", 'rm -rf "$0" &', str(self._folder)]
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self._folder}",
            f"fsync={self._durable:d}",
            "autovacuum=off",  # it starts a process for each of hundreds of databases each minute
        )
        options = [part for setting in settings for part in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *options],
                user=self._user,
                group=self._user and _group(self._user),
                extra_groups=[] if self._user else None,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        give_up_at = time.monotonic() + 90
        while subprocess.run([self._bin / "pg_isready", "-q", "-h", self._folder], check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once, as a crash would: no connection is ended with grace."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)

    def new_database(self) -> str:
        """Make an empty database and return the URL of a journal in it."""
        self._databases += 1
        name = f"journal_{self._databases}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        return f"postgresql://journal:{PASSWORD}@/{name}?host={self._folder}"

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return f"{self._folder}/.s.PGSQL.5432"

    def sql(self, statement: str, database: str) -> str:
        """Run a statement as the owner of everything; return what psql prints."""
        return self._run(
            "psql",
            "-h",
            str(self._folder),
            "-U",
            "journal",
            "-d",
            database,
            "-qtA",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
        )

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C"}
        done = subprocess.run(
            [self._bin / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            cwd=self._folder,
            user=self._user,
            group=self._user and _group(self._user),
            extra_groups=[] if self._user else None,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")
        return done.stdout.strip()


def unprivileged() -> str:
    """Return a user of this machine without rights."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
