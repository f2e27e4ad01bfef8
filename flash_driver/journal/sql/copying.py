"""Moves a journal into another database, of the same kind or the other: everything or nothing.

Numbers stay as they are, so that a cursor of before goes on where it stood. Two journals of one account must never be
in use at the same time: neither would know what the other one pays. Two databases have no common commit, so there are
four, in this order, and the third is the one that decides:

1. The source notes the number of this attempt.
2. The target holds every row and that number, and is held: no driver uses it.
3. The source is sealed: no driver uses it any more. Of its attempts it keeps the one that was completed.
4. The target is released.

A process that ends before 3 leaves the source in use, as it was; the next attempt deletes what the broken one wrote.
One that ends between 3 and 4 leaves two journals that nobody uses; the same command, run again, does what is left.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import uuid4

from sqlalchemy import Column, MetaData, String, Table, create_engine, delete, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from flash_driver.journal.errors import JournalError, explain
from flash_driver.journal.sql.copied_rows import TABLES, Contents, add_rows, continue_numbers, delete_rows, read_rows
from flash_driver.journal.sql.files import prepare_file
from flash_driver.journal.sql.migrations import (
    LOCK,
    NEWEST,
    find_version,
    hold,
    is_held,
    is_sealed,
    migrate,
    release,
    seal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from flash_driver.journal.urls import JournalUrl

__all__ = ["copy_journal"]

_LOCKED_SECONDS: Final = 2.0
_STATEMENT_SECONDS: Final = 600

_STOP_ALL: Final = "stop every process that uses it, then copy it"
_OTHERS: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name = current_setting('application_name')
"""

_attempts: Final = Table("flash_copies", MetaData(), Column("attempt", String, primary_key=True))
"""Which attempts to copy a journal there were; in a database that took part in one."""


def copy_journal(source: JournalUrl, target: JournalUrl) -> dict[str, int]:
    """Copy every row, compare what arrived, and retire the source; return how many rows each table has.

    What an earlier call with the same two journals has left undone is done.

    Args:
        source: A journal of this driver's version, in a file or database, that no process uses.
        target: Where nothing has been kept yet.

    Raises:
        JournalError: It can't be done, and why. Drivers use the source as before, unless the error says that the copy
            has to be finished.

    """
    with ExitStack() as stack:
        with _explained(source):
            read = stack.enter_context(_opened(source, must_exist=True))
            sealed = is_sealed(read)
            if not sealed:
                attempt = _begin_attempt(read, source)
            ours = _attempts_of(read)
        with _explained(target):
            write = stack.enter_context(_opened(target, must_exist=False))
            _lock(write, target)
            arrived = is_held(write) and _attempts_of(write) <= ours
        if sealed and not arrived:
            find_version(read, source)
        if not sealed:
            with _explained(target):
                _make_empty(write, target, arrived=arrived)
            contents = _copy(read, write, source, target)
            with _explained(target):
                _hold_for(attempt, write)
                _begin(write, target)
            with _unfinished(source):
                _seal_after(attempt, read)
        with _unfinished(target):
            if sealed:
                contents = Contents.of(write)
            release(write)
            _attempts.drop(write)
            write.commit()
    return contents.counts


def _begin_attempt(connection: Connection, journal: JournalUrl) -> str:
    """Note an attempt to copy a journal, and leave the journal locked; return what the attempt is called."""
    _insist_on_present(connection, journal)
    _attempts.create(connection, checkfirst=True)
    attempt = uuid4().hex
    connection.execute(insert(_attempts).values(attempt=attempt))
    connection.commit()
    _begin(connection, journal)
    _insist_on_present(connection, journal)
    return attempt


def _make_empty(connection: Connection, journal: JournalUrl, *, arrived: bool) -> None:
    """Make tables without rows; where a broken attempt from the same source has left rows, they are deleted."""
    if arrived:
        release(connection)
        delete_rows(connection)
        _attempts.drop(connection)
    migrate(connection, journal)
    for table in TABLES:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise JournalError(str(journal), "is not empty", "name a file or database where nothing was kept yet")


def _copy(read: Connection, write: Connection, source: JournalUrl, target: JournalUrl) -> Contents:
    """Copy all rows, and compare; return what was copied."""
    contents, pages = Contents(), read_rows(read)
    while True:
        with _explained(source):
            page = next(pages, None)
            if page is None:
                break
            contents.add(*page)
        with _explained(target):
            add_rows(write, *page)
    with _explained(target):
        continue_numbers(write)
        if Contents.of(write) != contents:
            raise JournalError(str(target), "does not hold what was written to it", "check its disk, then try again")
    return contents


def _hold_for(attempt: str, connection: Connection) -> None:
    """Keep the copy, which nobody may use yet."""
    hold(connection)
    _attempts.create(connection)
    connection.execute(insert(_attempts).values(attempt=attempt))
    connection.commit()


def _seal_after(attempt: str, connection: Connection) -> None:
    """Retire the source for the copy that this attempt has made, and for no other."""
    seal(connection)
    connection.execute(delete(_attempts).where(_attempts.c.attempt != attempt))
    connection.commit()


def _attempts_of(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(_attempts.name):
        return set()
    return set(connection.execute(select(_attempts.c.attempt)).scalars())


def _insist_on_present(connection: Connection, journal: JournalUrl) -> None:
    """Lock what is to be copied, which has to be a journal of this version that nobody uses."""
    _lock(connection, journal)
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
        names = ", ".join(table.name for table in TABLES)
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE NOWAIT"))


def _lock(connection: Connection, journal: JournalUrl) -> None:
    """Let nobody open the journal until the transaction ends; a SQLite file is locked whole.

    Raises:
        JournalError: One does so now, or an attempt to copy is not over.

    """
    if connection.dialect.name == "postgresql":
        query = text("SELECT pg_try_advisory_xact_lock(:number)")
        if not connection.execute(query, {"number": LOCK}).scalar_one():
            raise JournalError(str(journal), "is in use", _STOP_ALL)


@contextmanager
def _opened(journal: JournalUrl, *, must_exist: bool) -> Iterator[Connection]:
    """Yield a connection in a transaction, which is taken back unless it is committed."""
    engine = _postgresql(journal) if journal.path is None else _sqlite(journal.path, must_exist=must_exist)
    try:
        with engine.connect() as connection:
            _begin(connection, journal)
            yield connection
    finally:
        engine.dispose()


def _begin(connection: Connection, journal: JournalUrl) -> None:
    """Begin a transaction. No other process uses a SQLite file then; one that does nothing has it locked a little too.

    Raises:
        JournalError: One uses it.

    """
    if journal.path is None:
        return  # psycopg begins by itself
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
    from flash_driver.journal.sql.postgresql import connect_blocking  # noqa: PLC0415 - psycopg is an extra

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


@contextmanager
def _unfinished(journal: JournalUrl) -> Iterator[None]:
    """Explain what goes wrong when every row is in the target already."""
    try:
        with _explained(journal):
            yield
    except JournalError as error:
        remedy = f"{error.remedy}; then run the same flash-driver journal copy again, which finishes it"
        raise JournalError(error.journal, error.reason, remedy) from error
