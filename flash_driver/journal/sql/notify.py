"""Notices that another process has made or settled an invoice, and wakes who waits for that.

PostgreSQL tells by LISTEN/NOTIFY which account has news of which topic; a SQLite file is looked at, and tells only that
another connection than our own has written. Nothing depends on each notification: who waits is also woken each time
that listening begins again, and every few seconds besides, and then reads what was missed.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.journal.errors import explain
from flash_driver.journal.sql.schema import CHANNELS
from flash_driver.journal.sql.sqlite import SqliteDatabase
from flash_driver.journal.sql.transactions import PATIENCE_SECONDS
from flash_driver.journal.wakeup import Topic

if TYPE_CHECKING:
    from typing import Any

    from psycopg import AsyncConnection

    from flash_driver.journal.sql.transactions import Database
    from flash_driver.journal.urls import JournalUrl

__all__ = ["Notifier", "PostgresNotifications", "SqliteNotifications", "make_notifier"]

_LOOK_SECONDS: Final = 0.1
"""How often a SQLite file is looked at."""

_SAFETY_SECONDS: Final = 5.0
"""How often everybody is woken, and PostgreSQL's connection is tried, though there was no notification."""

_PAUSE_SECONDS: Final = 1.0
"""How long after a failure listening is tried again."""

_TRIAL_SECONDS: Final = 1.0
"""How long the first notification, which is for nobody and tells whether they come at all, may take."""

_TOPICS: Final = {channel: topic for topic, channel in CHANNELS.items()}
_KEPT: Final = "SELECT (SELECT max(id) FROM flash_invoices), (SELECT sum(last_settle_index) FROM flash_accounts)"
"""What changes when an invoice is made, and when one is settled."""

_log: Final = get_logger(part="journal")


class _Wake(Protocol):
    """Wakes who waits for news of an account, or of any (None), about a topic, or about any (None)."""

    def __call__(self, account: int | None = None, topic: Topic | None = None) -> None: ...


class _Notifications(Protocol):
    """Listens to one kind of database."""

    async def listen(self, wake: _Wake) -> None:
        """Wake for as long as it goes well; ends with an error when it no longer does."""
        ...


class Notifier:
    """Listens to the database while the store is open, from the first time that somebody waits.

    Args:
        journal: Which database.
        notifications: How to listen to it.
        wake: Wakes who waits.

    """

    def __init__(self, journal: JournalUrl, notifications: _Notifications, wake: _Wake) -> None:
        self._journal = journal
        self._notifications = notifications
        self._wake = wake
        self._tasks = TaskSet()
        self._begun = False

    def start(self) -> None:
        """Begin to listen; does nothing when that is done already."""
        if not self._begun:
            self._begun = True
            self._tasks.start(self._listen(), "journal wakeup")

    async def aclose(self) -> None:
        """Stop listening."""
        self._begun = True  # nothing begins after the end
        await self._tasks.aclose()

    async def _listen(self) -> None:
        told = True
        while True:
            try:
                await self._notifications.listen(self._wake)
            except Exception as error:
                explained = explain(error, self._journal)
                if explained is None:
                    raise
                # Logged once for each time that it breaks off, not once for each attempt.
                if told:
                    _log.warning(
                        "other processes' settlements are not heard of now, looking instead", why=str(explained)
                    )
                told = False
            self._wake()
            await asyncio.sleep(_PAUSE_SECONDS)


class SqliteNotifications:
    """Asks a SQLite file whether others have written to it; what this store writes itself is no news to it."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def listen(self, wake: _Wake) -> None:
        """Wake for everything after each change of whatever kind, by another connection of any process."""
        clock = asyncio.get_running_loop().time
        seen, woken_at = None, 0.0
        while True:
            version = await self._database.version_of_others()
            if version != seen or clock() - woken_at >= _SAFETY_SECONDS:
                seen, woken_at = version, clock()
                wake()
            await asyncio.sleep(_LOOK_SECONDS)


class PostgresNotifications:
    """Holds a connection that PostgreSQL tells of each invoice that is made or settled.

    A pooler in transaction mode passes no notifications on. That is tried first; where none comes, the database is
    asked every second instead.
    """

    def __init__(self, journal: JournalUrl) -> None:
        self._journal = journal

    async def listen(self, wake: _Wake) -> None:
        """Wake for the account and the topic that each notification names."""
        from flash_driver.journal.sql.postgresql import connected  # noqa: PLC0415 - a journal in a file needs no psycopg

        async with connected(self._journal) as connection:
            for channel in CHANNELS.values():
                await connection.execute(f"LISTEN {channel}".encode())
            trial = str(-uuid.uuid4().int)  # for no account, and of this trial alone
            # From another connection: behind a pooler both may be the same one of the server's.
            async with connected(self._journal) as other:
                await other.execute("SELECT pg_notify(%s, %s)", (CHANNELS[Topic.SETTLED], trial))
            if await self._hears(connection, trial):
                await self._take(connection, wake)
            _log.info("a pooler keeps notifications back, looking every second", journal=str(self._journal))
            await self._look(connection, wake)

    async def _hears(self, connection: AsyncConnection[Any], trial: str) -> bool:
        """Whether this notification comes; a pooler lets others through by chance, while LISTEN is carried out."""
        async with aclosing(connection.notifies(timeout=_TRIAL_SECONDS)) as notices:
            async for notice in notices:
                if notice.payload == trial:
                    return True
        return False

    async def _take(self, connection: AsyncConnection[Any], wake: _Wake) -> NoReturn:
        while True:
            wake()
            async for notice in connection.notifies(timeout=_SAFETY_SECONDS):
                wake(int(notice.payload), _TOPICS[notice.channel])
            # A connection that has silently died would go on looking fine.
            async with asyncio.timeout(PATIENCE_SECONDS):
                await connection.execute("SELECT 1")

    async def _look(self, connection: AsyncConnection[Any], wake: _Wake) -> NoReturn:
        clock = asyncio.get_running_loop().time
        seen: tuple[object, ...] = (None, None)
        woken_at = clock()
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):
                kept = await (await connection.execute(_KEPT)).fetchone() or seen
            for topic, now, before in zip((Topic.MADE, Topic.SETTLED), kept, seen, strict=True):
                if now != before:
                    wake(topic=topic)
            if clock() - woken_at >= _SAFETY_SECONDS:
                woken_at = clock()
                wake()
            seen = kept
            await asyncio.sleep(_PAUSE_SECONDS)


def make_notifier(journal: JournalUrl, database: Database, wake: _Wake) -> Notifier:
    """Return what wakes for a database; it begins when somebody waits."""
    notifications: _Notifications = (
        SqliteNotifications(database) if isinstance(database, SqliteDatabase) else PostgresNotifications(journal)
    )
    return Notifier(journal, notifications, wake)
