"""How each statement of a journal is carried out where there are many rows: none reads or sorts a whole table."""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from sqlalchemy import event

from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.journal import LISTED
from flash_driver.journal.sql import upkeep
from flash_driver.journal.sql.store import SqlStore
from tests.support.journals import (
    NOON,
    a_payment,
    an_invoice,
    engines,
    fill,
    open_journal,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.urls import JournalUrl

pytestmark = pytest.mark.timeout(120)

COUNT: Final = 20_000
ALLOWED: Final = {
    r"ORDER.*ORDER BY flash_invoices.id \+ 0": "unpaid invoices sorted by age: the watcher keeps them few",
    r"ORDER.*first.payment_hash IN \(SELECT": "open payments sorted by age: there are few",
    r"ORDER.* AS page ON": "the attempts of one page, sorted as the page is",
    r"Seq Scan on flash_payments .* AS page ON": "the attempts of one page, which is a good part of this small table",
}
"""What reads or sorts more than it returns (how, and in which statement), and why it may."""


async def use_everything(journal: Journal) -> None:
    """Call what hosts and the driver call."""
    known, unknown = f"{1000:064x}", "ff" * 32
    await journal.add_invoice(an_invoice(COUNT + 1))
    await journal.find_invoice(known)
    await journal.find_invoice(unknown)
    await journal.insist_unknown("invoice", unknown)
    await journal.insist_unknown("payment", unknown)
    await settle(journal, 1000)
    await journal.expire_invoice(f"{2000:064x}")
    await journal.settled_after(COUNT - 10)
    await journal.last_settle_index()
    assert len(await journal.list_invoices()) == LISTED
    await journal.list_invoices(offset=COUNT - 10)
    assert len(await journal.list_invoices(after=f"{COUNT - 10:064x}")) == 11
    await journal.list_invoices(pending_only=True)
    await journal.list_invoices(pending_only=True, after=known)
    await journal.made_after(None)
    await journal.made_after(COUNT - 10)
    await journal.list_orphans()
    await journal.latest_priced("USD", 5)
    await journal.incomplete_invoices(NOON)
    async for _ in journal.pending_invoices(page=5):
        pass
    await journal.spend_invoices(Bucket.OWN, InvoiceBudget(20, 120), NOON)
    mine = a_payment(COUNT + 1)
    await journal.begin_payment(mine)
    await journal.update_payment(mine, seen=mine)
    await journal.find_payment(known)
    assert len(await journal.unresolved_payments()) == COUNT // 1000 + 1
    assert len(await journal.list_payments()) == LISTED
    await journal.list_payments(include_pending=True, offset=COUNT - 10)
    for pending in (True, False):
        assert len(await journal.list_payments(include_pending=pending, after=f"{COUNT - 10:064x}")) >= 9


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan of PostgreSQL and what it is made of."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def complaints(connection: Connection, statement: str, parameters: Any) -> list[str]:
    """Return what is wrong with how a statement would be carried out."""
    if connection.dialect.name == "sqlite":
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        whole = ("SCAN flash_invoices", "SCAN flash_payments", "SCAN first", "USE TEMP B-TREE FOR ORDER BY")
        return [step for step in steps if step.startswith(whole)]
    answer = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    wrong = []
    for node in nodes(plan):
        big = node.get("Relation Name") in ("flash_invoices", "flash_payments")
        if node["Node Type"] == "Seq Scan" and big:
            wrong.append(f"Seq Scan on {node['Alias']}")
        if node["Node Type"] == "Sort" and node["Plan Rows"] > LISTED:
            wrong.append("Sort")
    return wrong


async def test_no_statement_reads_a_whole_table(durable_url: JournalUrl) -> None:
    """Every statement finds its rows by an index, in their order, whatever else there is."""
    async with aclosing(SqlStore(durable_url, patience=60)) as store:
        journal = await open_journal(store, "fingerprint", "server account")
        await store.transactions.write(lambda connection: fill(connection, COUNT))
        seen: dict[str, Any] = {}

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: Any) -> None:
            if statement.startswith(("SELECT", "UPDATE", "DELETE")) and not many:
                seen[statement] = parameters

        for engine in engines(store):
            event.listen(engine, "before_cursor_execute", note)
        await use_everything(journal)
        await store.transactions.write(lambda connection: upkeep.prune(connection, NOON - timedelta(days=30_000)))
        for engine in engines(store):
            event.remove(engine, "before_cursor_execute", note)
        wrong = {}
        for statement, parameters in seen.items():
            found = await store.transactions.read(partial(complaints, statement=statement, parameters=parameters))
            lines = [f"{complaint} {' '.join(statement.split())}" for complaint in found]
            if bad := [line for line in lines if not any(re.search(mark, line) for mark in ALLOWED)]:
                wrong[statement] = bad
        assert wrong == {}
        assert len(seen) > 20
