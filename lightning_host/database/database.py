"""What the host remembers, in SQLite or PostgreSQL, through SQLAlchemy Core.

Each subject keeps its tables in its own module, made against `metadata`; `Database.open` creates those that are
missing. Times are milliseconds since 1970 (UTC), amounts are millisatoshi: whole numbers that both databases keep
alike.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, bindparam, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from lightning_host.database.errors import DatabaseUnusable, SchemaError, reason_of
from lightning_host.database.location import read_url
from lightning_host.database.migrations import STEPS
from lightning_host.database.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sqlalchemy import Connection

    from connection_strings import Secret
    from lightning_host.database.location import Location

__all__ = [
    "SCHEMA_VERSION",
    "Database",
    "add_to_sums",
    "from_ms",
    "insert_if_new",
    "metadata",
    "now_ms",
    "take_numbers",
    "to_ms",
]

T = TypeVar("T")

SCHEMA_VERSION: Final = 4
"""The version of all tables together; goes up with each change, together with a step in migrations.py."""

metadata: Final = MetaData()
"""Every table of the host."""

_schema: Final = Table("host_schema", metadata, Column("version", Integer, nullable=False))
_counters: Final = Table(
    "host_counters",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
_RAISE: Final = (
    update(_counters)
    .where(_counters.c.name == bindparam("counter"))
    .values(value=_counters.c.value + bindparam("count"))
    .returning(_counters.c.value)
)

_ADVISORY_LOCK: Final = 0x6C69_6768_746E  # any number that nothing else in this database uses
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Kind(Protocol):
    """One kind of database, on the running event loop; it connects when it is used."""

    async def read(self, work: Callable[[Connection], T]) -> T: ...
    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T: ...
    async def add(self, table: Table, row: Mapping[str, Any]) -> None: ...
    async def migrate(self, work: Callable[[Connection], T]) -> T: ...
    async def aclose(self) -> None: ...


class Database:
    """One database, shared by everything in this process and perhaps by other replicas.

    What is done is given as a function that takes a connection. It does nothing else that lasts, nor waits for
    anything: it may be undone, and done again.
    """

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind

    @classmethod
    async def open(cls, url: Secret) -> Self:
        """Connect, and create or renew the tables.

        Raises:
            SettingsError: The URL is not one of SQLite or PostgreSQL, or what it needs is not installed.
            SchemaError: A newer version of the host has been here.
            DatabaseUnusable: It can't be reached, read or written.

        """
        location = read_url(url.reveal())
        try:
            kind = _at(location)
            try:
                await kind.migrate(_prepare)
            except BaseException:
                await kind.aclose()
                raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise DatabaseUnusable(
                f"the database (LIGHTNING_HOST_DATABASE_URL) can't be used: {reason_of(error)}"
            ) from error
        return cls(kind)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do something that only reads.

        Raises:
            SQLAlchemyError: The database can't be used now (`is_away`), or the work is wrong.

        """
        return await self._kind.read(work)

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Do something in a transaction: once this returns it has been kept, and when the work raises it is undone.

        Args:
            work: What is done.
            durable: Whether this waits until it is on the disk. What does not wait is seen by everybody at once and
                outlives this process; only a power cut may undo the last of it, in the order it was written. Never for
                money.

        Raises:
            SQLAlchemyError: The database can't be used now (`is_away`), or the work is wrong.

        """
        return await self._kind.write(work, durable=durable)

    async def add(self, table: Table, row: Mapping[str, Any]) -> None:
        """Add a row, which is kept once this returns: one statement is a transaction by itself.

        Raises:
            SQLAlchemyError: The database can't be used now (`is_away`), or the row is wrong.

        """
        await self._kind.add(table, row)

    async def prove(self, counter: str) -> None:
        """Prove that a number of a counter could be taken now.

        Raises:
            SQLAlchemyError: It does not.

        """
        await self.write(lambda connection: take_numbers(connection, counter, 0))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._kind.aclose()


def _at(location: Location) -> _Kind:
    """Make ready to connect to a database."""
    if location.parameters is None:
        return SqliteDatabase(location)
    from lightning_host.database.postgresql import PostgresqlDatabase  # noqa: PLC0415 - loads psycopg

    return PostgresqlDatabase(location.parameters)


def take_numbers(connection: Connection, counter: str, count: int = 1) -> int:
    """Take the next numbers of a counter, from one; gives the last of them.

    The next one to ask waits until this transaction has ended, so numbers become visible in their order; that makes
    a counter good as a lock, too.
    """
    number = connection.execute(_RAISE, {"counter": counter, "count": count}).scalar_one_or_none()
    if number is not None:
        return int(number)
    insert_if_new(connection, _counters, {"name": counter, "value": 0})
    return take_numbers(connection, counter, count)


def insert_if_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key exists; tell whether it was inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(dict(row)).on_conflict_do_nothing()
    # Unless told so, SQLAlchemy does not keep how many rows an INSERT has added: with PostgreSQL that is -1 then.
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


def add_to_sums(connection: Connection, table: Table, key: Mapping[str, Any], more: Mapping[str, int]) -> None:
    """Add numbers to the row that keeps sums under a key; one that is not there yet begins at zero."""
    kept = [table.c[name] == value for name, value in key.items()]
    add = table.update().where(*kept).values({name: table.c[name] + number for name, number in more.items()})
    if connection.execute(add).rowcount == 0:
        insert_if_new(connection, table, {**key, **dict.fromkeys(more, 0)})
        connection.execute(add)


def now_ms() -> int:
    """Return the time, in milliseconds since 1970."""
    return to_ms(datetime.now(UTC))


def to_ms(time: datetime) -> int:
    """Turn an aware time into milliseconds since 1970."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int) -> datetime:
    """Turn milliseconds since 1970 into an aware UTC time."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _prepare(connection: Connection) -> None:
    """Create the tables, or bring older ones up to date; replicas that start together take turns."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
    _schema.create(connection, checkfirst=True)
    version = connection.execute(select(_schema.c.version)).scalar_one_or_none()
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaError(f"the database has schema {version}, this host knows {SCHEMA_VERSION}; upgrade the host")
    metadata.create_all(connection)
    if version is None:
        connection.execute(insert(_schema).values(version=SCHEMA_VERSION))
        return
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in STEPS[step]:
            connection.execute(text(statement))
    connection.execute(update(_schema).values(version=SCHEMA_VERSION))
