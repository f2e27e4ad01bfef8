"""The rows of a budget of new invoices: taken by one statement, and never more of them than the limit."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import event, func, select

from flash_driver.journal.budget_rules import Bucket, BudgetWait, InvoiceBudget
from flash_driver.journal.sql.schema import spent
from flash_driver.journal.sql.store import SqlStore
from tests.support.journals import NOON, engines, open_journal

if TYPE_CHECKING:
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.urls import JournalUrl

LIMIT: Final = InvoiceBudget(5, 120)


async def taken(journals: list[Journal], minutes: int, limit: InvoiceBudget = LIMIT) -> int:
    """Let many ask at the same time; tell how many got one."""
    now = NOON + timedelta(minutes=minutes)
    asked = (journal.spend_invoices(Bucket.OWN, limit, now) for _ in range(6) for journal in journals)
    return (await asyncio.gather(*asked)).count(None)


@pytest.mark.many_cases
async def test_many_processes_take_no_more_than_the_limit(durable_url: JournalUrl) -> None:
    """Window after window exactly as many are taken as the limit allows, and the table does not grow."""
    async with aclosing(SqlStore(durable_url)) as one, aclosing(SqlStore(durable_url)) as two:
        journals = [await open_journal(one), await open_journal(two)]
        assert [await taken(journals, minutes) for minutes in (0, 1, 2, 4)] == [5, 0, 5, 5]
        smaller = InvoiceBudget(2, 120)
        assert [await taken(journals, minutes, smaller) for minutes in (5, 6, 8)] == [0, 2, 2]
        assert await taken(journals, 10) == 5
        count = await one.transactions.read(
            lambda connection: connection.execute(select(func.count()).select_from(spent)).scalar()
        )
    assert count == 5


async def test_one_invoice_takes_one_statement(durable_url: JournalUrl) -> None:
    """Once an account has rows, its next invoice is counted by a single statement; a block is seen by it."""
    async with aclosing(SqlStore(durable_url)) as store:
        journal = await open_journal(store)
        assert await journal.spend_invoices(Bucket.OWN, LIMIT, NOON) is None
        seen: list[str] = []

        def note(*arguments: Any) -> None:
            seen.append(arguments[2])

        for engine in engines(store):
            event.listen(engine, "before_cursor_execute", note)
        assert await journal.spend_invoices(Bucket.OWN, LIMIT, NOON) is None
        assert len([each for each in seen if not each.startswith(("BEGIN", "PRAGMA"))]) == 1
        until = NOON + timedelta(minutes=5)
        await journal.block_invoices(Bucket.OWN, until)
        assert await journal.spend_invoices(Bucket.OWN, LIMIT, NOON) == BudgetWait(until, blocked=True)
