"""What a call costs in a journal of 10,000 and of 1,000,000 invoices and payments, in SQLite and in PostgreSQL."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.benchmarks.by_size import measure_by_size
from tests.support.journals import NOON, a_payment, an_invoice, fill, open_journal, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from flash_driver.journal.journal import Journal
    from tests.support.postgres import PostgresServer

__all__ = ["ROWS", "measure"]

ROWS: Final = (10_000, 1_000_000)
_OPEN: Final = 100
"""How many of the invoices are unpaid, and how many of the payments have not ended."""

_PATIENCE_SECONDS: Final = 1200.0


def measure(*, rows: Sequence[int] = ROWS, rounds: int = 30, server: PostgresServer | None = None) -> dict[str, Any]:
    """Measure every call this many times in each database at each size; the figures are milliseconds.

    Raises:
        RuntimeError: PostgreSQL is not installed, and no server is given.

    """
    return measure_by_size(
        lambda url, size, times: asyncio.run(_measure(JournalUrl.parse(url), size, times)),
        rows=rows,
        rounds=rounds,
        server=server,
    )


async def _measure(url: JournalUrl, size: int, rounds: int) -> dict[str, float]:
    """Fill a journal and return what each call takes, in milliseconds, the median of the rounds."""
    async with aclosing(SqlStore(url, patience=_PATIENCE_SECONDS)) as store:
        journal = await open_journal(store)
        await store.transactions.write(lambda connection: fill(connection, size, each=max(2, size // _OPEN)))
        taken: dict[str, list[float]] = {}
        for number in range(rounds + 1):
            for name, call in _calls(journal, size, size + number * 10 + 1).items():
                began = time.perf_counter()
                await call()
                if number:  # the first one of each prepares its statement
                    taken.setdefault(name, []).append((time.perf_counter() - began) * 1000)
        return {name: statistics.median(values) for name, values in taken.items()}


def _calls(journal: Journal, size: int, new: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return what the calls of the contract ask of a journal; `new` is the number of an invoice that there is not."""
    old = size // 2 - 1
    known, middle, deep = f"{old:064x}", f"{size // 2 + 1:064x}", size * 9 // 10
    invoice, payment = an_invoice(new), a_payment(new)

    async def pay() -> None:
        await journal.find_payment(payment.payment_hash)
        await journal.insist_unknown("payment", payment.payment_hash)
        await journal.begin_payment(payment)
        await journal.update_payment(payment, seen=payment)

    async def create() -> None:
        await journal.spend_invoices(Bucket.OWN, InvoiceBudget(20, 120), NOON + timedelta(minutes=5 * new))
        await journal.latest_priced("USD", 8)
        await journal.add_invoice(invoice)

    async def unpaid() -> None:
        async for _ in journal.pending_invoices():
            pass

    return {
        "create_invoice": create,
        "get_invoice": partial(journal.find_invoice, known),
        "get_invoice, unknown": partial(journal.insist_unknown, "invoice", f"{size * 3:064x}"),
        "settle an invoice": partial(settle, journal, new),
        "listener reads on": partial(journal.settled_after, old),
        "watcher reads the unpaid": unpaid,
        "list_invoices": journal.list_invoices,
        "list_invoices after one": partial(journal.list_invoices, after=middle),
        "list_invoices pending": partial(journal.list_invoices, pending_only=True),
        "list_invoices at 90 %": partial(journal.list_invoices, offset=deep),
        "list_orphans": journal.list_orphans,
        "pay": pay,
        "get_payment": partial(journal.find_payment, known),
        "open payments": journal.unresolved_payments,
        "list_payments": journal.list_payments,
        "list_payments after one": partial(journal.list_payments, after=middle),
        "list_payments with pending": partial(journal.list_payments, include_pending=True, after=middle),
        "list_payments at 90 %": partial(journal.list_payments, offset=deep),
    }
