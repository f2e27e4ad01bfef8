"""What a hundred thousand pending invoices cost one watcher: `python -m tests.benchmarks.pending`.

Prints the memory per pending invoice beyond its row in the journal, how long a reconnection takes until the newest and
until all invoices have been asked about, and how many requests that sends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
import tracemalloc
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import CreateInvoiceParams, LightMoney
from flash_driver.journal.urls import JournalUrl
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening
from tests.support.driver import Bench, operations
from tests.support.timing import account_of, watched_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_driver.client import FlashLightningClient
    from flash_driver.common.deadline import Deadline
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.sandbox import Sandbox
    from flash_driver.settlements.listeners import FlashInvoiceListener

__all__ = ["Figures", "main", "measure"]

_STATUS: Final = "lnInvoicePaymentStatus"
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        invoices: How many were pending.
        bytes_each: Memory of the watcher per pending invoice, beyond the journal.
        seconds_to_load: From `listen` until all were watched.
        seconds_to_settle: From a payment until it was delivered, on a socket that is well.
        seconds_to_hear: From the loss of the socket until settlements were heard again.
        seconds_to_newest: From the loss until the newest invoice, paid meanwhile without an event, was delivered.
        requests_by_then: Status questions sent from the loss until then.
        requests_at_once: The most status questions that were under way at the same time.
        questions_per_second: How fast the rest is asked about.

    """

    invoices: int
    bytes_each: int
    seconds_to_load: float
    seconds_to_settle: float
    seconds_to_hear: float
    seconds_to_newest: float
    requests_by_then: int
    requests_at_once: int
    questions_per_second: float


async def measure(invoices: int, watch_seconds: float = 5.0) -> Figures:
    """Measure with that many pending invoices, and watch the questions for a while afterwards."""
    async with AsyncExitStack() as stack:
        bench = Bench(stack)
        sandbox = await bench.sandbox()
        process = ProcessSettings(journal_url=JournalUrl.parse("memory:"), invoice_budget=None)
        client = await bench.client(sandbox, process=process)
        made = await client.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000)))
        await _fill_journal(client, made.id, invoices - 1)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        began = time.perf_counter()
        listener = await client.listen()
        await until(lambda: client.health.pending == invoices, 60)
        loaded = time.perf_counter() - began
        await until(lambda: client.health.listening is Listening.HEARING, 60)
        gc.collect()
        bytes_each = (tracemalloc.get_traced_memory()[0] - before) // invoices
        tracemalloc.stop()
        settled = await _settle_one(client, sandbox, listener)
        under_way = _UnderWay(client)
        newest = await client.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000)))
        sandbox.arm("drop_settlement")
        sandbox.pay(newest.bolt11)
        asked, began = _asked(sandbox), time.perf_counter()
        sandbox.arm("reset", when="now")
        await until(lambda: client.health.reconnects == 1, 60)
        await until(lambda: client.health.listening is Listening.HEARING, 60)
        heard = time.perf_counter() - began
        async with asyncio.timeout(60):
            assert (await listener.wait_invoice()).id == newest.id
        found, by_then = time.perf_counter() - began, _asked(sandbox) - asked
        asked, began = _asked(sandbox), time.perf_counter()
        await asyncio.sleep(watch_seconds)
        speed = (_asked(sandbox) - asked) / (time.perf_counter() - began)
        return Figures(invoices, bytes_each, loaded, settled, heard, found, by_then, under_way.most, speed)


async def _settle_one(client: FlashLightningClient, sandbox: Sandbox, listener: FlashInvoiceListener) -> float:
    """Pay an invoice among all the others; gives the seconds until the listener had it."""
    invoice = await client.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000)))
    began = time.perf_counter()
    sandbox.pay(invoice.bolt11)
    async with asyncio.timeout(60):
        assert (await listener.wait_invoice()).id == invoice.id
    return time.perf_counter() - began


class _UnderWay:
    """Counts the questions that are under way at the same time."""

    def __init__(self, client: FlashLightningClient) -> None:
        self._lookup = watched_of(client).lookup
        self._refresh = self._lookup.refresh
        self._now = 0
        self.most = 0
        self._lookup.refresh = self._counted  # type: ignore[method-assign]  # to count, on this object alone

    async def _counted(self, record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return await self._refresh(record, deadline)
        finally:
            self._now -= 1


async def _fill_journal(client: FlashLightningClient, payment_hash: str, count: int) -> None:
    """Put copies of an invoice into the journal, made over the last day and good for another one."""
    journal = account_of(client).journal
    model = await journal.find_invoice(payment_hash)
    assert model is not None
    now = datetime.now(UTC)
    for number in range(count):
        await journal.add_invoice(_copy(model, number, now - _DAY * number / max(1, count)))


def _copy(model: InvoiceRecord, number: int, created_at: datetime) -> InvoiceRecord:
    return replace(model, payment_hash=f"{number:064x}", created_at=created_at, expires_at=created_at + 2 * _DAY)


def _asked(sandbox: Sandbox) -> int:
    return sum(operations(sandbox, _STATUS).values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--invoices", type=int, default=100_000)
    figures = asyncio.run(measure(parser.parse_args(arguments).invoices))
    rows = (
        ("pending invoices", f"{figures.invoices}"),
        ("memory per pending invoice", f"{figures.bytes_each} bytes"),
        ("until all are watched", f"{figures.seconds_to_load:.2f} s (traced)"),
        ("a payment is delivered after", f"{figures.seconds_to_settle * 1000:.1f} ms"),
        ("after a loss: until heard again", f"{figures.seconds_to_hear:.2f} s"),
        ("after a loss: until the newest is found paid", f"{figures.seconds_to_newest:.2f} s"),
        ("status requests sent by then", f"{figures.requests_by_then}"),
        ("status requests under way at most", f"{figures.requests_at_once}"),
        ("then, status requests per second", f"{figures.questions_per_second:.1f}"),
    )
    for name, value in rows:
        print(f"{name:<46}{value:>18}")  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
