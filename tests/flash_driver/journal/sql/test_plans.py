"""How each statement of a journal is carried out where there are many rows: none reads or sorts a whole table."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

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
from tests.support.plans import complaints, noted, unforeseen

if TYPE_CHECKING:
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.urls import JournalUrl

pytestmark = pytest.mark.timeout(300)

COUNT: Final = 20_000
BIG: Final = ("flash_invoices", "flash_payments", "first")
"""The tables that grow, and what a statement calls one of them."""

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


@pytest.mark.many_cases
async def test_no_statement_reads_a_whole_table(durable_url: JournalUrl) -> None:
    """Every statement finds its rows by an index, in their order, whatever else there is."""
    async with aclosing(SqlStore(durable_url, patience=60)) as store:
        journal = await open_journal(store, "fingerprint", "server account")
        await store.transactions.write(lambda connection: fill(connection, COUNT))
        with noted(engines(store)) as seen:
            await use_everything(journal)
            await store.transactions.write(lambda connection: upkeep.prune(connection, NOON - timedelta(days=30_000)))
        wrong: list[str] = []
        for statement, parameters in seen.items():
            look = partial(complaints, statement=statement, parameters=parameters, big=BIG, few=LISTED)
            wrong += unforeseen(await store.transactions.read(look), statement, ALLOWED)
        assert not wrong, "\n".join(wrong)
        assert len(seen) > 20
