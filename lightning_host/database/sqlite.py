"""Transactions on a SQLite file, without holding up the event loop.

Threads of their own do the work: a transaction crosses to the writer's thread once, whole, and what several callers
write at the same time goes into one transaction, so that they share the wait for the disk. What need not be durable is
written before it, in a transaction that does not wait for the disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import URL, create_engine, event, insert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from lightning_host.database.location import Location

__all__ = ["SqliteDatabase"]

T = TypeVar("T")

_WRITES: Final = "lightning_host_writes"
_READERS: Final = 2
_TOGETHER: Final = 128
"""How many callers share a transaction at the most."""

_WAIT_MS: Final = 15_000
"""How long a transaction waits for another process."""

_CLOSE_SECONDS: Final = 4.0


class _Addition(NamedTuple):
    """A row that is added."""

    table: Table
    row: Mapping[str, Any]


_Work: TypeAlias = "Callable[[Connection], Any] | _Addition"


class _Queued(NamedTuple):
    """What a caller writes, and the caller's future."""

    work: _Work
    durable: bool
    done: asyncio.Future[Any]


class SqliteDatabase:
    """A SQLite file, or a database in memory: one thread writes, others read.

    Raises:
        sqlite3.Error: It can't be opened.

    """

    dialect = "sqlite"

    def __init__(self, location: Location) -> None:
        path = str(location.path)
        if not location.in_memory:
            _make_private(Path(path))
        self.engine = create_engine(
            URL.create("sqlite", database=path),
            hide_parameters=True,  # values, such as a payer's words, must stand in no error's words
            connect_args={"check_same_thread": False},
        )
        event.listen(self.engine, "connect", _set_up)
        event.listen(self.engine, "begin", _begin)
        self._to_write = {
            durable: self.engine.execution_options(**{_WRITES: "FULL" if durable else "NORMAL"})
            for durable in (True, False)
        }
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="host database writer")
        self._readers = self._writer  # a database in memory belongs to one thread
        if not location.in_memory:
            self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="host database reader")
        self._queue: list[_Queued] = []
        self._writing: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do something that only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Do something in a transaction, together with what others write meanwhile; kept once this returns.

        It is done whole, also when the caller is cancelled. If somebody else's work fails, it is done again.
        """
        written: T = await self._enqueue(work, durable=durable)
        return written

    async def add(self, table: Table, row: Mapping[str, Any]) -> None:
        """Add a row, together with what others write meanwhile; those of one table by one statement."""
        await self._enqueue(_Addition(table, row), durable=True)

    async def migrate(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that may take minutes."""
        return await self.write(work)

    async def aclose(self) -> None:
        """Close every connection, once what is queued has been written."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=_CLOSE_SECONDS)
        closing_all = self._writer.submit(self.engine.dispose)
        self._readers.shutdown(wait=False)
        self._writer.shutdown(wait=False)
        # A disk that hangs must not hang the close.
        await asyncio.wait([asyncio.wrap_future(closing_all)], timeout=_CLOSE_SECONDS)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection:
            return work(connection)

    def _enqueue(self, work: _Work, *, durable: bool) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        self._queue.append(_Queued(work, durable, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="write to the database")
        return done

    async def _write_all(self) -> None:
        """Write what is queued, one batch after the other, until nothing is left."""
        batch: Sequence[_Queued] = ()
        try:
            while self._queue:
                batch, self._queue = self._queue[:_TOGETHER], self._queue[_TOGETHER:]
                for durable in (False, True):
                    await self._write_together([each for each in batch if each.durable is durable], durable=durable)
        finally:
            self._writing = None
            for each in (*batch, *self._queue):  # nobody may be left waiting
                each.done.cancel()

    async def _write_together(self, batch: Sequence[_Queued], *, durable: bool) -> None:
        if not batch:
            return
        write = partial(self._together, [each.work for each in batch], durable=durable)
        results = await asyncio.get_running_loop().run_in_executor(self._writer, write)
        for each, result in zip(batch, results, strict=True):
            if each.done.done():
                continue
            if isinstance(result, BaseException):
                each.done.set_exception(result)
            else:
                each.done.set_result(result)

    def _together(self, works: Sequence[_Work], *, durable: bool) -> list[Any]:
        """Do everything in one transaction; where a piece fails by itself, each in one of its own."""
        by_itself = False
        try:
            with self._to_write[durable].begin() as connection:
                by_itself = True
                results = _do(connection, works)
                by_itself = False
        except Exception as error:  # noqa: BLE001 - it belongs to the callers
            if len(works) == 1 or not by_itself:
                return [error] * len(works)
            return [self._together([work], durable=durable)[0] for work in works]
        return results


def _do(connection: Connection, works: Sequence[_Work]) -> list[Any]:
    """Do everything; rows that several callers add to a table are added together."""
    added: defaultdict[tuple[Table, tuple[str, ...]], list[Mapping[str, Any]]] = defaultdict(list)
    for work in works:
        if isinstance(work, _Addition):
            added[work.table, tuple(work.row)].append(work.row)
    for (table, _), rows in added.items():
        connection.execute(insert(table), rows)
    return [None if isinstance(work, _Addition) else work(connection) for work in works]


def _make_private(path: Path) -> None:
    """Make the file where there is none, and keep others out: it holds the secrets of webhooks."""
    with closing(sqlite3.connect(path)):
        pass
    status = path.stat()
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
        path.chmod(0o600)


def _set_up(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001 - as SQLAlchemy calls it
    # Transactions are begun by `_begin`, not by the sqlite3 module behind our back.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Readers do not wait for the writer, and a writer waits for its turn instead of failing.
    for setting in (f"busy_timeout={_WAIT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take the write lock at once where something will be written: two that read first would both be stuck."""
    synchronous = connection.get_execution_options().get(_WRITES)
    if synchronous is None:
        return
    wire: Any = connection.connection.driver_connection
    wire.execute(f"PRAGMA synchronous={synchronous}")  # for this transaction; NORMAL may lose its end to a power cut
    connection.exec_driver_sql("BEGIN IMMEDIATE")
