"""What the host remembers, in SQLite or PostgreSQL, through SQLAlchemy Core.

Each group keeps its tables in its own module, made against `metadata`; `Database.open` creates those that are missing.
Times are milliseconds since 1970 (UTC), amounts are millisatoshi: whole numbers that both databases keep alike.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, event, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lightning_host.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

    from sqlalchemy.engine import URL

    from connection_strings import Secret

__all__ = ["SCHEMA_VERSION", "Database", "DatabaseUnusable", "SchemaError", "from_ms", "metadata", "now_ms", "to_ms"]

SCHEMA_VERSION: Final = 1
"""The version of all tables together; goes up with each change, together with a step in `_STEPS`."""

metadata: Final = MetaData()
"""Every table of the host."""

_STEPS: Final[Mapping[int, tuple[str, ...]]] = {}
"""For each version the statements that lead to it from the one before."""

_schema: Final = Table("host_schema", metadata, Column("version", Integer, nullable=False))
_counters: Final = Table(
    "host_counters",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

_ADVISORY_LOCK: Final = 0x6C69_6768_746E  # any number that nothing else in this database uses
_SQLITE_WAIT_MS: Final = 15_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SchemaError(Exception):
    """The tables were made by a newer version of the host."""


class DatabaseUnusable(Exception):
    """The database can't be opened now; says what it answered, and shows no password."""


class Database:
    """One database, shared by everything in this process and perhaps by other replicas."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    async def open(cls, url: Secret) -> Self:
        """Connect, and create or renew the tables.

        Raises:
            SettingsError: The URL is not one of SQLite or PostgreSQL, or what it needs is not installed.
            SchemaError: A newer version of the host has been here.
            DatabaseUnusable: It can't be reached, read or written.

        """
        location = _read_url(url.reveal())
        database = cls(_engine(location))
        try:
            _insist_on_file(location)
            async with database.begin() as connection:
                await _prepare(connection)
        except BaseException as error:
            await database.aclose()
            if isinstance(error, SQLAlchemyError | sqlite3.Error | OSError):
                raise DatabaseUnusable(f"the database (DATABASE_URL) can't be used: {_reason(error)}") from error
            raise
        return database

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction that is kept when the block ends well, and undone when it raises."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def within(self, connection: AsyncConnection | None) -> AsyncIterator[AsyncConnection]:
        """Give the transaction that is under way, or else one of its own."""
        if connection is not None:
            yield connection
            return
        async with self.begin() as own:
            yield own

    async def ping(self) -> None:
        """Prove that the database answers."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @staticmethod
    async def next_number(connection: AsyncConnection, name: str) -> int:
        """Take the next number of a counter, from one.

        Whoever asks next waits until this transaction has ended, so numbers become visible in their order; that makes
        a counter good as a lock, too.
        """
        raised = await connection.execute(
            update(_counters)
            .where(_counters.c.name == name)
            .values(value=_counters.c.value + 1)
            .returning(_counters.c.value)
        )
        number = raised.scalar_one_or_none()
        if number is not None:
            return int(number)
        await Database.insert_if_new(connection, _counters, {"name": name, "value": 0})
        return await Database.next_number(connection, name)

    @staticmethod
    async def insert_if_new(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert a row unless one with the same key exists; tell whether it was inserted."""
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        added = await connection.execute(dialect.insert(table).values(dict(row)).on_conflict_do_nothing())
        return added.rowcount == 1


def now_ms() -> int:
    """Return the time, in milliseconds since 1970."""
    return to_ms(datetime.now(UTC))


def to_ms(time: datetime) -> int:
    """Turn an aware time into milliseconds since 1970."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """Turn milliseconds since 1970 into an aware UTC time."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _read_url(text_of_url: str) -> URL:
    try:
        url = make_url(text_of_url)
    except ArgumentError:
        raise SettingsError("DATABASE_URL must be such as sqlite+aiosqlite:///file or postgresql://...") from None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg"}
    name = drivers.get(url.drivername, url.drivername)
    if name not in drivers.values():
        raise SettingsError("DATABASE_URL must begin with sqlite or postgresql")
    return url.set(drivername=name)


def _insist_on_file(url: URL) -> None:
    """Open and close a SQLite file: an aiosqlite connection that fails leaves a thread that outlives the event loop.

    Raises:
        sqlite3.Error: It can't be opened.

    """
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        with closing(sqlite3.connect(url.database)):
            pass


def _reason(error: SQLAlchemyError | sqlite3.Error | OSError) -> str:
    """Return what the database itself said, in one line; SQLAlchemy's words around it quote statements."""
    inner: BaseException | None = error
    if isinstance(error, DBAPIError):
        # What SQLAlchemy gives for asyncpg's error begins with a class; asyncpg's own words are its cause.
        inner = error.orig and (error.orig.__cause__ or error.orig)
    elif isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return next(iter(str(inner).splitlines()), type(error).__name__)


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "postgresql":
        try:
            return create_async_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=10)
        except ModuleNotFoundError as error:
            raise SettingsError(f"DATABASE_URL needs the package {error.name}: pip install {error.name}") from None
    engine = create_async_engine(url)

    @event.listens_for(engine.sync_engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # Readers do not wait for the writer, and a writer waits for its turn instead of failing.
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA busy_timeout={_SQLITE_WAIT_MS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


async def _prepare(connection: AsyncConnection) -> None:
    """Create the tables, or bring older ones up to date; replicas that start together take turns."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
    await connection.run_sync(metadata.create_all)
    version = (await connection.execute(select(_schema.c.version))).scalar_one_or_none()
    if version is None:
        await connection.execute(insert(_schema).values(version=SCHEMA_VERSION))
        return
    if version > SCHEMA_VERSION:
        raise SchemaError(f"the database has schema {version}, this host knows {SCHEMA_VERSION}; upgrade the host")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in _STEPS[step]:
            await connection.execute(text(statement))
    await connection.execute(update(_schema).values(version=SCHEMA_VERSION))
