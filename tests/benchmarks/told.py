"""How long after a payment a listener is told: `python -m tests.benchmarks --only told`.

Invoices are made over the first seconds and paid at random moments of their life, in five situations: a socket that is
well, one on which every event is lost, an API key (no subscription), invoices of another process that never listens,
and invoices of another connection string of the account, which listens as well. Seconds are from payment to
`wait_invoice`; the situations run side by side.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from connection_strings import CreateInvoiceParams, LightMoney
from flash_driver.accounts.pool import Pool
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import Bench
from tests.support.watching import asked

if TYPE_CHECKING:
    from flash_driver.accounts.timing import Timing

__all__ = ["SITUATIONS", "Figures", "measure", "measure_all"]

_EVERY_ONE: Final = 1_000_000
_SHARES: Final = (*(number / 20 for number in range(20)), 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class _Situation:
    events_lost: bool = False
    api_key: bool = False
    maker: str = "the listener"


SITUATIONS: Final = {
    "socket": _Situation(),
    "socket, events lost": _Situation(events_lost=True),
    "API key": _Situation(api_key=True),
    "other process": _Situation(events_lost=True, maker="other process"),
    "two strings": _Situation(events_lost=True, maker="other string"),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured in one situation.

    Attributes:
        paid: How many invoices were paid.
        told: How many the listener was given, each once.
        asked: How many questions about an invoice reached the server.
        seconds: From payment to listener, the shortest first.

    """

    paid: int
    told: int
    asked: int
    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """Return how many seconds this share of the invoices took at most."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


async def measure(
    situation: str, invoices: int, life_seconds: float = 50.0, timing: Timing | None = None, seed: int = 1
) -> Figures:
    """Let invoices be made and paid in a situation, each at a random moment of its life."""
    what, dice = SITUATIONS[situation], random.Random(seed)  # noqa: S311 - repeatable on purpose
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="told"))
        url = f"sqlite+aiosqlite:///{Path(folder) / 'journal.db'}"
        process = ProcessSettings.model_validate({"journal_url": url, "invoice_budget": None})
        bench = Bench(stack)
        sandbox = await bench.sandbox()
        token = sandbox.api_key if what.api_key else sandbox.token
        text = f"type=flash;server={sandbox.server};token={token};allowinsecure=true"
        pool = Pool(timing)
        client = await bench.client(text, pool, process)
        maker = client
        if what.maker == "other process":
            maker = await bench.client(text, Pool(timing), process)
        elif what.maker == "other string":
            maker = await bench.client(text, pool, process, transports="http")
        if what.events_lost:
            sandbox.arm("drop_settlement", count=_EVERY_ONE)
        paid_at: dict[str, float] = {}
        listener = await stack.enter_async_context(await client.listen())
        if what.maker == "other string":
            await stack.enter_async_context(await maker.listen())

        async def sell(after: float, age: float) -> None:
            await asyncio.sleep(after)
            invoice = await maker.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000 + len(paid_at))))
            await asyncio.sleep(age)
            paid_at[invoice.id] = time.perf_counter()
            sandbox.pay(invoice.bolt11)

        seconds, told = [], set[str]()
        async with asyncio.TaskGroup() as selling:
            for _ in range(invoices):
                selling.create_task(sell(dice.uniform(0, life_seconds / 2), dice.uniform(0, life_seconds)))
            for _ in range(invoices):
                async with asyncio.timeout(life_seconds + 60):
                    invoice = await listener.wait_invoice()
                seconds.append(time.perf_counter() - paid_at[invoice.id])
                told.add(invoice.id)
        return Figures(len(paid_at), len(told), asked(sandbox), tuple(sorted(seconds)))


def measure_all(*, invoices: int = 40, life_seconds: float = 50.0, timing: Timing | None = None) -> dict[str, Any]:
    """Measure every situation, with that many invoices each."""

    async def every_one() -> list[Figures]:
        return await asyncio.gather(*(measure(each, invoices, life_seconds, timing) for each in SITUATIONS))

    rows = [
        {
            "situation": situation,
            "told": figures.told,
            "asked_each": figures.asked / figures.paid,
            "seconds": {str(share): figures.percentile(share) for share in _SHARES},
        }
        for situation, figures in zip(SITUATIONS, asyncio.run(every_one()), strict=True)
    ]
    return {"invoices": invoices, "life_seconds": life_seconds, "rows": rows}
