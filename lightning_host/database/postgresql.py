"""Transactions on a PostgreSQL server, none of which waits without an end.

A process may freeze in the middle of a transaction (SIGSTOP, a paused container, a swapped-out machine), or be cut off.
So each transaction that writes begins by telling the server how long it may take and stay idle: the server itself takes
the locks from it, before those who wait for them give up. That is said inside the transaction, so it holds behind a
pooler such as pgbouncer, too. psycopg sends a statement whole: a process that freezes between two statements is idle
for the server, never in the middle of one. It prepares nothing, which a pooler in transaction mode would lose.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import certifi
import psycopg
from psycopg import waiting
from sqlalchemy import ARRAY, String, Text, bindparam, column, event, func, insert, select
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import create_async_engine

from lightning_host.database.errors import is_away

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psycopg.abc import PQGen
    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from connection_strings import Secret

__all__ = ["PostgresqlDatabase"]

T = TypeVar("T")

_APPLICATION_NAME: Final = "lightning-host"
_WRITES: Final = "lightning_host_writes"
_NOT_DURABLE: Final = "lightning_host_not_durable"
_CONNECTIONS: Final = 10
"""How many there are at most; all are kept, as to make one again for each transaction costs more than most of them."""

_TOGETHER: Final = 128
"""How many rows are added by one statement at the most."""

_FRESH_SECONDS: Final = 1.0
"""For how long after its last use a connection is taken without asking the server whether it is still there."""

_CONNECT_SECONDS: Final = 4
_POOL_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 3.0
_LOCK_SECONDS: Final = 4.5
"""Longer than a frozen transaction stays: who waits for its lock gets it."""

_STATEMENT_SECONDS: Final = 5.0
_TRANSACTION_SECONDS: Final = 8.0
_SILENCE_SECONDS: Final = 10.0
_KNOWS_TRANSACTION_TIMEOUT: Final = 170_000
"""The first version of PostgreSQL that limits a transaction as a whole."""

_MIGRATION_SECONDS: Final = 15 * 60.0


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A row that somebody waits to have added."""

    table: Table
    values: Mapping[str, Any]
    done: asyncio.Future[None]

    @property
    def kind(self) -> tuple[Table, tuple[str, ...]]:
        """What rows that one statement adds have in common."""
        return self.table, tuple(self.values)


class PostgresqlDatabase:
    """A PostgreSQL server.

    Args:
        parameters: What libpq is told to reach it, as JSON.

    """

    dialect = "postgresql"

    def __init__(self, parameters: Secret) -> None:
        self._parameters = parameters
        self.engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._connect,
            hide_parameters=True,  # values, such as a payer's words, must stand in no error's words
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            use_native_hstore=False,
        )
        event.listen(self.engine.sync_engine, "begin", _begin)
        event.listen(self.engine.sync_engine, "checkin", _note_use)
        event.listen(self.engine.sync_engine, "checkout", self._insist_on_life)
        self._to_write = self.engine.execution_options(**{_WRITES: _STATEMENT_SECONDS})
        self._to_write_soon = self._to_write.execution_options(**{_NOT_DURABLE: True})
        self._rows: list[_Row] = []
        self._adding: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do something that only reads, each statement by itself."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Do something in a transaction; what is not durable is written to the server's disk a moment later."""
        async with (self._to_write if durable else self._to_write_soon).begin() as connection:
            return await connection.run_sync(work)

    async def add(self, table: Table, row: Mapping[str, Any]) -> None:
        """Add a row, together with those that others add meanwhile.

        It is one statement, which is kept or not, and leaves no lock to a process that freezes. A row is added also
        where the caller is cancelled.
        """
        done = asyncio.get_running_loop().create_future()
        self._rows.append(_Row(table, row, done))
        if self._adding is None:
            self._adding = asyncio.create_task(self._add_all(), name="add rows to the database")
        await done

    async def migrate(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that may take minutes."""
        patient = self.engine.execution_options(**{_WRITES: _MIGRATION_SECONDS})
        async with patient.connect() as connection:
            wire: Any = (await connection.get_raw_connection()).driver_connection
            wire.silence_seconds = _MIGRATION_SECONDS
            try:
                async with connection.begin():
                    return await connection.run_sync(work)
            finally:
                del wire.silence_seconds

    async def aclose(self) -> None:
        """Close every connection, once the rows that wait have been added."""
        if (adding := self._adding) is not None:
            await asyncio.wait([adding], timeout=_STATEMENT_SECONDS)
            adding.cancel()
            await asyncio.gather(adding, return_exceptions=True)
        await self.engine.dispose()

    async def _add_all(self) -> None:
        """Add what waits, one batch of alike rows after the other, until nothing is left."""
        batch: list[_Row] = []
        try:
            while self._rows:
                kind = self._rows[0].kind
                batch = [row for row in self._rows if row.kind == kind][:_TOGETHER]
                self._rows = [row for row in self._rows if row not in batch]
                await self._add_together(batch)
        finally:
            self._adding = None
            for row in (*batch, *self._rows):  # nobody may be left waiting
                row.done.cancel()
            self._rows = []

    async def _add_together(self, batch: Sequence[_Row]) -> None:
        """Add rows by one statement; where one of them is wrong, each by its own."""
        table, names = batch[0].kind
        failure: Exception | None = None
        try:
            async with self.engine.connect() as connection:
                columns = {f"all_{name}": [row.values[name] for row in batch] for name in names}
                await connection.execute(_addition(table, names), columns)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers
            failure = error
        if failure is not None and len(batch) > 1 and not is_away(failure):
            for row in batch:
                await self._add_together([row])
            return
        for row in batch:
            if row.done.done():
                continue
            if failure is None:
                row.done.set_result(None)
            else:
                row.done.set_exception(failure)

    def _insist_on_life(
        self, connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        """Make sure that a connection from the pool still leads to the server.

        That costs a round trip, so one that was used a moment ago is only looked at: the end of it, from the server or
        from the network, can be read.

        Raises:
            InvalidatePoolError: It does not; the pool makes another, and takes none of those that it has.

        """
        del proxy
        if (used_at := entry.info.get("used_at")) is None:
            return  # it has just been made
        wire: Any = entry.driver_connection
        try:
            if time.monotonic() - used_at > _FRESH_SECONDS or _is_readable(wire.fileno()):
                self.engine.dialect.do_ping(connection)
        except psycopg.Error:
            raise InvalidatePoolError from None

    async def _connect(self) -> _Connection:
        """Connect, in a task of its own: psycopg's frames hold the password, and a host may print them.

        Raises:
            psycopg.Error: That is not possible now.

        """
        connecting = asyncio.create_task(
            _Connection.connect(**_parameters(self._parameters), autocommit=True, prepare_threshold=None),
            name="connect to the database",
        )
        try:
            return await asyncio.shield(connecting)
        except psycopg.Error as error:
            raise error.with_traceback(None) from None
        except asyncio.CancelledError:
            # Cancelled in the middle it would leave a socket open; it takes `_CONNECT_SECONDS` for each address.
            connecting.add_done_callback(_close_unwanted)
            await asyncio.wait([connecting])
            raise


class _Connection(psycopg.AsyncConnection[Any]):
    """A connection whose every wait for the server has an end, and which is closed when its caller gives up.

    psycopg itself would ask the server to end the statement, and wait for that. A server that finds the connection
    closed undoes what it began.
    """

    silence_seconds = _SILENCE_SECONDS

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109 - as psycopg calls it
        """Wait for the server as psycopg does, for a limited time.

        Raises:
            psycopg.OperationalError: It did not answer.

        """
        try:
            async with asyncio.timeout(self.silence_seconds if timeout is None else timeout):
                return await waiting.wait_async(gen, self.pgconn.socket, interval=interval)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
        except TimeoutError:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from None


@cache
def _addition(table: Table, names: tuple[str, ...]) -> Insert:
    """Return what adds any number of rows, the values of each column as one array `all_...`.

    Texts are cast as such: a cast to a length would cut them, where an INSERT refuses what is too long.
    """
    kinds = {name: Text() if isinstance(table.c[name].type, String) else table.c[name].type for name in names}
    arrays = (bindparam(f"all_{name}", type_=ARRAY(kind)) for name, kind in kinds.items())
    rows = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in kinds.items())).render_derived()
    return insert(table).from_select([*names], select(*rows.c))


def _note_use(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    """Take note of when a connection came back to the pool."""
    del connection
    entry.info["used_at"] = time.monotonic()


def _is_readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as looking:
        looking.register(descriptor, selectors.EVENT_READ)
        return bool(looking.select(0))


def _close_unwanted(connecting: asyncio.Task[_Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().pgconn.finish()


def _parameters(told: Secret) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(_SILENCE_SECONDS * 1_000),
        **json.loads(told.reveal()),
        "application_name": _APPLICATION_NAME,
    }
    if parameters.get("sslmode", "").startswith("verify-") and not os.environ.get("PGSSLROOTCERT"):
        parameters.setdefault("sslrootcert", ssl.get_default_verify_paths().cafile or certifi.where())
    return parameters


def _begin(connection: Connection) -> None:
    """Begin a transaction that writes, and say its limits in the same message; what only reads needs none."""
    options = connection.get_execution_options()
    seconds = options.get(_WRITES)
    if seconds is None:
        return
    info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # it is there while connected
    migrating = seconds == _MIGRATION_SECONDS
    limits = {
        "lock_timeout": seconds if migrating else _LOCK_SECONDS,
        "statement_timeout": seconds,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS,
        "tcp_user_timeout": _SILENCE_SECONDS,
    }
    if info.server_version >= _KNOWS_TRANSACTION_TIMEOUT:
        limits["transaction_timeout"] = seconds if migrating else _TRANSACTION_SECONDS
    told = "".join(f"; SET LOCAL {name} = {int(value * 1_000)}" for name, value in limits.items())
    if options.get(_NOT_DURABLE):
        told += "; SET LOCAL synchronous_commit = off"
    alive = "; SET LOCAL tcp_keepalives_idle = 5; SET LOCAL tcp_keepalives_interval = 2"
    connection.exec_driver_sql(f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE{told}{alive}")
