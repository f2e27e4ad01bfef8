"""Opens databases: a SQLite file that only its owner can read, or a PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from flash_driver.journal.urls import JournalUrl

__all__ = ["PATIENCE_SECONDS", "WRITES", "identity", "open_postgresql", "open_sqlite", "prepare_file"]

PATIENCE_SECONDS: Final = 4.0
"""How long a database may take: a host gives up on a new invoice after 5 s (flash-server.md 7.4)."""

WRITES: Final = "flash_driver_writes"
"""The execution option of transactions that write."""

_STOPPED_SECONDS: Final = 3.0
"""After how long PostgreSQL takes the lock from a process that was stopped in the middle of a transaction."""

_POSTGRESQL_CONNECTIONS: Final = 5
_OWNER_ONLY: Final = 0o600

_log: Final = get_logger(part="journal")


def open_sqlite(path: Path, connections: int) -> Engine:
    """Return an engine for a file; it connects when it is used, from whatever thread."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=PATIENCE_SECONDS,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def open_postgresql(journal: JournalUrl) -> AsyncEngine:
    """Return an engine for a server, on the running event loop; it connects when it is used."""
    return create_async_engine(
        make_url(journal.text.reveal()),
        hide_parameters=True,
        pool_size=_POSTGRESQL_CONNECTIONS,
        max_overflow=_POSTGRESQL_CONNECTIONS,
        pool_timeout=PATIENCE_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "timeout": PATIENCE_SECONDS,
            "command_timeout": 60.0,
            "server_settings": {
                "application_name": "flash-driver",
                "idle_in_transaction_session_timeout": str(int(_STOPPED_SECONDS * 1000)),
            },
        },
    )


def prepare_file(path: Path) -> None:
    """Make a journal's file, and its folder where there is none, readable by nobody else.

    SQLite gives its two side files (-wal, -shm) the mode of the file itself.

    Raises:
        OSError: It can't be made.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Not opened without O_EXCL: closing any handle on a database gives up the locks that this process holds on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY))
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        with contextlib.suppress(FileNotFoundError):
            _keep_others_out(file)


def _keep_others_out(file: Path) -> None:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        try:
            file.chmod(_OWNER_ONLY)
        except PermissionError:
            _log.warning("the journal can be read by others, and belongs to another user", file=file, mode=f"{mode:o}")
        else:
            _log.warning("the journal could be read by others, now it can't", file=file, mode=f"{mode:o}")


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name, None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _set_up_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001 - as SQLAlchemy calls it
    # Transactions are begun by `_begin_sqlite`, not by the sqlite3 module behind our back.
    connection.isolation_level = None
    cursor = connection.cursor()
    for setting in (
        f"busy_timeout = {int(PATIENCE_SECONDS * 1000) - 500}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where something will be written: two readers that both want it would be stuck."""
    options: Any = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES) else "BEGIN")
