"""One replica on a PostgreSQL that others use too; see `replicas.py`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from contextlib import aclosing
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common.tasks import TaskSet
from flash_driver.journal.errors import JournalError
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.benchmarks.children import heed, obey, tell
from tests.support.journals import NOON, an_invoice, open_journal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from flash_driver.journal.journal import Journal

_PATIENCE_SECONDS: Final = 40.0
"""Many processes on few cores are slow; what is too slow for a host is seen in the figures."""


class Listener:
    """Counts what a listener is told, and the notifications that PostgreSQL sent for it."""

    def __init__(self, store: SqlStore, journal: Journal) -> None:
        self._journal = journal
        self._wake = store._notifier._wake
        self.notifications = self.last = 0
        store._notifier._wake = self._count

    def _count(self, account: int | None = None, topic: Any = None) -> None:
        self.notifications += topic is not None
        self._wake(account, topic)

    async def listen(self) -> None:
        """Read settlements as they come."""
        while True:
            with self._journal.news.settled.waiting() as woken:
                while settled := await self._journal.settled_after(self.last, 1000):
                    self.last = settled[-1].settle_index or 0
                await woken


async def carry_out(order: Mapping[str, Any]) -> None:
    """Open the journal, then make invoices, settle them, and tell when all are heard, each on its order."""
    tasks = TaskSet()
    async with aclosing(SqlStore(JournalUrl.parse(order["url"]), _PATIENCE_SECONDS)) as store:
        journal = await open_journal(store, order["account"], order["account"])
        listener = Listener(store, journal)
        tasks.start(listener.listen(), "benchmark listener")
        made: list[str] = []
        numbers = itertools.count()
        tell(ready=True)

        async def make() -> bool:
            payment_hash = sha256(f"{id(made)} {time.time_ns()} {next(numbers)}".encode()).hexdigest()
            await journal.add_invoice(an_invoice(1, payment_hash=payment_hash))
            made.append(payment_hash)
            return True

        async def settle() -> bool:
            if not made:
                return False
            payment_hash = made.pop()
            try:
                await journal.settle_invoice(payment_hash, paid_at=NOON, amount_received_msat=1000)
            except JournalError:
                made.append(payment_hash)
                raise
            return True

        for work in (make, settle):
            tell(**await _repeated(work, order["at_once"], (await heed())["seconds"]))
        expected, began = (await heed())["expected"], time.perf_counter()
        while listener.last < expected:  # noqa: ASYNC110 - the journal counts, nobody tells
            await asyncio.sleep(0.005)
        tell(seconds=time.perf_counter() - began, notifications=listener.notifications)
        await tasks.aclose()


async def _repeated(work: Callable[[], Awaitable[bool]], at_once: int, seconds: float) -> dict[str, Any]:
    """Do something again and again while there is something to do; tell how often, and how long that took.

    One that held others up for so long that its session was ended does not count, and is done again.
    """
    began, count = time.perf_counter(), 0

    async def go_on() -> None:
        nonlocal count
        while time.perf_counter() - began < seconds:
            with contextlib.suppress(JournalError):
                if not await work():
                    break
                count += 1

    await asyncio.gather(*(go_on() for _ in range(at_once)))
    return {"count": count, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    obey(carry_out)
