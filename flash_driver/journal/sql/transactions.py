"""Transactions in a journal's database, of either kind: each happens whole, within its time, and fails in words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from flash_driver.common.cancelling import being_cancelled
from flash_driver.common.tasks import TaskSet
from flash_driver.journal.errors import JournalError, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from sqlalchemy import Connection, Insert

    from flash_driver.journal.urls import JournalUrl

__all__ = ["PATIENCE_SECONDS", "WRITES", "Database", "Insertion", "Patience", "Transactions"]

T = TypeVar("T")

PATIENCE_SECONDS: Final = 4.0
"""How long a database may take: a host gives up on a new invoice after 5 s (flash-server.md 7.4)."""

_HELD_UP_SECONDS: Final = 0.25
"""How late a timer has to be for this process, not the database, to be the one that did nothing."""

WRITES: Final = "flash_driver_writes"
"""The execution option of transactions that write."""


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


class Database(Protocol):
    """One kind of database, on the running event loop; it connects when it is used."""

    @property
    def dialect(self) -> str:
        """Which SQL it speaks: sqlite or postgresql."""
        ...

    def prepare(self) -> None:
        """Make ready what the database is kept in."""
        ...

    async def read(self, work: Callable[[Connection], T], seconds: float) -> T:
        """Do something that only reads, within this time; where it is cancelled, the database stops it."""
        ...

    async def write(self, work: Callable[[Connection], T], seconds: float) -> T:
        """Do something in a transaction that writes, within this time: once this returns it has been kept."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Patience:
    """How long to wait for a database, on the running event loop's clock.

    A process that was stopped itself, or whose event loop was held up, finds its time over though the database had
    none of it: then it is given again.

    Attributes:
        until: The loop time at which it is over.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self.until = self._clock() + seconds

    def is_over(self) -> bool:
        """Whether it is over now that its time has come; if not, `until` is a later one."""
        late = self._clock() - self.until
        if late > _HELD_UP_SECONDS:
            self.until = self._clock() + self._seconds
        return late <= _HELD_UP_SECONDS


class Transactions:
    """Runs what reads and what writes.

    Each piece of work is a task of its own. What writes happens whole, also when its caller is cancelled meanwhile;
    what reads ends with its caller. The caller waits `patience` at most.

    Args:
        journal: What the database is called in errors.
        database: Where the work is done.
        patience: How long a transaction may take, in seconds.

    """

    def __init__(self, journal: JournalUrl, database: Database, patience: float = PATIENCE_SECONDS) -> None:
        self.dialect = database.dialect
        self._journal = journal
        self._database = database
        self._patience = patience
        self._working = TaskSet()
        self._long_reads = asyncio.Semaphore(1)
        self._closed = False

    def prepare(self) -> None:
        """Make ready what the database is kept in.

        Raises:
            JournalError: It can't be made.

        """
        try:
            self._database.prepare()
        except OSError as error:
            raise explain(error, self._journal) or error from error

    async def read(self, work: Callable[[Connection], T], *, long: bool = False) -> T:
        """Do something that only reads.

        Args:
            work: What is done.
            long: Whether it may take long, as a list does: such works go one after the other, so that the others find
                a connection free.

        Raises:
            JournalError: The database can't be used now.

        """
        self._insist_on_open()
        task = self._begin(self._read_in_turn(work) if long else self._database.read(work, self._patience))
        try:
            return await self._result(task, self._patience)
        finally:
            if not task.cancelling():  # as it is at the end of an event loop, where everything ends by itself
                task.cancel()

    async def write(self, work: Callable[[Connection], T], *, patience: float | None = None) -> T:
        """Do something in a transaction that writes: once this returns it has been kept.

        Raises:
            JournalError: The database can't be used now. Where it did not answer in time, it may still do it.

        """
        self._insist_on_open()
        seconds = patience or self._patience
        return await self._result(self._begin(self._database.write(work, seconds)), seconds)

    def stop(self) -> None:
        """Begin nothing more."""
        self._closed = True

    async def aclose(self) -> None:
        """Begin nothing more, let what is under way come to its end, then close every connection."""
        self.stop()
        await self._working.ended(self._patience)
        self._working.cancel()
        await self._working.ended(self._patience)
        await self._database.aclose()

    async def _read_in_turn(self, work: Callable[[Connection], T]) -> T:
        async with self._long_reads:
            return await self._database.read(work, self._patience)

    def _insist_on_open(self) -> None:
        if self._closed:
            raise self.was_closed()

    def was_closed(self) -> JournalError:
        """Return the error of who asks after the end."""
        return JournalError(str(self._journal), "was closed", "ask again")

    def _begin(self, transaction: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._working.start(self._explained(transaction), "journal")

    async def _result(self, task: asyncio.Task[T], seconds: float) -> T:
        patience = Patience(seconds)
        try:
            while True:
                try:
                    async with asyncio.timeout_at(patience.until):
                        return await asyncio.shield(task)
                except TimeoutError:
                    if task.done() or not patience.is_over():
                        continue
                    raise JournalError(
                        str(self._journal), f"did not answer within {seconds:g} s", "check its disk or database server"
                    ) from None
        except asyncio.CancelledError:
            if task.cancelled() and not being_cancelled():
                raise self.was_closed() from None
            raise

    async def _explained(self, transaction: Coroutine[Any, Any, T]) -> T:
        try:
            return await transaction
        except Exception as error:
            explained = explain(error, self._journal)
            if explained is None:
                raise
            raise explained from error
