"""A database of journals, on one event loop."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import select, update

from flash_driver.common.cancelling import being_cancelled
from flash_driver.common.log import get_logger
from flash_driver.journal.errors import JournalError, explain
from flash_driver.journal.sql.engine import PATIENCE_SECONDS, identity, prepare_file
from flash_driver.journal.sql.journal import SqlJournal, insert_new
from flash_driver.journal.sql.migrations import NEWEST, migrate
from flash_driver.journal.sql.notify import make_notifier
from flash_driver.journal.sql.schema import accounts, logins
from flash_driver.journal.sql.transactions import open_database
from flash_driver.journal.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from sqlalchemy import Connection, Row

    from flash_driver.journal.urls import JournalUrl

__all__ = ["SqlStore"]

T = TypeVar("T")

_MIGRATION_SECONDS: Final = 60.0

_log: Final = get_logger(part="journal")


class SqlStore:
    """Keeps the journals of many accounts in one database.

    Each piece of work is a task of its own and happens whole, also when whoever asked is cancelled meanwhile; it takes
    `patience` at most from where he stands.

    Args:
        journal: Which database.
        patience: How long a transaction may take, in seconds.

    """

    def __init__(self, journal: JournalUrl, patience: float = PATIENCE_SECONDS) -> None:
        self._journal = journal
        self._patience = patience
        self._database = open_database(journal)
        self._preparing = asyncio.Lock()
        self._prepared = False
        self._file: tuple[int, int] | None = None
        self._working: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._wakeups: dict[int, Wakeup] = {}
        self._notifier = make_notifier(journal, self._database, self.ring)

    @property
    def dialect(self) -> str:
        """Which SQL the database speaks: sqlite or postgresql."""
        return "postgresql" if self._journal.path is None else "sqlite"

    async def open(self, fingerprint: str, scope: str | None) -> SqlJournal | None:
        """Return the journal of the account that a credential opens, None when that is not known yet.

        Raises:
            JournalError: The database can't be used now.

        """
        await self._prepare()
        row = await self.read(lambda connection: _known(connection, fingerprint))
        if scope is not None and (row is None or row.scope != scope):
            row = await self.write(lambda connection: _remember(connection, fingerprint, scope))
        if row is None:
            return None
        wakeup = self._wakeups.setdefault(row.id, Wakeup(self._notifier.start))
        return SqlJournal(self, row.id, row.journal_id, wakeup)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction that only reads.

        Raises:
            JournalError: The database can't be used now.

        """
        self._insist_on_open()
        return await self._finish(self._database.read(work), self._patience)

    async def write(self, work: Callable[[Connection], T], *, patience: float | None = None) -> T:
        """Do something in a transaction that writes: once this returns it has been kept.

        Raises:
            JournalError: The database can't be used now. Where it did not answer in time, it may still do it.

        """
        self._insist_on_open()
        self._check_file()
        return await self._finish(self._database.write(work), patience or self._patience)

    def ring(self, account: int | None = None) -> None:
        """Wake who waits for settlements of an account, or of any."""
        for number, wakeup in list(self._wakeups.items()):
            if account in (None, number):
                wakeup.ring()

    async def aclose(self) -> None:
        """Let what is under way come to its end, begin nothing more, then close every connection."""
        await asyncio.shield(asyncio.create_task(self._close(), name="flash-driver journal closing"))

    async def _close(self) -> None:
        self._closed = True
        await self._notifier.aclose()
        if self._working:
            _, late = await asyncio.wait(self._working, timeout=self._patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._database.aclose()

    async def _prepare(self) -> None:
        """Make the file and bring the tables up to date, before anything else is done."""
        async with self._preparing:
            if self._prepared:
                return
            if self._journal.path is not None:
                try:
                    prepare_file(self._journal.path)
                except OSError as error:
                    raise explain(error, self._journal) or error from error
                self._file = identity(self._journal.path)
            found = await self.write(lambda connection: migrate(connection, self._journal), patience=_MIGRATION_SECONDS)
            if found != NEWEST:
                _log.info("journal made ready", journal=str(self._journal), version=NEWEST, before=found)
            self._prepared = True

    def _insist_on_open(self) -> None:
        if self._closed:
            raise self._was_closed()

    def _was_closed(self) -> JournalError:
        return JournalError(str(self._journal), "was closed", "ask again")

    def _check_file(self) -> None:
        """SQLite would go on writing to a file that somebody has deleted: what is kept there is lost."""
        if self._journal.path is not None and identity(self._journal.path) != self._file:
            raise JournalError(
                str(self._journal), "was moved away or replaced while in use", "put it back, or start this process anew"
            )

    async def _finish(self, transaction: Coroutine[Any, Any, T], patience: float) -> T:
        task = asyncio.create_task(self._explained(transaction), name="flash-driver journal")
        self._working.add(task)
        task.add_done_callback(self._done)
        try:
            async with asyncio.timeout(patience):
                return await asyncio.shield(task)
        except TimeoutError:
            raise JournalError(
                str(self._journal), f"did not answer within {patience:g} s", "check its disk or database server"
            ) from None
        except asyncio.CancelledError:
            if task.cancelled() and not being_cancelled():
                raise self._was_closed() from None
            raise

    async def _explained(self, transaction: Coroutine[Any, Any, T]) -> T:
        try:
            return await transaction
        except Exception as error:
            explained = explain(error, self._journal)
            if explained is None:
                raise
            raise explained from error

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.debug("the journal failed", journal=str(self._journal), why=str(task.exception()))


def _known(connection: Connection, fingerprint: str) -> Row[Any] | None:
    query = select(accounts).join(logins).where(logins.c.fingerprint == fingerprint)
    return connection.execute(query).one_or_none()


def _remember(connection: Connection, fingerprint: str, scope: str) -> Row[Any] | None:
    insert_new(connection, accounts, scope=scope, journal_id=uuid.uuid4().hex[:12], last_settle_index=0)
    account = connection.execute(select(accounts.c.id).where(accounts.c.scope == scope)).scalar_one()
    if not insert_new(connection, logins, fingerprint=fingerprint, account=account):
        moved = update(logins).where(logins.c.fingerprint == fingerprint, logins.c.account != account)
        if connection.execute(moved.values(account=account)).rowcount:
            _log.warning("the server says that this token is another account's now", fingerprint=fingerprint)
    return _known(connection, fingerprint)
