"""Several processes on one journal: what each promises holds for all of them together."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import AsyncExitStack, closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightMoney
from flash_driver.accounts.pool import Pool
from flash_driver.settings.process import ProcessSettings
from tests.support.journals import an_invoice
from tests.support.processes import Driver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.driver import Bench

pytestmark = pytest.mark.timeout(300)

COUNT = 15
PROCESSES = 3


@pytest.fixture
async def drivers() -> AsyncIterator[list[Driver]]:
    """Give processes that carry out orders at the same time."""
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(*(Driver.start() for _ in range(PROCESSES)))
        for driver in started:
            stack.push_async_callback(driver.aclose)
        yield started


class Listener:
    """A host's listener in a process of its own: what it has heard, and where it stands."""

    def __init__(self, driver: Driver, order: dict[str, Any]) -> None:
        self._driver = driver
        self._order = order
        self.cursor: str = order["after"]
        self.heard: list[str] = []
        self.pid = 0
        self.signal: int | None = None
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Listen until everything was heard, or the process is killed."""
        missing = COUNT - len(self.heard)
        async for event in self._driver.events(**{**self._order, "after": self.cursor, "count": missing}):
            if event["event"] == "listening":
                self.pid = event["pid"]
            elif event["event"] == "heard":
                self.heard.append(event["id"])
                self.cursor = event["cursor"]
            elif event["event"] == "ended":
                self.signal = event["signal"]
            self.changed.set()

    async def until_heard(self, count: int) -> None:
        """Wait until that many were heard."""
        await self._until(lambda: len(self.heard) >= count)

    async def until_listening(self) -> None:
        """Wait until it listens."""
        await self._until(lambda: self.pid)

    async def _until(self, true: Any) -> None:
        async with asyncio.timeout(40):
            while not true():
                self.changed.clear()
                await self.changed.wait()


async def test_one_is_killed_and_one_is_stopped(bench: Bench, drivers: list[Driver], journal: str) -> None:
    """Each listener in each of three processes hears each settlement exactly once, in the same order.

    In the middle one process is killed and started again, another is stopped and let go on.
    """
    sandbox = await bench.sandbox()
    settings = ProcessSettings.model_validate({"journal_url": journal, "invoice_budget": None})
    merchant = await bench.client(sandbox, Pool(), settings)
    invoices = [await merchant.create_invoice(LightMoney.from_sat(1000)) for _ in range(COUNT)]
    async with await merchant.listen() as listener:
        start = listener.cursor
    order = {"flow": "listen", "string": sandbox.connection_string, "journal": journal, "after": start}
    killed, stopped, lucky = listeners = [Listener(driver, order) for driver in drivers]
    running = [asyncio.create_task(each.run()) for each in listeners]
    for each in listeners:
        await each.until_listening()
    for invoice in invoices[:5]:
        sandbox.pay(invoice.bolt11)
    for each in listeners:
        await each.until_heard(5)

    os.kill(killed.pid, signal.SIGKILL)
    try:
        await _stop(stopped.pid, journal)
        await running[0]
        assert killed.signal == signal.SIGKILL
        for invoice in invoices[5:10]:
            sandbox.pay(invoice.bolt11)
        await lucky.until_heard(10)
        assert (len(killed.heard), len(stopped.heard)) == (5, 5)
    finally:
        # A process that stays stopped would hold up every test after this one.
        os.kill(stopped.pid, signal.SIGCONT)
    running[0] = asyncio.create_task(killed.run())
    for invoice in invoices[10:]:
        sandbox.pay(invoice.bolt11)
    await asyncio.gather(*running)

    assert sorted(lucky.heard) == sorted(invoice.id for invoice in invoices)
    assert killed.heard == stopped.heard == lucky.heard
    ledger = sandbox.ledger_snapshot()["invoices"]
    assert {entry["payment_hash"] for entry in ledger if entry["status"] == "PAID"} == set(lucky.heard)


async def _stop(process: int, journal: str) -> None:
    """Stop a process; not while it holds the lock of a SQLite file, which nobody can take from it."""
    _, is_file, path = journal.partition("sqlite+aiosqlite:///")
    for _ in range(100):
        os.kill(process, signal.SIGSTOP)
        if not is_file or await _can_be_written(path):
            return
        os.kill(process, signal.SIGCONT)
        await asyncio.sleep(0.05)
    pytest.fail("it held the lock each time it was stopped")


async def _can_be_written(path: str) -> bool:
    for _ in range(40):  # others write as well, and come to an end
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), suppress(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
            return True
        await asyncio.sleep(0.05)
    return False


async def test_all_at_once(bench: Bench, drivers: list[Driver], journal: str) -> None:
    """Indexes have no gap, each payment is begun by one process, and the budget is everybody's.

    All processes settle the same invoices and begin the same payments, each in an order of its own.
    """
    sandbox = await bench.sandbox()
    settings = ProcessSettings.model_validate({"journal_url": journal, "invoice_budget": None})
    merchant = await bench.client(sandbox, Pool(), settings)
    await merchant.list_invoices()
    for number in range(COUNT):
        await merchant._account().journal.add_invoice(an_invoice(number))
    order: dict[str, Any] = {
        "flow": "contend",
        "string": sandbox.connection_string,
        "journal": journal,
        "count": COUNT,
        "budget": 20,
    }
    runs = await asyncio.gather(*(driver.run(**order) for driver in drivers))
    told = [event for run in runs for event in run.all("contended")]
    assert len(told) == COUNT * PROCESSES
    indexes = {(event["number"], event["index"]) for event in told}
    assert sorted(index for _, index in indexes) == list(range(1, COUNT + 1))
    assert sorted(event["number"] for event in told if event["begun"]) == list(range(COUNT))
    assert sum(event["spent"] for event in told) == 20
