"""A journal put back from a backup, while the world went on: it invents nothing, and pays nothing twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from connection_strings import InvalidRequest, LightMoney, LightningInvoiceStatus, PayResult
from flash_driver.accounts.pool import Pool
from flash_driver.journal.sql.upkeep import back_up
from flash_driver.settings.process import ProcessSettings
from tests.support.payments import executed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.driver import Bench

SAT = LightMoney.from_sat(1000)


async def test_a_journal_of_yesterday(bench: Bench, tmp_path: Path) -> None:
    """Its cursors are refused in words; what it knows is asked about again; a payment made since is not made again."""
    journal, backup = tmp_path / "journal.db", tmp_path / "backup.db"
    process = ProcessSettings.model_validate({"journal_url": f"sqlite:///{journal}", "invoice_budget": None})
    sandbox = await bench.sandbox()
    bolt11 = sandbox.foreign_invoice(1_000_000).payment_request
    client = await bench.client(sandbox, Pool(), process)
    kept = await client.create_invoice(SAT)
    await asyncio.to_thread(back_up, journal, backup)
    forgotten = await client.create_invoice(SAT)
    assert (await client.pay(bolt11)).result is PayResult.OK
    async with await client.listen() as listener, asyncio.timeout(40):
        sandbox.pay(kept.bolt11)
        assert (await listener.wait_invoice()).id == kept.id
        cursor = listener.cursor
    await client.aclose()
    for each in journal.parent.glob("journal.db*"):
        each.unlink()
    backup.rename(journal)

    restored = await bench.client(sandbox, Pool(), process)
    with pytest.raises(InvalidRequest, match="after: points beyond the last settlement of this journal"):
        await restored.listen(after=cursor)
    async with await restored.listen() as listener, asyncio.timeout(40):
        assert (await listener.wait_invoice()).id == kept.id
    assert [invoice.id for invoice in await restored.list_invoices()] == [kept.id]
    assert await restored.get_invoice(forgotten.id) is None
    assert await restored.list_payments() == []
    assert (await restored.pay(bolt11)).result is PayResult.OK
    assert executed(sandbox) == [1]
    found = await restored.get_invoice(kept.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.PAID
