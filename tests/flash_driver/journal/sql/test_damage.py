"""A file with damaged bytes: whatever is asked gets an answer or one clear error, never a raw one."""
# ruff: noqa: ASYNC240 - a test may block on its own files

from __future__ import annotations

import random
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from connection_strings.errors import LightningError
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import NOON, a_payment, an_invoice, open_journal, settle
from tests.support.thorough import cases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from flash_driver.journal.journal import Journal

FILES: Final = cases(20, 400)
FLIPPED: Final = 12
ROWS: Final = 12


async def filled(path: Path) -> bytes:
    """Return a file of invoices and payments of every kind."""
    async with aclosing(SqlStore(JournalUrl.parse(f"sqlite:///{path}"))) as store:
        journal = await open_journal(store)
        for number in range(1, ROWS):
            await journal.add_invoice(an_invoice(number))
            await journal.begin_payment(a_payment(number, sent_at=NOON))
        for number in range(1, ROWS, 3):
            await settle(journal, number, preimage=None)
            seen = a_payment(number, sent_at=NOON)
            await journal.update_payment(a_payment(number, status=LightningPaymentStatus.UNKNOWN), seen=seen)
            await journal.expire_invoice(an_invoice(number + 1).payment_hash)
        await journal.add_orphan(an_invoice(ROWS))
    return path.read_bytes()


def questions(journal: Journal) -> list[Awaitable[Any]]:
    """Return everything that hosts and the driver ask of a journal."""
    mine = a_payment(90)
    return [
        *(journal.find_invoice(an_invoice(number).payment_hash) for number in range(1, ROWS)),
        *(journal.find_payment(a_payment(number).payment_hash) for number in range(1, ROWS)),
        journal.list_invoices(),
        journal.list_invoices(pending_only=True, after=an_invoice(1).payment_hash),
        journal.list_payments(),
        journal.list_payments(include_pending=True),
        journal.unresolved_payments(),
        journal.list_orphans(),
        journal.latest_priced("USD", 8),
        journal.made_after(0),
        journal.incomplete_invoices(NOON - timedelta(days=1)),
        journal.settled_after(0),
        journal.last_settle_index(),
        every(journal.pending_invoices(expired_since=NOON - timedelta(days=1), page=3)),
        journal.spend_invoices(Bucket.OWN, InvoiceBudget(20, 120), NOON),
        journal.add_invoice(an_invoice(90)),
        settle(journal, 2),
        journal.complete_invoice(an_invoice(1).payment_hash, preimage="ab" * 32),
        journal.expire_invoice(an_invoice(5).payment_hash),
        journal.begin_payment(mine),
        journal.update_payment(a_payment(90, status=LightningPaymentStatus.FAILED), seen=mine),
    ]


async def every(rows: AsyncIterator[object]) -> int:
    """Count what is yielded."""
    return len([row async for row in rows])


@pytest.mark.timeout(cases(240, 1200))
@pytest.mark.many_cases
async def test_damaged_bytes_raise_nothing_raw(tmp_path: Path) -> None:
    """Of files with some bytes changed at random each question is answered, or refused with a LightningError."""
    whole = await filled(tmp_path / "whole.db")
    draw = random.Random(14)  # noqa: S311 - the same damage in every run
    for number in range(FILES):
        damaged = bytearray(whole)
        for place in draw.sample(range(100, len(whole)), FLIPPED):
            damaged[place] ^= 1 << draw.randrange(8)
        path = tmp_path / f"{number}.db"
        path.write_bytes(damaged)
        async with aclosing(SqlStore(JournalUrl.parse(f"sqlite:///{path}"))) as store:
            try:
                journal = await open_journal(store)
            except LightningError:
                continue
            for question in questions(journal):
                try:
                    await question
                except LightningError:
                    continue


async def test_damaged_rows_hide_no_others(tmp_path: Path) -> None:
    """A row that can't be read is left out of whatever asks for many; the others are there."""
    async with aclosing(SqlStore(JournalUrl.parse(f"sqlite:///{tmp_path / 'j.db'}"))) as store:
        journal = await open_journal(store)
        for number in (1, 2, 3):
            await journal.add_invoice(an_invoice(number))
        await store.transactions.write(
            lambda connection: connection.exec_driver_sql("UPDATE flash_invoices SET created_at = 'x' WHERE id = 2")
        )
        assert await every(journal.pending_invoices(page=1)) == 2
        assert len((await journal.made_after(0))[0]) == 2
        assert len(await journal.latest_priced("USD", 8)) == 2
        await store.transactions.write(
            lambda connection: connection.exec_driver_sql(
                "UPDATE flash_invoices SET status = 'paid', settle_index = id"
            )
        )
        assert len(await journal.incomplete_invoices(NOON)) == 2
        assert len(await journal.settled_after(0)) == 2
