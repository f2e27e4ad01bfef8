"""Hosts such as LNbits run on uvloop: the driver does, too."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import uvloop

from connection_strings import LightMoney, LightningClientFactory, LightningInvoiceStatus, PayResult
from flash_driver.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("unhurried")
def test_from_string_to_settled_on_uvloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invoice, its payment and the news of it, a payment out, and a close that leaves no task behind."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite+aiosqlite:///{tmp_path}/journal.db")

    async def story() -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        async with Sandbox(SandboxOptions(ws_mutations="accept", invoice_unit="sat")) as sandbox:
            async with LightningClientFactory().create(sandbox.connection_string) as client:
                async with await client.listen() as listener, asyncio.timeout(20):
                    invoice = await client.create_invoice(LightMoney.from_sat(1000), "coffee", timedelta(minutes=15))
                    sandbox.pay(invoice.bolt11)
                    paid = await listener.wait_invoice()
                assert (paid.id, paid.status) == (invoice.id, LightningInvoiceStatus.PAID)
                answer = await client.pay(sandbox.foreign_invoice(5000).payment_request)
                assert answer.result is PayResult.OK
            assert sandbox.ledger_snapshot()["operations"]["lnUsdInvoiceCreate"]["websocket"] == 1
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert [name for name in left if name.startswith("flash-driver")] == []

    uvloop.run(story())
