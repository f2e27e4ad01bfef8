"""What the host remembers, in SQLite or PostgreSQL, through SQLAlchemy Core.

Each subject keeps its tables in its own module, made against `metadata`; `Database.open` creates those that are
missing. Times are milliseconds since 1970 (UTC), amounts are millisatoshi: whole numbers that both databases keep
alike.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from lightning_host.database.engine import APPLICATION_NAME, LOCK_SECONDS, insist_on_file, make_engine, read_url
from lightning_host.database.errors import DatabaseUnusable, SchemaError, reason_of, sqlstate_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from connection_strings import Secret

__all__ = ["SCHEMA_VERSION", "Database", "from_ms", "metadata", "now_ms", "to_ms"]

_log: Final = logging.getLogger("lightning_host")

SCHEMA_VERSION: Final = 3
"""The version of all tables together; goes up with each change, together with a step in `_STEPS`."""

metadata: Final = MetaData()
"""Every table of the host."""

_STEPS: Final[Mapping[int, tuple[str, ...]]] = {
    2: ("ALTER TABLE host_webhooks ADD COLUMN automatic_redelivery BOOLEAN NOT NULL DEFAULT TRUE",),
    3: (
        "CREATE INDEX host_settlements_by_number ON host_settlements (store, number)",
        "CREATE INDEX host_settlements_by_time ON host_settlements (store, paid_at, number, amount_msat)",
        "CREATE INDEX host_settlements_by_amount ON host_settlements (store, amount_msat)",
        "CREATE INDEX host_settlements_by_reference ON host_settlements (store, external_id)",
        "CREATE INDEX host_checkouts_overpaid ON host_checkouts (store) WHERE overpaid_msat > 0",
    ),
}
"""For each version the statements that lead to it from the one before."""

_schema: Final = Table("host_schema", metadata, Column("version", Integer, nullable=False))
_counters: Final = Table(
    "host_counters",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

_ADVISORY_LOCK: Final = 0x6C69_6768_746E  # any number that nothing else in this database uses
_LOCK_NOT_AVAILABLE: Final = "55P03"
_END_FROZEN: Final = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
    " AND datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
    " AND state <> 'idle' AND wait_event = 'ClientRead'"
    " AND xact_start < clock_timestamp() - make_interval(secs => :seconds)"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
        location = read_url(url.reveal())
        migrating = make_engine(location, migrating=True)
        try:
            insist_on_file(location)
            async with migrating.begin() as connection:
                await _prepare(connection)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise DatabaseUnusable(f"the database (DATABASE_URL) can't be used: {reason_of(error)}") from error
        finally:
            await migrating.dispose()
        return cls(make_engine(location))

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction that is kept when the block ends well, and undone when it raises.

        One that waited for a lock in vain has whatever frozen process holds it ended, so that the next one gets it.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if sqlstate_of(error) == _LOCK_NOT_AVAILABLE:
                await self._end_frozen()
            raise

    @asynccontextmanager
    async def within(self, connection: AsyncConnection | None) -> AsyncIterator[AsyncConnection]:
        """Give the transaction that is under way, or else one of its own."""
        if connection is not None:
            yield connection
            return
        async with self.begin() as own:
            yield own

    async def prove(self, counter: str) -> None:
        """Prove that a number of a counter could be taken now; takes none.

        Raises:
            SQLAlchemyError: It does not.

        """
        async with self.begin() as connection:
            await self.next_number(connection, counter)
            await connection.rollback()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    async def _end_frozen(self) -> None:
        """End sessions of hosts in whose open transactions PostgreSQL has waited for the client as long as we did."""
        try:
            async with asyncio.timeout(LOCK_SECONDS), self.engine.begin() as connection:
                ended = await connection.execute(_END_FROZEN, {"name": APPLICATION_NAME, "seconds": LOCK_SECONDS})
                count = len(ended.all())
        except (SQLAlchemyError, OSError) as error:
            _log.warning("what holds a lock of the database can't be found out: %s", type(error).__name__)
            return
        if count:
            _log.warning("ended %d sessions of hosts that were frozen in a transaction", count)

    @staticmethod
    async def next_number(connection: AsyncConnection, name: str) -> int:
        """Take the next number of a counter, from one.

        The next one to ask waits until this transaction has ended, so numbers become visible in their order; that makes
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


async def _prepare(connection: AsyncConnection) -> None:
    """Create the tables, or bring older ones up to date; replicas that start together take turns."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
    await connection.run_sync(_schema.create, checkfirst=True)
    version = (await connection.execute(select(_schema.c.version))).scalar_one_or_none()
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaError(f"the database has schema {version}, this host knows {SCHEMA_VERSION}; upgrade the host")
    await connection.run_sync(metadata.create_all)
    if version is None:
        await connection.execute(insert(_schema).values(version=SCHEMA_VERSION))
        return
    for step in range(version + 1, SCHEMA_VERSION + 1):
        for statement in _STEPS[step]:
            await connection.execute(text(statement))
    await connection.execute(update(_schema).values(version=SCHEMA_VERSION))
