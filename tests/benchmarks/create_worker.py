"""Creates invoices with the driver, in a process of its own; see `create.py`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightMoney, LightningClientFactory
from tests.benchmarks.answers import MSAT
from tests.benchmarks.children import obey, tell
from tests.benchmarks.load import load
from tests.support.unhurried import unhurry

if TYPE_CHECKING:
    from collections.abc import Mapping

_AMOUNT: Final = LightMoney.from_msat(MSAT)
_EXPIRY: Final = timedelta(minutes=15)
_BEFORE: Final = 5


async def carry_out(order: Mapping[str, Any]) -> None:
    """Create that many invoices, that many at once, into a fresh SQLite file; the first few are not counted."""
    client = LightningClientFactory().create(order["connection_string"])

    async def create() -> None:
        await client.create_invoice(_AMOUNT, "coffee", _EXPIRY)

    async with client:
        await load(create, 1, requests=_BEFORE)
        sample = await load(create, order["at_once"], requests=order["invoices"])
        journalled = len(await client.list_invoices())
    tell(**asdict(sample), journalled=journalled - _BEFORE)


if __name__ == "__main__":
    unhurry()  # what is measured is how long it takes: a busy machine must not end it
    obey(carry_out)
