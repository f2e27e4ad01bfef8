"""Runs transactions, written once for both kinds of database, without holding up the event loop.

SQLite works in threads of its own. Through an asynchronous driver each statement crosses to a thread and back several
times, which costs more than the statement; here a whole transaction crosses once, and what several callers write at the
same time goes into one transaction, so that they share the wait for the disk.
"""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError

from flash_driver.journal.sql.engine import PATIENCE_SECONDS, WRITES, open_postgresql, open_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Insert

    _Queued = tuple[Callable[[Connection], Any], asyncio.Future[Any]]

    from flash_driver.journal.urls import JournalUrl

__all__ = ["Insertion", "PostgresqlDatabase", "SqliteDatabase", "open_database"]

T = TypeVar("T")

_READERS: Final = 2
_TOGETHER: Final = 128
"""How many callers share a transaction at the most."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """Work that adds a row; those that are done together and have the same statement are one call to the database.

    Attributes:
        statement: An INSERT without values, which settles by itself what becomes of a row that is there already.
        row: The values.

    """

    statement: Insert
    row: Mapping[str, Any]

    def __call__(self, connection: Connection) -> None:
        """Add the row."""
        connection.execute(self.statement, self.row)


class SqliteDatabase:
    """A SQLite file: one thread writes, others read.

    Args:
        path: Which file.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_sqlite(path, connections=_READERS + 1)
        self._to_write = self._engine.execution_options(**{WRITES: True})
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="flash-driver journal writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="flash-driver journal reader")
        self._queue: list[_Queued] = []
        self._writing: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that only reads."""

        def transaction() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, transaction)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction, together with what others write meanwhile; kept once this returns.

        The work changes nothing but the database: if somebody else's fails, it is done again in another transaction.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((work, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="flash-driver journal writing")
        return await done

    async def aclose(self) -> None:
        """Close every connection; what is queued is given up, what a thread is at comes to its end."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        self._give_up(self._queue)
        self._readers.shutdown(wait=False, cancel_futures=True)
        closing = self._writer.submit(self._engine.dispose)
        self._writer.shutdown(wait=False)
        # A disk that hangs must not hang the close.
        await asyncio.wait([asyncio.wrap_future(closing)], timeout=PATIENCE_SECONDS)

    async def _write_all(self) -> None:
        """Write what is queued, one batch after the other, until nothing is left."""
        batch: Sequence[_Queued] = ()
        try:
            while self._queue:
                batch, self._queue = self._queue[:_TOGETHER], self._queue[_TOGETHER:]
                works = [work for work, _ in batch]
                results = await asyncio.get_running_loop().run_in_executor(self._writer, self._together, works)
                for (_, done), result in zip(batch, results, strict=True):
                    if done.done():
                        continue
                    if isinstance(result, BaseException):
                        done.set_exception(result)
                    else:
                        done.set_result(result)
        finally:
            self._writing = None
            self._give_up(batch)
            self._give_up(self._queue)

    @staticmethod
    def _give_up(queued: Sequence[_Queued]) -> None:
        """Leave nobody waiting for what is not done."""
        for _, done in queued:
            done.cancel()

    def _together(self, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        """Do everything in one transaction; where a piece fails by itself, each in one of its own."""
        try:
            with self._to_write.begin() as connection:
                return _do_all(connection, works)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers
            its_own = not isinstance(error, DBAPIError) or isinstance(error, IntegrityError)
            if len(works) == 1 or not its_own:
                return [error] * len(works)
        return [self._together([work])[0] for work in works]


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


class PostgresqlDatabase:
    """A PostgreSQL server, through an asynchronous driver.

    Args:
        journal: Which database of which server.

    """

    def __init__(self, journal: JournalUrl) -> None:
        self.engine = open_postgresql(journal)
        self._to_write = self.engine.execution_options(**{WRITES: True})

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that only reads."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that writes."""
        async with self._to_write.begin() as connection:
            return await connection.run_sync(work)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def open_database(journal: JournalUrl) -> SqliteDatabase | PostgresqlDatabase:
    """Return the database that a URL names, for the running event loop; it connects when it is used."""
    return PostgresqlDatabase(journal) if journal.path is None else SqliteDatabase(journal.path)
