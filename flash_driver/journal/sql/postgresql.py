"""Transactions on a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flash_driver.journal.sql.transactions import PATIENCE_SECONDS, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from flash_driver.journal.urls import JournalUrl

__all__ = ["PostgresqlDatabase", "open_postgresql"]

T = TypeVar("T")

_STOPPED_SECONDS: Final = 3.0
"""After how long PostgreSQL takes the lock from a process that was stopped in the middle of a transaction."""

_CONNECTIONS: Final = 5


class PostgresqlDatabase:
    """A PostgreSQL server, through an asynchronous driver.

    Args:
        journal: Which database of which server.

    """

    dialect = "postgresql"

    def __init__(self, journal: JournalUrl) -> None:
        self.engine = open_postgresql(journal)
        self._to_write = self.engine.execution_options(**{WRITES: True})

    def prepare(self) -> None:
        """Do nothing: the database is there or not."""

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


def open_postgresql(journal: JournalUrl) -> AsyncEngine:
    """Return an engine for a server, on the running event loop; it connects when it is used."""
    return create_async_engine(
        make_url(journal.text.reveal()),
        hide_parameters=True,
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_timeout=PATIENCE_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "timeout": PATIENCE_SECONDS,
            "command_timeout": 60.0,
            "server_settings": {
                "application_name": "flash-driver",
                "idle_in_transaction_session_timeout": str(int(_STOPPED_SECONDS * 1000)),
            },
        },
    )
