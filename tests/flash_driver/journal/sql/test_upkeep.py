"""What an operator does with a journal."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.journal.errors import UnreadableRow
from flash_driver.journal.sql import upkeep
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import NOON, a_payment, an_invoice, open_journal, settle
from tests.support.logs import recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def store(durable_url: JournalUrl) -> AsyncIterator[SqlStore]:
    """Give a store of each durable kind with three invoices, an orphan and a payment."""
    async with aclosing(SqlStore(durable_url)) as made:
        journal = await open_journal(made, "fingerprint", "api.example/graphql account")
        for number in (1, 2, 3):
            await journal.add_invoice(an_invoice(number))
        await journal.add_orphan(an_invoice(4))
        await settle(journal, 1)
        await journal.begin_payment(a_payment(5))
        yield made


async def test_a_damaged_row_keeps_nobody_from_the_others(store: SqlStore) -> None:
    """A row that no driver wrote is left out of lists, told in the log and by the check, and is never said unknown."""
    damage = text("UPDATE flash_invoices SET status = 'nonsense' WHERE payment_hash = :hash")
    hashes = {"hash": an_invoice(2).payment_hash}
    await store.transactions.write(lambda connection: connection.execute(damage, hashes))
    journal = await open_journal(store, "fingerprint", None)
    with recorded() as story:
        assert [row.payment_hash for row in await journal.list_invoices()] == [f"{1:064x}", f"{3:064x}"]
    assert story.entry("a damaged row is left out")["row"] == 2
    with pytest.raises(UnreadableRow, match="has a damaged row; see flash-driver journal check"):
        await journal.find_invoice(an_invoice(2).payment_hash)
    numbers, place = await store.transactions.read(lambda connection: upkeep.damaged(connection, "invoices", 0))
    assert numbers == [2]
    assert await store.transactions.read(lambda c: upkeep.damaged(c, "invoices", place or 0)) == ([], None)
    assert (await store.transactions.read(lambda c: upkeep.damaged(c, "payments", 0)))[0] == []


async def test_pruning_keeps_what_counts(store: SqlStore) -> None:
    """What was never paid goes, orphans too; what was settled, what may still be paid, and payments stay."""
    journal = await open_journal(store, "fingerprint", None)
    late = an_invoice(6, expires_at=NOON + timedelta(days=9))
    await journal.add_invoice(late)
    pruned = await store.transactions.write(lambda c: upkeep.prune(c, NOON + timedelta(days=8)))
    assert pruned == 3
    assert [row.status for row in await journal.list_invoices()] == [
        LightningInvoiceStatus.PAID,
        LightningInvoiceStatus.UNPAID,
    ]
    assert await journal.list_orphans() == []
    assert len(await journal.list_payments(include_pending=True)) == 1
    assert await journal.last_settle_index() == 1


async def test_a_summary_and_every_row(store: SqlStore) -> None:
    """Size and rows are told for each account of each server, and every row can be read out."""
    (summary,) = await store.transactions.read(upkeep.summaries)
    assert (summary.server, summary.account_id) == ("api.example/graphql", "account")
    assert (summary.invoices, summary.orphans, summary.settled, summary.payments) == (4, 1, 1, 1)
    assert summary.oldest == NOON
    assert await store.transactions.read(upkeep.size_bytes) > 0
    rows = await store.transactions.read(lambda c: upkeep.page(c, "invoices", 0))
    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    assert await store.transactions.read(lambda c: upkeep.page(c, "invoices", 4)) == []


async def test_a_backup_put_back_invents_nothing(sqlite_url: JournalUrl, tmp_path: Path) -> None:
    """A copy made in use is a whole journal: put back it has what it had, and goes on from there."""
    copy = tmp_path / "copy.db"
    async with aclosing(SqlStore(sqlite_url)) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))
        await settle(journal, 1)
        await journal.begin_payment(a_payment(5))
        assert sqlite_url.path is not None
        upkeep.back_up(sqlite_url.path, copy)
        await journal.add_invoice(an_invoice(2))
        await settle(journal, 2)
    assert copy.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        upkeep.back_up(sqlite_url.path, copy)
    restored = JournalUrl.parse(f"sqlite+aiosqlite:///{copy}")
    async with aclosing(SqlStore(restored)) as store:
        again = await open_journal(store)
        assert (again.id, await again.last_settle_index()) == (journal.id, 1)
        known = a_payment(5)
        assert await again.find_payment(known.payment_hash) == known
        assert (await again.begin_payment(replace(known, attempt=2))).record == known


def test_a_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """What can't be read is not copied in part: nobody may take half a copy for a whole one."""
    (tmp_path / "torn.db").write_bytes(b"not a database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        upkeep.back_up(tmp_path / "torn.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


async def test_what_was_never_paid_is_deleted_after_its_days(durable_url: JournalUrl) -> None:
    """With a number of days set, old unpaid invoices go by themselves; what was settled stays."""
    async with aclosing(SqlStore(durable_url)) as store:
        journal = await open_journal(store)
        for number in (1, 2):
            await journal.add_invoice(an_invoice(number))
        await settle(journal, 1)
    async with aclosing(SqlStore(durable_url, keep_days=3)) as store:
        again = await open_journal(store)
        async with asyncio.timeout(20):
            while len(left := await again.list_invoices()) > 1:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        assert [row.settle_index for row in left] == [1]
