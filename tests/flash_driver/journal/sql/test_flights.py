"""How often PostgreSQL is waited for, and that a connection which leads nowhere any more is never used."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.sql import postgresql
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import NOON, an_invoice, open_journal, settle
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.support.postgres import PostgresServer

ALWAYS: Final = 3_600.0
LIMIT: Final = InvoiceBudget(5, 120)
OURS: Final = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'flash-driver' AND datname = current_database()"
)


COUNTED: Final[ContextVar[list[str] | None]] = ContextVar("COUNTED", default=None)
"""The statements of what this test does; what the store does besides, such as listening, is not among them."""


async def sent(monkeypatch: pytest.MonkeyPatch, doing: Awaitable[object]) -> list[str]:
    """Do something; return the first word of each statement that the server got, each of which is waited for."""
    statements: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def note(self: psycopg.AsyncCursor[Any], query: Any, *arguments: Any, **more: Any) -> Any:
        if (counted := COUNTED.get()) is not None:
            counted.append(str(query).split()[0])
        return await execute(self, query, *arguments, **more)

    with monkeypatch.context() as counting:
        counting.setattr(psycopg.AsyncCursor, "execute", note)
        before = COUNTED.set(statements)
        try:
            await doing
        finally:
            COUNTED.reset(before)
    return statements


async def test_an_invoice_takes_few_flights(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point of the budget is one statement in its transaction, an invoice two: the lock, and the row that tells."""
    async with aclosing(SqlStore(JournalUrl.parse(postgres.new_database()))) as store:
        journal = await open_journal(store)
        await journal.spend_invoices(Bucket.OWN, LIMIT, NOON)
        monkeypatch.setattr(postgresql, "_FRESH_SECONDS", ALWAYS)
        spending = sent(monkeypatch, journal.spend_invoices(Bucket.OWN, LIMIT, NOON))
        assert await spending == ["BEGIN", "UPDATE"]
        assert await sent(monkeypatch, journal.add_invoice(an_invoice(1))) == ["BEGIN", "SELECT", "INSERT"]
        monkeypatch.setattr(postgresql, "_FRESH_SECONDS", -1)
        rested = await sent(monkeypatch, journal.find_invoice(an_invoice(1).payment_hash))
        assert len(rested) == 2


async def test_isolation_is_stated_not_inherited(postgres: PostgresServer) -> None:
    """Where the database's own setting is serializable, who writes at once from two processes fails no more often."""
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable')
    async with aclosing(SqlStore(JournalUrl.parse(url))) as one, aclosing(SqlStore(JournalUrl.parse(url))) as other:
        journals = [await open_journal(store) for store in (one, other)]
        await asyncio.gather(*[journals[number % 2].add_invoice(an_invoice(number)) for number in range(30)])
        stated = "SHOW transaction_isolation"
        seen = await one.transactions.write(lambda connection: connection.exec_driver_sql(stated).scalar())
        assert (seen, len(await journals[0].list_invoices())) == ("read committed", 30)


@pytest.mark.parametrize("fresh", [ALWAYS, -1])
async def test_connections_that_the_server_ended_are_replaced(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, fresh: float
) -> None:
    """After the server has ended every connection, nobody notices, whether reading or writing."""
    monkeypatch.setattr(postgresql, "_FRESH_SECONDS", fresh)
    url = postgres.new_database()
    async with aclosing(SqlStore(JournalUrl.parse(url))) as store:
        journal = await open_journal(store)
        await asyncio.gather(*(journal.add_invoice(an_invoice(number)) for number in range(5)))
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
            ours = [pid for (pid,) in await (await other.execute(OURS)).fetchall()]
            await other.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (ours,))

            async def none_left() -> bool:
                left = await other.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)", (ours,))
                return await left.fetchone() == (0,)

            await until(none_left)
        settled = await asyncio.gather(*(settle(journal, number) for number in range(3)))
        assert sorted(each.settle_index or 0 for each in settled if each is not None) == [1, 2, 3]
        assert await journal.find_invoice(an_invoice(4).payment_hash) == an_invoice(4)
