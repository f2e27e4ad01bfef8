"""Transactions in a journal's database, of either kind: each happens whole, within its time, and fails in words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from flash_driver.common.log import get_logger
from flash_driver.journal.errors import JournalError, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Insert

    from flash_driver.journal.urls import JournalUrl

__all__ = ["DURABLE", "PATIENCE_SECONDS", "WRITES", "Database", "Insertion", "Patience", "Transactions"]

T = TypeVar("T")

PATIENCE_SECONDS: Final = 4.0
"""How long a database may take: a host gives up on a new invoice after 5 s (flash-server.md 7.4)."""

_HELD_UP_SECONDS: Final = 0.25
"""How late a timer has to be for this process, not the database, to be the one that did nothing."""

WRITES: Final = "flash_driver_writes"
"""The execution option of transactions that write."""

DURABLE: Final = "flash_driver_durable"
"""The execution option, by default true, of transactions that are to be on the disk when they end."""

_log: Final = get_logger(part="journal")


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

    def read(self, work: Callable[[Connection], T], seconds: float, *, long: bool = False) -> asyncio.Future[T]:
        """Begin something that only reads, within this time; the database stops it where the future is cancelled.

        Args:
            work: What is done.
            seconds: For how long the database may be at it.
            long: Whether it may take long, as a list does: such works go one after the other, so that the others find
                a connection free.

        """
        ...

    def write(self, work: Callable[[Connection], T], seconds: float, *, durable: bool = True) -> asyncio.Future[T]:
        """Begin something in a transaction that writes, within this time; it has been kept once the future is done.

        Args:
            work: What is done.
            seconds: For how long the database may be at it.
            durable: Whether it is on the disk then. Otherwise the end of this process does not undo it, but a machine
                that loses its power may.

        Raises:
            OSError: What the database is kept in is not there any more.

        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...

    def close(self) -> object:
        """Close every connection without waiting for anything; also after `aclose`, and where that was cut off."""
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

    def left(self) -> float:
        """Return for how many seconds to wait before looking whether it is over."""
        return max(0.0, self.until - self._clock())

    def is_over(self) -> bool:
        """Whether it is over now that its time has come; if not, `until` is a later one."""
        late = self._clock() - self.until
        if late > _HELD_UP_SECONDS:
            self.until = self._clock() + self._seconds
        return late <= _HELD_UP_SECONDS


class Transactions:
    """Runs what reads and what writes.

    What writes happens whole, also when its caller is cancelled meanwhile; what reads ends with its caller. The caller
    waits `patience` at most.

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
        self._working: set[asyncio.Future[Any]] = set()
        self._closed = False

    def prepare(self) -> None:
        """Make ready what the database is kept in.

        Raises:
            JournalError: It can't be made.

        """
        try:
            self._database.prepare()
        except OSError as error:
            raise self._explained(error) from error

    async def read(self, work: Callable[[Connection], T], *, long: bool = False) -> T:
        """Do something that only reads.

        Args:
            work: What is done.
            long: Whether it may take long, as a list does.

        Raises:
            JournalError: The database can't be used now.

        """
        self._insist_on_open()
        reading = self._note(self._database.read(work, self._patience, long=long))
        try:
            return await self._result(reading, self._patience)
        finally:
            reading.cancel()

    async def write(self, work: Callable[[Connection], T], *, patience: float | None = None, durable: bool = True) -> T:
        """Do something in a transaction that writes: once this returns it has been kept.

        Args:
            work: What is done.
            patience: How long it may take, in seconds; None for the usual time.
            durable: Whether not even a machine that loses its power may forget it.

        Raises:
            JournalError: The database can't be used now. Where it did not answer in time, it may still do it.

        """
        self._insist_on_open()
        seconds = patience or self._patience
        try:
            writing = self._note(self._database.write(work, seconds, durable=durable))
        except OSError as error:
            raise self._explained(error) from error
        return await self._result(writing, seconds)

    def stop(self) -> None:
        """Begin nothing more."""
        self._closed = True

    async def ended(self, seconds: float) -> None:
        """Wait until what is under way has come to its end, for this number of seconds at most."""
        if self._working:
            await asyncio.wait(set(self._working), timeout=seconds)

    async def aclose(self) -> None:
        """Begin nothing more, let what is under way come to its end, then close every connection."""
        self.stop()
        await self.ended(self._patience)
        for doing in [*self._working]:
            doing.cancel()
        await self._database.aclose()

    def close(self) -> None:
        """Begin nothing more, and close every connection, whatever is under way."""
        self.stop()
        self._database.close()

    def was_closed(self) -> JournalError:
        """Return the error of who asks after the end."""
        return JournalError(str(self._journal), "was closed", "ask again")

    def _insist_on_open(self) -> None:
        if self._closed:
            raise self.was_closed()

    def _note(self, doing: asyncio.Future[T]) -> asyncio.Future[T]:
        self._working.add(doing)
        doing.add_done_callback(self._done)
        return doing

    def _done(self, doing: asyncio.Future[Any]) -> None:
        """Look at what came of it: the caller may be gone, and asyncio complains of errors that nobody looked at."""
        self._working.discard(doing)
        if not doing.cancelled() and (error := doing.exception()) is not None:
            _log.debug("a transaction failed", error=type(error).__name__)

    async def _result(self, doing: asyncio.Future[T], seconds: float) -> T:
        patience = Patience(seconds)
        while not doing.done():
            await asyncio.wait([doing], timeout=patience.left())
            if not doing.done() and patience.is_over():
                raise JournalError(
                    str(self._journal), f"did not answer within {seconds:g} s", "check its disk or database server"
                )
        if doing.cancelled():
            raise self.was_closed()
        try:
            return doing.result()
        except Exception as error:
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error

    def _explained(self, error: Exception) -> Exception:
        """Return a database's error in words, any other as it is."""
        return explain(error, self._journal) or error
