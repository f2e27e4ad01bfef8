"""A clock that is minutes off costs no invoice: what decides is the server's clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningInvoiceStatus
from flash_driver.sandbox import Sandbox, SandboxOptions
from tests.support.timing import SHORT

if TYPE_CHECKING:
    from tests.support.driver import Bench

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")


@pytest.mark.parametrize("mutations", ["accept", "decline"])
@pytest.mark.parametrize(("apart", "words"), [(-10, "ahead"), (10, "behind")], ids=["fast", "slow"])
async def test_an_invoice_is_made_and_paid(
    bench: Bench, mutations: str, apart: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With this machine's clock ten minutes off, invoices are made, paid and told; the log says so once."""
    options = SandboxOptions(ws_mutations=mutations, rate_limit="off")  # type: ignore[arg-type]  # one of the literals
    async with Sandbox(options, clock=lambda: datetime.now(UTC) + timedelta(minutes=apart)) as sandbox:
        client = await bench.client(sandbox, timing=SHORT)
        async with await client.listen() as listener:
            await client.create_invoice(COFFEE)
            invoice = await client.create_invoice(COFFEE)
            found = await client.get_invoice(invoice.id)
            assert found is not None
            assert found.status is LightningInvoiceStatus.UNPAID
            sandbox.pay(invoice.bolt11)
            async with asyncio.timeout(40):
                assert (await listener.wait_invoice()).id == invoice.id
        await client.aclose()
    told = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert len(told) == 1
    assert f"it_is={words}" in told[0]
