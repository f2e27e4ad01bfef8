"""Times what a host waits for, in a process of its own; see `latency.py`."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings import CreateInvoiceParams, LightMoney, LightningClientFactory
from flash_driver.settlements.health import Listening
from tests.benchmarks.answers import MSAT
from tests.benchmarks.children import heed, obey, tell
from tests.support.unhurried import unhurry
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connection_strings import LightningClient

_AMOUNT: Final = LightMoney.from_msat(MSAT)
_EXPIRY: Final = timedelta(minutes=15)
_CALM_SECONDS: Final = 1.0
"""The questions that follow upon listening are answered by then."""
_PARAMS: Final = CreateInvoiceParams(_AMOUNT, "coffee", _EXPIRY)


async def carry_out(order: Mapping[str, Any]) -> None:
    """Prepare one thing, say that it is ready, wait for the word, and time it."""
    async with LightningClientFactory().create(order["connection_string"]) as client:
        if order["what"] == "settle":
            await _settle(client)
            return
        if order["what"] != "cold":
            await client.create_invoice(_PARAMS)
            await client.warm_up()  # type: ignore[attr-defined]  # Flash's has it
        tell(ready=True)
        await heed()
        began = time.perf_counter()
        if order["what"] == "many":
            made = await client.create_invoices([_PARAMS] * order["count"])
            assert len({invoice.id for invoice in made}) == order["count"]
        else:
            await client.create_invoice(_PARAMS)
        tell(seconds=time.perf_counter() - began)


async def _settle(client: LightningClient) -> None:
    """Say which invoice to pay, and when it was heard to be, on the clock that all processes share."""
    async with await client.listen() as listener:
        invoice = await client.create_invoice(_PARAMS)
        await until(lambda: client.health.listening is Listening.HEARING)  # type: ignore[attr-defined]  # Flash's has it
        await asyncio.sleep(_CALM_SECONDS)
        tell(payment_hash=invoice.id)
        paid = await listener.wait_invoice()
        tell(at=time.monotonic(), payment_hash=paid.id)


if __name__ == "__main__":
    unhurry()  # what is measured is how long it takes: a busy machine must not end it
    obey(carry_out)
