"""A shop under a steady load, in a process of its own, that tells what it holds now and then; see `soak.py`.

Says: {"sample": {...}}, {"heard": payment hash}, and at the end {"done": {...}}.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from connection_strings import LightMoney, LightningClientFactory, LightningError
from tests.benchmarks.accounts_worker import resident_bytes
from tests.benchmarks.children import obey, tell
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from connection_strings import LightningClient

_AMOUNT: Final = LightMoney.from_sat(1000)
_EXPIRY: Final = timedelta(minutes=1)
_MOST_AT_ONCE: Final = 400
_LATEST_PAYMENT: Final = 0.2
"""Of an invoice's life: payments come early, so that each is a settlement, and not one after the expiry."""


class _Shop:
    """Creates invoices at a steady pace, has some of them paid past the driver, and listens."""

    def __init__(self, client: LightningClient, control: str, life: float, paid: float) -> None:
        self._client = client
        self._control = control
        self._life = life
        self._paid = paid
        self._chance = random.Random(1)  # noqa: S311 - which are paid; no secret
        self._work: set[asyncio.Task[None]] = set()
        self._selling: set[asyncio.Task[None]] = set()
        self._web = ClientSession(timeout=ClientTimeout(total=10))
        self.counts: Counter[str] = Counter()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start some work, which ends with the shop."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def sell(self, per_second: float, until: float) -> None:
        """Begin an invoice whenever its moment comes, whatever became of the ones before."""
        began = time.monotonic()
        for number in range(int((until - began) * per_second)):
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
            if len(self._selling) < _MOST_AT_ONCE:
                sale = self.begin(self._sell_one())
                self._selling.add(sale)
                sale.add_done_callback(self._selling.discard)
            else:
                self.counts["skipped: too many at once"] += 1

    async def calm_down(self, seconds: float) -> None:
        """Wait until every sale has ended and all that was paid has been heard, or so long."""
        with contextlib.suppress(TimeoutError):
            await until(lambda: not self._selling and self.counts["heard"] >= self.counts["paid"], seconds)

    async def _sell_one(self) -> None:
        try:
            invoice = await self._client.create_invoice(_AMOUNT, "soak", _EXPIRY)
        except LightningError as error:
            self.counts[f"not created: {type(error).__name__}"] += 1
            return
        self.counts["created"] += 1
        if self._chance.random() > self._paid:
            return
        await asyncio.sleep(self._chance.random() * self._life * _LATEST_PAYMENT)
        try:
            async with self._web.post(f"{self._control}/pay", json={"payment_request": invoice.bolt11}) as response:
                self.counts["paid" if response.status == 200 else "not paid"] += 1
        except (ClientError, TimeoutError):
            self.counts["not paid"] += 1

    async def listen(self) -> None:
        """Hear for ever, and again from the cursor when a listener can't go on."""
        cursor = None
        while True:
            try:
                listener = await self._client.listen(after=cursor)
                cursor = listener.cursor
                async for invoice in listener:
                    cursor = listener.cursor
                    self.counts["heard"] += 1
                    tell(heard=invoice.id)
            except LightningError as error:
                self.counts[f"listener failed: {type(error).__name__}"] += 1
            await asyncio.sleep(0.1)

    async def sample(self, every: float, began: float) -> None:
        """Tell what the process holds, for ever."""
        loop: Any = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every)
            health = self._client.health  # type: ignore[attr-defined]  # Flash's client has it
            timers = sum(not timer.cancelled() for timer in loop._scheduled)
            figures = {
                "seconds": time.monotonic() - began,
                "resident_bytes": resident_bytes(),
                "descriptors": _open_descriptors(),
                "tasks": len(asyncio.all_tasks()),
                "timers": timers,
                "cancelled_timers": len(loop._scheduled) - timers,
                "watched": health.pending,
                "cpu_seconds": time.process_time(),
            }
            tell(sample=figures)

    async def aclose(self) -> None:
        """End all work."""
        for task in [*self._work]:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._web.close()


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def carry_out(order: Mapping[str, Any]) -> None:
    """Sell for so long, then wait until what was paid has been heard, as far as it ever is."""
    logging.getLogger("flash_driver").setLevel(logging.CRITICAL)  # each fault has its warnings
    began = time.monotonic()
    async with LightningClientFactory().create(order["connection_string"]) as client:
        shop = _Shop(client, order["control"], order["life"], order["paid"])
        try:
            shop.begin(shop.listen())
            shop.begin(shop.sample(order["every"], began))
            await shop.sell(order["per_second"], began + order["seconds"])
            tell(sold=True)
            await shop.calm_down(order["calm"])
        finally:
            await shop.aclose()
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    tell(done=dict(shop.counts), left=left)


if __name__ == "__main__":
    obey(carry_out)
