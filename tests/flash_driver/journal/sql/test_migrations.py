"""Journals of older and newer versions."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text

from connection_strings.lightning import LightningInvoiceStatus, LightningPaymentStatus
from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.errors import JournalError, KnownElsewhere
from flash_driver.journal.sql.migrations import NEWEST
from flash_driver.journal.sql.schema import metadata
from flash_driver.journal.sql.store import SqlStore
from tests.support.journals import NOON, an_invoice, open_journal, settle

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection

    from flash_driver.journal.urls import JournalUrl

VERSION_1 = Path(__file__).parents[3] / "vectors" / "journal_v1.sql"


def make_version_1(url: JournalUrl) -> None:
    """Make the file that a driver of schema version 1 left behind."""
    assert url.path is not None
    url.path.parent.mkdir()
    with closing(sqlite3.connect(url.path)) as connection:
        connection.executescript(VERSION_1.read_text())


async def test_version_1_is_carried_over(sqlite_url: JournalUrl) -> None:
    """A file of version 1 keeps its invoices, settlements, payments, tokens and cursors, and goes on from there."""
    make_version_1(sqlite_url)
    store = SqlStore(sqlite_url)
    journal = await open_journal(store, "fingerprint", None)
    assert journal.id == "0123456789ab"
    first, second = await journal.list_invoices()
    assert (first.status, first.settle_index, first.amount_received_msat) == (LightningInvoiceStatus.PAID, 1, 1000)
    assert second == an_invoice(2, description="tea")
    assert [row.status for row in await journal.list_payments()] == [LightningPaymentStatus.COMPLETE]
    settled = await settle(journal, 2)
    assert settled is not None
    assert settled.settle_index == 2
    await journal.add_orphan(an_invoice(3))
    await journal.block_invoices(Bucket.PUBLIC, NOON)
    assert await journal.spend_invoices(Bucket.OWN, InvoiceBudget(1, 120), NOON) is None
    assert await journal.list_orphans() == [an_invoice(3, orphan=True)]
    await store.aclose()
    again = SqlStore(sqlite_url)
    assert await open_journal(again, "fingerprint", None) is not None
    await again.aclose()


async def test_an_account_of_version_2_belongs_to_the_server_of_its_token(sqlite_url: JournalUrl) -> None:
    """Once no server was written down: the token that opened the account proves which it is, nothing else does."""
    make_version_1(sqlite_url)
    async with aclosing(SqlStore(sqlite_url)) as store:
        old = await open_journal(store, "fingerprint", None)
        stranger = await open_journal(store, "of another server", "evil.example/graphql account")
        assert await stranger.list_invoices() == []
        with pytest.raises(KnownElsewhere, match="of a server that an older driver did not write down"):
            await stranger.insist_unknown("invoice", an_invoice(2).payment_hash)
        mine = await open_journal(store, "fingerprint", "good.example/graphql account")
        assert (mine.id, len(await mine.list_invoices())) == (old.id, 2)
        new_login = await open_journal(store, "a new token", "good.example/graphql account")
        assert new_login.id == old.id


async def test_a_newer_journal_is_left_alone(durable_url: JournalUrl) -> None:
    """A journal that a newer driver made is refused with what to do, each time, and not touched."""
    store = SqlStore(durable_url)
    await open_journal(store, "fingerprint", "account")

    def grow(connection: Connection) -> None:
        connection.execute(text("UPDATE flash_journal SET version = 99"))

    await store.transactions.write(grow)
    await store.aclose()
    older = SqlStore(durable_url)
    for _ in range(2):
        with pytest.raises(JournalError, match=f"has schema version 99, .* up to {NEWEST}; update flash-driver"):
            await open_journal(older, "fingerprint", "account")
    version = await older.transactions.read(
        lambda connection: connection.execute(text("SELECT version FROM flash_journal")).scalar()
    )
    assert version == 99
    await older.aclose()


async def test_many_open_an_empty_database_at_once(durable_url: JournalUrl) -> None:
    """Of many that come at once one makes the tables, and all work."""
    stores = [SqlStore(durable_url, patience=40) for _ in range(5)]
    journals = await asyncio.gather(
        *(open_journal(store, f"fingerprint {n}", "account") for n, store in enumerate(stores))
    )
    assert len({journal.id for journal in journals}) == 1
    for store in stores:
        await store.aclose()


async def test_steps_lead_to_the_schema(durable_url: JournalUrl) -> None:
    """The tables that the steps make are the tables that the code uses."""
    store = SqlStore(durable_url)
    await open_journal(store, "fingerprint", "account")

    def look(connection: Connection) -> dict[str, Any]:
        found = inspect(connection)
        return {
            table: {
                "columns": {column["name"]: column["nullable"] for column in found.get_columns(table)},
                "indexes": {
                    (index["name"], tuple(index["column_names"]))
                    for index in found.get_indexes(table)
                    if not index.get("duplicates_constraint")
                },
                "unique": {tuple(unique["column_names"]) for unique in found.get_unique_constraints(table)},
            }
            for table in found.get_table_names()
        }

    made = await store.transactions.read(look)
    assert set(made) - {"sqlite_sequence"} == set(metadata.tables)
    for name, table in metadata.tables.items():
        columns = {column.name: bool(column.nullable) for column in table.columns}
        assert made[name]["columns"] == columns, name
        assert made[name]["indexes"] == {(index.name, tuple(index.columns.keys())) for index in table.indexes}
    assert made["flash_invoices"]["unique"] == {("account", "payment_hash"), ("account", "settle_index")}
    assert made["flash_payments"]["unique"] == {("account", "payment_hash", "attempt")}
    await store.aclose()
