"""How the host connects: the URL is read here, and nothing that it asks a database waits without an end.

A process may freeze in the middle of a transaction (SIGSTOP, a paused container, a swapped-out machine). PostgreSQL
keeps its locks then, and `idle_in_transaction_session_timeout` does not end a session whose next message it awaits in
the middle of a statement. So there are limits for each connection, statement, lock and idle transaction, and what
outlives them is ended by the first host that waited for it in vain (`Database.begin`).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from lightning_host.settings import SettingsError

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.engine import URL

__all__ = ["APPLICATION_NAME", "LOCK_SECONDS", "insist_on_file", "make_engine", "read_url"]

APPLICATION_NAME: Final = "lightning-host"
"""By what PostgreSQL shows the host's sessions, and by what one host knows another's."""

LOCK_SECONDS: Final = 2.0
"""How long to wait for a lock. A transaction of the host takes milliseconds."""

_CONNECT_SECONDS: Final = 4.0
_POOL_SECONDS: Final = 5.0
_STATEMENT_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 10.0
_MIGRATION_SECONDS: Final = 15 * 60.0
_SQLITE_WAIT_MS: Final = 15_000
_GUARDS: Final = {
    "application_name": APPLICATION_NAME,
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    "statement_timeout": f"{_STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{_STATEMENT_SECONDS:.0f}s",
    "default_transaction_isolation": "read committed",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": f"{_SILENCE_SECONDS:.0f}s",
}
"""What PostgreSQL is told about each session."""


def read_url(text_of_url: str) -> URL:
    """Read `DATABASE_URL`.

    Raises:
        SettingsError: It is not one of SQLite or PostgreSQL.

    """
    try:
        url = make_url(text_of_url)
    except ArgumentError:
        raise SettingsError("DATABASE_URL must be such as sqlite+aiosqlite:///file or postgresql://...") from None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg"}
    name = drivers.get(url.drivername, url.drivername)
    if name not in drivers.values():
        raise SettingsError("DATABASE_URL must begin with sqlite or postgresql")
    return url.set(drivername=name)


def insist_on_file(url: URL) -> None:
    """Open and close a SQLite file, and make it private: it holds the secrets of webhooks.

    An aiosqlite connection that fails leaves a thread that outlives the event loop, so this comes first.

    Raises:
        sqlite3.Error: It can't be opened.

    """
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        path = Path(url.database)
        with closing(sqlite3.connect(path)):
            pass
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
            path.chmod(0o600)


def make_engine(url: URL, *, migrating: bool = False) -> AsyncEngine:
    """Make the pool of connections; opens none.

    Args:
        url: The database.
        migrating: Whether the tables are to be changed, which may take minutes.

    Raises:
        SettingsError: A package that the URL needs is not installed.

    """
    if url.get_backend_name() == "postgresql":
        guards = {"application_name": f"{APPLICATION_NAME} migrating"} if migrating else _GUARDS
        try:
            return create_async_engine(
                url,
                hide_parameters=True,
                pool_pre_ping=True,
                pool_size=10,
                max_overflow=10,
                pool_timeout=_POOL_SECONDS,
                connect_args={
                    "timeout": _CONNECT_SECONDS,
                    "command_timeout": _MIGRATION_SECONDS if migrating else _SILENCE_SECONDS,
                    "server_settings": guards,
                },
            )
        except ModuleNotFoundError as error:
            raise SettingsError(f"DATABASE_URL needs the package {error.name}: pip install {error.name}") from None
    # Values, such as a payer's words, must stand in no log: neither in an error's words nor in what aiosqlite tells.
    engine = create_async_engine(url, hide_parameters=True)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # Readers do not wait for the writer, and a writer waits for its turn instead of failing.
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA busy_timeout={_SQLITE_WAIT_MS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine
