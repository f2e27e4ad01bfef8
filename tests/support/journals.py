"""Records for tests of journals, many rows at once, and waiting for a wakeup."""
# ruff: noqa: S608 - rows are made by SQL of the tests' own

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from flash_driver.journal.records import InvoiceRecord, PaymentRecord
from flash_driver.journal.sql.postgresql import PostgresqlDatabase
from flash_driver.journal.sql.sqlite import SqliteDatabase
from flash_driver.journal.wakeup import Topic

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.sql.store import SqlStore
    from flash_driver.journal.store import JournalStore

__all__ = [
    "NOON",
    "a_payment",
    "an_invoice",
    "engines",
    "fill",
    "open_journal",
    "postgresql_engine",
    "set_patience",
    "settle",
    "sqlite_engine",
    "woken",
]

NOON: Final = datetime(2026, 5, 17, 12, tzinfo=UTC)

_NUMBERS: Final = {
    "sqlite": "(WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {count}) "
    "SELECT n FROM counted) AS numbers",
    "postgresql": "(SELECT n FROM generate_series(1, {count}) AS n) AS numbers",
}
_MOMENT: Final = {"sqlite": "'2026-01-01 00:00:00.000000'", "postgresql": "TIMESTAMPTZ '2026-01-01'"}
_FALSE: Final = {"sqlite": "0", "postgresql": "FALSE"}
_HASH: Final = {"sqlite": "printf('%064x', n)", "postgresql": "lpad(to_hex(n), 64, '0')"}


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


def fill(connection: Connection, count: int, *, each: int = 1000) -> None:
    """Add settled invoices and completed payments to an empty account; one in `each` is unpaid, or open."""
    kind = connection.dialect.name
    payment_hash, moment, false, numbers = _HASH[kind], _MOMENT[kind], _FALSE[kind], _NUMBERS[kind].format(count=count)
    connection.execute(
        text(
            "INSERT INTO flash_invoices (account, payment_hash, bolt11, wallet_id, currency, amount_msat, cents, "
            "description, created_at, expires_at, status, settle_index, amount_received_msat, preimage, orphan) "
            f"SELECT 1, {payment_hash}, 'lnbc', 'w', 'USD', 1000, '0.1', '', {moment}, {moment}, "
            f"CASE WHEN n % {each} = 0 THEN 'unpaid' ELSE 'paid' END, CASE WHEN n % {each} = 0 THEN NULL ELSE n END, "
            f"1, 'p', {false} FROM {numbers}"
        )
    )
    connection.execute(
        text(
            "INSERT INTO flash_payments (account, payment_hash, attempt, bolt11, wallet_id, amount_msat, created_at, "
            f"status, begun_by, resolve_early) SELECT 1, {payment_hash}, 1, 'lnbc', 'w', 1, {moment}, "
            f"CASE WHEN n % {each} = 0 THEN 'unknown' ELSE 'complete' END, '', {false} FROM {numbers}"
        )
    )
    connection.execute(text(f"UPDATE flash_accounts SET last_settle_index = {count}"))
    connection.execute(text("ANALYZE"))


def postgresql_engine(store: SqlStore) -> AsyncEngine:
    """Return what holds a store's connections to PostgreSQL."""
    assert isinstance(store.transactions._database, PostgresqlDatabase)
    return store.transactions._database.engine


def sqlite_engine(store: SqlStore) -> Engine:
    """Return what holds the connection with which a store writes to its file."""
    assert isinstance(store.transactions._database, SqliteDatabase)
    return store.transactions._database._to_write


def engines(store: SqlStore) -> list[Engine]:
    """Return all that holds connections of a store."""
    database = store.transactions._database
    if isinstance(database, SqliteDatabase):
        return [database._to_read, database._to_write]
    return [postgresql_engine(store).sync_engine]


async def settle(journal: Journal, number: int, **facts: Any) -> InvoiceRecord | None:
    """Settle the invoice with this number."""
    told = {"paid_at": NOON + timedelta(seconds=5), "amount_received_msat": 1000 * number, **facts}
    return await journal.settle_invoice(f"{number:064x}", **told)


async def woken(journal: Journal, topic: Topic) -> None:
    """Wait until there is news of a topic in the journal."""
    news = journal.news.made if topic is Topic.MADE else journal.news.settled
    with news.waiting() as heard:
        async with asyncio.timeout(40):
            await heard
