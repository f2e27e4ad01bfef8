"""A database of journals, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from flash_driver.common.log import get_logger
from flash_driver.common.tasks import SharedAttempt, TaskSet
from flash_driver.journal.errors import JournalError
from flash_driver.journal.learned import read_learned, write_learned
from flash_driver.journal.owner import JournalAccount, JournalOwner
from flash_driver.journal.sql.accounts import account_of, learn, remember, rename_server
from flash_driver.journal.sql.journal import SqlJournal
from flash_driver.journal.sql.migrations import NEWEST, migrate
from flash_driver.journal.sql.notify import make_notifier
from flash_driver.journal.sql.transactions import PATIENCE_SECONDS, Transactions
from flash_driver.journal.sql.upkeep import prune
from flash_driver.journal.wakeup import News, Wakeup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flash_driver.journal.learned import Learned
    from flash_driver.journal.sql.transactions import Database
    from flash_driver.journal.urls import JournalUrl
    from flash_driver.journal.wakeup import Topic

__all__ = ["SqlStore"]

_MIGRATION_SECONDS: Final = 60.0
_PRUNE_SECONDS: Final = 3600.0
_BETWEEN_PRUNINGS: Final = 0.1

_log: Final = get_logger(part="journal")


class SqlStore:
    """Keeps the journals of many accounts in one database.

    Args:
        journal: Which database.
        patience: How long a transaction may take, in seconds.
        keep_days: After how many days invoices that were never paid are deleted, None for never.

    Attributes:
        transactions: Runs what reads and what writes.

    """

    def __init__(self, journal: JournalUrl, patience: float = PATIENCE_SECONDS, keep_days: int | None = None) -> None:
        self._journal = journal
        database = _database(journal)
        self.transactions = Transactions(journal, database, patience)
        self._patience = patience
        self._keep_days = keep_days
        self._preparing = SharedAttempt(self._migrate, "journal migration", closed=self.transactions.was_closed)
        self._pruning = TaskSet()
        self._closing = TaskSet()
        self._prepared = False
        self._news: dict[int, News] = {}
        self._notifier = make_notifier(journal, database, self._wake)

    def journal(self, fingerprint: str, look_up: Callable[[], Awaitable[None]]) -> SqlJournal:
        """Return the journal of the account that a credential opens; nothing is opened before it is used."""
        owner = JournalOwner(partial(self.find, fingerprint), look_up, partial(self._learn, fingerprint))
        return SqlJournal(self.transactions, owner)

    async def find(self, fingerprint: str, scope: str | None) -> JournalAccount | None:
        """Return the account that a credential opens, None when that is not known yet.

        Args:
            fingerprint: What tells the credential from others, without naming it.
            scope: The account itself, as the server names it, remembered for this fingerprint; None when not known.

        Raises:
            JournalError: The database can't be used now.

        """
        await self._prepare()
        row = await self.transactions.read(lambda connection: account_of(connection, fingerprint))
        if scope is not None and (row is None or row.scope != scope):
            row = await self.transactions.write(lambda connection: remember(connection, fingerprint, scope))
        if row is None:
            return None
        start = self._notifier.start
        news = self._news.setdefault(row.id, News(made=Wakeup(start), settled=Wakeup(start)))
        return JournalAccount(row.id, row.journal_id, row.last_settle_index, news, read_learned(row.learned))

    async def rename_server(self, old: str, new: str) -> int:
        """Let the accounts of a server be those of its new name; return how many they are.

        Raises:
            JournalError: The database can't be used now, or has such an account under the new name already.

        """
        await self._prepare()
        return await self.transactions.write(lambda connection: rename_server(connection, old, new))

    async def aclose(self) -> None:
        """Let what is under way come to its end, begin nothing more, then close every connection.

        The end of an event loop cancels this too: then the connections are closed at once.
        """
        closing = self._closing.start(self._close(), "journal closing")
        closing.add_done_callback(lambda _: self.transactions.close())
        await asyncio.shield(closing)

    async def _learn(self, fingerprint: str, account: JournalAccount, learned: Learned) -> None:
        text = write_learned(learned)
        await self.transactions.write(
            lambda connection: learn(connection, fingerprint, account.number, text), durable=False
        )

    async def _close(self) -> None:
        self.transactions.stop()
        await self._pruning.aclose()
        await self._notifier.aclose()
        await self.transactions.aclose()
        await self._preparing.aclose()

    async def _prepare(self) -> None:
        """Wait until the tables are up to date; no longer than a transaction may take, while that goes on by itself.

        Raises:
            JournalError: The database can't be used now, or takes longer.

        """
        if self._prepared:
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._preparing.result()
        except TimeoutError:
            raise JournalError(str(self._journal), "is being brought up to date", "try again in a moment") from None

    async def _migrate(self) -> None:
        """Make the file and bring the tables up to date, before anything else is done."""
        self.transactions.prepare()
        found = await self.transactions.write(
            lambda connection: migrate(connection, self._journal), patience=_MIGRATION_SECONDS
        )
        if found != NEWEST:
            _log.info("journal made ready", journal=str(self._journal), version=NEWEST, before=found)
        self._prepared = True
        if self._keep_days is not None:
            self._pruning.start(self._prune(self._keep_days), "journal pruning")

    async def _prune(self, days: int) -> None:
        """Delete what was never paid once it is old, a little at a time, for as long as the store is open."""
        while True:
            before, deleted = datetime.now(UTC) - timedelta(days=days), 0
            with contextlib.suppress(JournalError):  # the next time is soon enough
                while count := await self.transactions.write(partial(prune, before=before)):
                    deleted += count
                    await asyncio.sleep(_BETWEEN_PRUNINGS)
            if deleted:
                _log.info("deleted invoices that were never paid", journal=str(self._journal), invoices=deleted)
            await asyncio.sleep(_PRUNE_SECONDS)

    def _wake(self, account: int | None = None, topic: Topic | None = None) -> None:
        """Wake who waits for news of an account, or of any (None), about a topic, or about any (None)."""
        for number, news in list(self._news.items()):
            if account in (None, number):
                news.wake(topic)


def _database(journal: JournalUrl) -> Database:
    """Return what runs transactions on the database of a URL, with the libraries of that kind and of no other."""
    if journal.path is not None:
        from flash_driver.journal.sql.sqlite import SqliteDatabase  # noqa: PLC0415 - one of two

        return SqliteDatabase(journal.path)
    from flash_driver.journal.sql.postgresql import PostgresqlDatabase  # noqa: PLC0415 - psycopg is an extra

    return PostgresqlDatabase(journal)
