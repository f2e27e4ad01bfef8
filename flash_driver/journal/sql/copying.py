"""Moves a journal into another database, of the same kind or the other: everything or nothing.

Numbers stay as they are, so that a cursor of before goes on where it stood. Two journals of one account must never be
in use at the same time: neither would know what the other one pays. So nobody may use the source while it is copied,
and once the copy is complete no driver uses the source any more (`migrations.find_version`).
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from flash_driver.journal.errors import JournalError, explain
from flash_driver.journal.sql.files import prepare_file
from flash_driver.journal.sql.migrations import NEWEST, find_version, migrate, seal
from flash_driver.journal.sql.postgresql import connect_blocking
from flash_driver.journal.sql.schema import accounts, invoices, logins, payments, spent
from flash_driver.journal.sql.upkeep import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Row, Table

    from flash_driver.journal.urls import JournalUrl

__all__ = ["copy_journal"]

_TABLES: Final = (accounts, logins, invoices, spent, payments)
"""In an order in which each finds the rows that it refers to."""

_LOCKED_SECONDS: Final = 2.0
_STATEMENT_SECONDS: Final = 600

_STOP_ALL: Final = "stop every process that uses it, then copy it"
_OTHERS: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name = current_setting('application_name')
"""
_NEXT_ID: Final = """
    SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL) FROM {table}
"""


def copy_journal(source: JournalUrl, target: JournalUrl) -> dict[str, int]:
    """Copy every row, compare what arrived, and retire the source; return how many rows each table has.

    Args:
        source: A journal of this driver's version, in a file or database, that no process uses.
        target: Where nothing has been kept yet.

    Raises:
        JournalError: It can't be done, and why; then nothing was copied, and the source is as it was. If it says that
            the source can't be retired, the copy is complete.

    """
    with ExitStack() as stack:
        with _explained(source):
            read = stack.enter_context(_opened(source, must_exist=True))
            _insist_on_present(read, source)
            seal(read)
        with _explained(target):
            write = stack.enter_context(_opened(target, must_exist=False))
            migrate(write, target)
            _lock(write)
            _insist_on_empty(write, target)
        copied = {table.name: _copy(read, write, table, source, target) for table in _TABLES}
        with _explained(target):
            if {table.name: _sum(write, table) for table in _TABLES} != copied:
                raise JournalError(
                    str(target), "does not hold what was written to it", "check its disk, then try again"
                )
            write.commit()
        with _explained(source):
            read.commit()
    return {name: count for name, (count, _) in copied.items()}


def _copy(read: Connection, write: Connection, table: Table, source: JournalUrl, target: JournalUrl) -> tuple[int, int]:
    """Copy the rows of a table; return how many they are, and the sum of their hashes."""
    count = total = 0
    pages = _pages(read, table)
    while True:
        with _explained(source):
            rows = next(pages, ())
            if not rows:
                break
            total += sum(map(_hash, rows))
        with _explained(target):
            write.execute(insert(table), [dict(row._mapping) for row in rows])  # noqa: SLF001 - its public name, as documented
        count += len(rows)
    if write.dialect.name == "postgresql" and "id" in table.c:
        with _explained(target):
            write.execute(text(_NEXT_ID.format(table=table.name)))
    return count, total


def _pages(connection: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of a table, not all at once, in the order of its key."""
    (key,) = table.primary_key.columns
    query = select(table).order_by(key).limit(ROWS)
    while rows := connection.execute(query).all():
        yield rows
        query = select(table).where(key > rows[-1]._mapping[key.name]).order_by(key).limit(ROWS)  # noqa: SLF001 - as above


def _sum(connection: Connection, table: Table) -> tuple[int, int]:
    """Return how many rows a table has, and the sum of their hashes, whatever their order."""
    pages = [(len(rows), sum(map(_hash, rows))) for rows in _pages(connection, table)]
    return sum(count for count, _ in pages), sum(total for _, total in pages)


def _hash(row: Row[Any]) -> int:
    values = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    return int.from_bytes(sha256(repr(values).encode()).digest())


def _insist_on_present(connection: Connection, journal: JournalUrl) -> None:
    """Lock what is to be copied, which has to be a journal of this version that nobody uses."""
    found = find_version(connection, journal)
    if not found:
        raise JournalError(str(journal), "is empty", "name the journal that is to be copied")
    if found < NEWEST:
        raise JournalError(
            str(journal), f"has the older schema version {found}", "run flash-driver journal show, then copy it"
        )
    if connection.dialect.name == "postgresql":
        if others := connection.execute(text(_OTHERS)).scalar_one():
            raise JournalError(str(journal), f"is in use by {others} connections", _STOP_ALL)
        _lock(connection)


def _insist_on_empty(connection: Connection, journal: JournalUrl) -> None:
    for table in _TABLES:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise JournalError(str(journal), "is not empty", "name a file or database where nothing was kept yet")


def _lock(connection: Connection) -> None:
    """Let nobody else write until the end; a SQLite file is locked whole."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in _TABLES)
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE NOWAIT"))


@contextmanager
def _opened(journal: JournalUrl, *, must_exist: bool) -> Iterator[Connection]:
    """Yield a connection in a transaction, which is taken back unless it is committed."""
    engine = _postgresql(journal) if journal.path is None else _sqlite(journal.path, must_exist=must_exist)
    try:
        with engine.connect() as connection:
            if journal.path is not None:
                _take_file(connection, journal)
            yield connection
    finally:
        engine.dispose()


def _take_file(connection: Connection, journal: JournalUrl) -> None:
    """Let no other process use a SQLite file until the end; also one that does nothing with it has it locked a little.

    Raises:
        JournalError: One uses it.

    """
    connection.exec_driver_sql("PRAGMA locking_mode = EXCLUSIVE")
    try:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
    except DBAPIError as error:
        if "locked" not in str(error.orig):
            raise
        raise JournalError(str(journal), "is in use", _STOP_ALL) from error


def _sqlite(path: Path, *, must_exist: bool) -> Engine:
    if must_exist and not path.exists():
        raise JournalError(f"the journal {path}", "is not there", "name the journal that is to be copied")
    if not must_exist:
        prepare_file(path)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None, timeout=_LOCKED_SECONDS
        )

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _postgresql(journal: JournalUrl) -> Engine:
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect_blocking(journal, _STATEMENT_SECONDS),
        poolclass=NullPool,
        hide_parameters=True,
        use_native_hstore=False,
    )


@contextmanager
def _explained(journal: JournalUrl) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        explained = None if isinstance(error, JournalError) else explain(error, journal)
        if explained is None:
            raise
        raise explained from error
