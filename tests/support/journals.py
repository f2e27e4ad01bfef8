"""Records for tests of journals, and waiting for a wakeup."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flash_driver.journal.records import InvoiceRecord, PaymentRecord
from flash_driver.journal.sql.postgresql import PostgresqlDatabase
from flash_driver.journal.sql.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.sql.store import SqlStore
    from flash_driver.journal.store import JournalStore

__all__ = [
    "NOON",
    "a_payment",
    "an_invoice",
    "open_journal",
    "postgresql_engine",
    "rung",
    "set_patience",
    "settle",
    "sqlite_engine",
]

NOON: Final = datetime(2026, 5, 17, 12, tzinfo=UTC)


def an_invoice(number: int, **changes: Any) -> InvoiceRecord:
    """Make an invoice; the later its number, the later it expires."""
    record = InvoiceRecord(
        payment_hash=f"{number:064x}",
        bolt11=f"lnbcrt{number}",
        wallet_id="00000000-0000-0000-0000-000000000001",
        currency="USD",
        amount_msat=1000 * number,
        cents=Decimal("1.230"),
        description="coffee",
        created_at=NOON,
        expires_at=NOON + timedelta(seconds=60 + number),
    )
    return replace(record, **changes)


def a_payment(number: int, attempt: int = 1, **changes: Any) -> PaymentRecord:
    """Make an attempt to pay."""
    record = PaymentRecord(
        payment_hash=f"{number:064x}",
        bolt11=f"lnbcrt{number}",
        wallet_id="00000000-0000-0000-0000-000000000001",
        amount_msat=1000 * number,
        created_at=NOON,
        attempt=attempt,
        idempotency_key=f"key {number} {attempt}",
    )
    return replace(record, **changes)


async def open_journal(store: JournalStore, fingerprint: str = "fingerprint", scope: str | None = "account") -> Journal:
    """Return the journal of an account that the server has named, or (None) that the store knows from before."""

    async def nobody_tells() -> None:
        raise LookupError(fingerprint)

    journal = store.journal(fingerprint, nobody_tells)
    if scope is not None:
        journal.owner.belongs_to(scope)
    await journal.owner.account()
    return journal


def set_patience(store: SqlStore, seconds: float) -> None:
    """Let transactions of a store take so long from now on: a store that is to lose patience has to be open before."""
    store.transactions._patience = seconds


def postgresql_engine(store: SqlStore) -> AsyncEngine:
    """Return what holds a store's connections to PostgreSQL."""
    assert isinstance(store.transactions._database, PostgresqlDatabase)
    return store.transactions._database.engine


def sqlite_engine(store: SqlStore) -> Engine:
    """Return what holds a store's connections to its file."""
    assert isinstance(store.transactions._database, SqliteDatabase)
    return store.transactions._database._engine


async def settle(journal: Journal, number: int, **facts: Any) -> InvoiceRecord | None:
    """Settle the invoice with this number."""
    told = {"paid_at": NOON + timedelta(seconds=5), "amount_received_msat": 1000 * number, **facts}
    return await journal.settle_invoice(f"{number:064x}", **told)


async def rung(journal: Journal) -> None:
    """Wait until the journal's wakeup rings."""
    with journal.wakeup.waiting() as ring:
        async with asyncio.timeout(20):
            await ring
