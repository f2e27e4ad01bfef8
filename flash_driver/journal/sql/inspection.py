"""Looks at a journal without changing anything in it: whether it could be used, and what version it has."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from flash_driver.journal.errors import JournalError, explain
from flash_driver.journal.sql.migrations import find_version
from flash_driver.journal.sql.transactions import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from flash_driver.journal.urls import JournalUrl

__all__ = ["inspect_journal"]

_LOCKED_SECONDS: Final = 2.0


async def inspect_journal(journal: JournalUrl) -> int:
    """Return the schema version of a journal in a file or database, zero when nothing has been kept there yet.

    A journal that can't be written to is of no use: a new invoice is journalled before it is handed out.

    Raises:
        JournalError: It can't be used; says why, and what to do.

    """
    try:
        if journal.path is not None:
            return await asyncio.to_thread(_inspect_file, journal, journal.path)
        from flash_driver.journal.sql.postgresql import PostgresqlDatabase  # noqa: PLC0415 - psycopg is an extra

        database = PostgresqlDatabase(journal)
        try:
            return await database.read(lambda connection: _inspect_database(connection, journal), PATIENCE_SECONDS)
        finally:
            await database.aclose()
    except Exception as error:
        explained = explain(error, journal)
        if isinstance(error, JournalError) or explained is None:
            raise
        raise explained from error


def _inspect_file(journal: JournalUrl, path: Path) -> int:
    if not path.exists():
        _insist_on_room_for(path)
        return 0

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None, timeout=_LOCKED_SECONDS
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            # Writes what is there already and takes it back: nothing else tells a file that can only be read.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version = {int(number)}")
            damage = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if damage != "ok":
                raise sqlite3.DatabaseError("database disk image is malformed")
            found = find_version(connection, journal)
            connection.exec_driver_sql("ROLLBACK")
            return found
    finally:
        engine.dispose()


def _insist_on_room_for(path: Path) -> None:
    """Make sure that the file could be made where it is not there yet."""
    folder = next(folder for folder in path.parents if folder.exists())
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, "not a folder")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise OSError(errno.EACCES, "not writable")


def _inspect_database(connection: Connection, journal: JournalUrl) -> int:
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on":
        raise JournalError(str(journal), "is read-only", "let FLASH_JOURNAL_URL name the primary server")
    return find_version(connection, journal)
