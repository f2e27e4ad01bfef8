"""Transactions on a SQLite file, without holding up the event loop.

Threads of their own do the work. Through an asynchronous driver each statement crosses to a thread and back several
times, which costs more than the statement; here a whole transaction crosses once, and what several callers write at the
same time goes into one transaction, so that they share the wait for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from flash_driver.journal.errors import FileReplaced
from flash_driver.journal.sql.files import identity, prepare_file
from flash_driver.journal.sql.transactions import DURABLE, PATIENCE_SECONDS, WRITES, Insertion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    _Queued = tuple[Callable[[Connection], Any], bool, asyncio.Future[Any]]

__all__ = ["SqliteDatabase"]

T = TypeVar("T")

_TOGETHER: Final = 128
"""How many callers share a transaction at the most."""


class SqliteDatabase:
    """A SQLite file: one thread writes, on one connection; another reads, and a third reads what may take long.

    Args:
        path: Which file.

    """

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._to_read = _open(path, connections=2)
        self._to_write = _open(path, connections=1, writes=True)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._writer = _thread("writer")
        self._reader = _thread("reader")
        self._long_reader = _thread("long reader")
        self._queue: list[_Queued] = []
        self._batch: Sequence[_Queued] = ()
        self._disposing: Future[None] | None = None

    def prepare(self) -> None:
        """Make the file where there is none, readable by nobody else; from then on no other takes its place.

        Raises:
            OSError: It can't be made.

        """
        prepare_file(self.path)
        self._file = identity(self.path)

    def read(
        self,
        work: Callable[[Connection], T],
        seconds: float = PATIENCE_SECONDS,  # noqa: ARG002 - its caller ends it
        *,
        long: bool = False,
    ) -> asyncio.Future[T]:
        """Begin something that only reads; SQLite stops in the middle of it when the future is cancelled."""
        reading = _Reading(self._to_read, work)
        thread = self._long_reader if long else self._reader
        doing = asyncio.get_running_loop().run_in_executor(thread, reading.run)
        doing.add_done_callback(reading.stop_if_cancelled)
        return doing

    def write(
        self,
        work: Callable[[Connection], T],
        seconds: float = PATIENCE_SECONDS,  # noqa: ARG002 - busy_timeout
        *,
        durable: bool = True,
    ) -> asyncio.Future[T]:
        """Begin something in a transaction, together with what others write meanwhile; kept once the future is done.

        It is done also where the future is cancelled. The work changes nothing but the database: if somebody else's
        fails, it is done again in another transaction.

        Raises:
            FileReplaced: SQLite would go on writing to a file that somebody has deleted: what is kept there is lost.

        """
        if self._file is not None and identity(self.path) != self._file:
            raise FileReplaced
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if not (self._queue or self._batch):
            loop.call_soon(self._write_next, loop)  # not at once: what others write in this turn goes along
        self._queue.append((work, durable, done))
        return done

    async def version_of_others(self) -> object:
        """Return what is another value after another connection, of whatever process, has written to the file."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._data_version)

    async def aclose(self) -> None:
        """Close every connection; what is queued is given up, what a thread is at comes to its end."""
        self._give_up()
        # A disk that hangs must not hang the close.
        await asyncio.wait([asyncio.wrap_future(self.close())], timeout=PATIENCE_SECONDS)

    def close(self) -> Future[None]:
        """Begin to close every connection at once, each as soon as its thread has ended what it is at."""
        if self._disposing is None:
            self._disposing = self._writer.submit(self._dispose)
            for thread in (self._reader, self._long_reader):
                thread.shutdown(wait=False, cancel_futures=True)
            self._writer.shutdown(wait=False)
        return self._disposing

    def _write_next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the writer's thread write what is queued, as one batch."""
        if self._disposing is not None:
            self._give_up()
        if self._queue:
            self._batch, self._queue = self._queue[:_TOGETHER], self._queue[_TOGETHER:]
            self._writer.submit(self._write_batch, self._batch, loop)

    def _write_batch(self, batch: Sequence[_Queued], loop: asyncio.AbstractEventLoop) -> None:
        """Write a batch, in the writer's thread, and have the event loop tell who waits; it may have ended by then."""
        results: Sequence[Any]
        try:
            results = self._together([work for work, _, _ in batch], any(durable for _, durable, _ in batch))
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, who would wait in vain
            results = [error] * len(batch)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._tell, results, loop)

    def _tell(self, results: Sequence[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Give everybody of the batch what came of it, and go on with what was queued meanwhile."""
        batch, self._batch = self._batch, ()
        for (_, _, done), result in zip(batch, results, strict=False):  # after a close nobody waits
            if done.done():
                continue
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)
        self._write_next(loop)

    def _give_up(self) -> None:
        """Leave nobody waiting for what is not done."""
        for _, _, done in (*self._batch, *self._queue):
            done.cancel()
        self._batch, self._queue = (), []

    def _dispose(self) -> None:
        self._to_read.dispose()
        self._let_go()
        self._to_write.dispose()

    def _data_version(self) -> object:
        """Ask on the connection that writes: SQLite leaves out what was written on the same one."""
        connection = self._kept().connection
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA data_version")
            return connection.dbapi_connection, cursor.fetchone()

    def _kept(self) -> Connection:
        """Return the connection that writes, kept: to take it from its pool for each batch costs as much as a row."""
        if self._connection is None:
            self._connection = self._to_write.connect()
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _together(self, works: Sequence[Callable[[Connection], Any]], durable: bool) -> list[Any]:  # noqa: FBT001 - an executor passes no names
        """Do everything in one transaction; where a piece fails by itself, each in one of its own."""
        try:
            connection = self._kept().execution_options(**{DURABLE: durable})
            with connection.begin():
                return _do_all(connection, works)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers
            self._let_go()  # whatever state it is in
            its_own = not isinstance(error, DBAPIError) or isinstance(error, IntegrityError)
            if len(works) == 1 or not its_own:
                return [error] * len(works)
        return [self._together([work], durable)[0] for work in works]


class _Reading(Generic[T]):
    """One piece of work of a reader's thread, which another thread can stop."""

    def __init__(self, engine: Engine, work: Callable[[Connection], T]) -> None:
        self._engine = engine
        self._work = work
        self._guard = threading.Lock()
        self._reader: Any = None

    def run(self) -> T:
        """Do it, in the reader's thread."""
        with self._engine.connect() as connection:
            with self._guard:
                self._reader = connection.connection.driver_connection
            try:
                return self._work(connection)
            finally:
                # Whatever uses the connection next must not be stopped in its place.
                with self._guard:
                    self._reader = None

    def stop_if_cancelled(self, doing: asyncio.Future[T]) -> None:
        """Stop it where nobody waits for it any more; what has not begun is taken out of the queue by asyncio."""
        if doing.cancelled():
            with self._guard:
                if self._reader is not None:
                    self._reader.interrupt()


def _do_all(connection: Connection, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    results: list[Any] = []
    for statement, alike in itertools.groupby(works, lambda work: getattr(work, "statement", None)):
        if statement is None:
            results += [work(connection) for work in alike]
        else:
            rows = [work.row for work in alike if isinstance(work, Insertion)]
            connection.execute(statement, rows)
            results += [None] * len(rows)
    return results


def _thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=f"flash-driver journal {name}")


def _open(path: Path, connections: int, *, writes: bool = False) -> Engine:
    """Return an engine for a file; it connects when it is used, from whatever thread."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=PATIENCE_SECONDS,
        execution_options={WRITES: writes},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001 - as SQLAlchemy calls it
    # Transactions are begun by `_begin_sqlite`, not by the sqlite3 module behind our back.
    connection.isolation_level = None
    cursor = connection.cursor()
    for setting in (
        f"busy_timeout = {int(PATIENCE_SECONDS * 1000) - 500}",
        "journal_mode = WAL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where something will be written: two readers that both want it would be stuck."""
    options: Any = connection.get_execution_options()
    if options.get(WRITES):
        # NORMAL writes to the file without waiting for the disk.
        synchronous = "FULL" if options.get(DURABLE, True) else "NORMAL"
        if connection.info.get("synchronous") != synchronous:
            connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
            connection.info["synchronous"] = synchronous
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
