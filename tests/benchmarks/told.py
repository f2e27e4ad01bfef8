"""How long after a payment a listener is told: `python -m tests.benchmarks.told`.

Invoices are made over the first seconds and paid at random moments of their life, in five situations: a socket that is
well, one on which every event is lost, an API key (no subscription), invoices of another process that never listens,
and invoices of another connection string of the account. Prints seconds from payment to `wait_invoice`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from connection_strings import CreateInvoiceParams, LightMoney
from flash_driver.accounts.pool import Pool
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_driver.accounts.timing import Timing

__all__ = ["SITUATIONS", "Figures", "main", "measure"]

_EVERY_ONE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Situation:
    events_lost: bool = False
    api_key: bool = False
    maker: str = "the listener"


SITUATIONS: Final = {
    "socket": _Situation(),
    "socket, every event lost": _Situation(events_lost=True),
    "API key": _Situation(api_key=True),
    "other process, every event lost": _Situation(events_lost=True, maker="other process"),
    "two strings, every event lost": _Situation(events_lost=True, maker="other string"),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured in one situation.

    Attributes:
        paid: How many invoices were paid.
        told: How many the listener was given, each once.
        seconds: From payment to listener, the shortest first.

    """

    paid: int
    told: int
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

        async def sell(after: float, age: float) -> None:
            await asyncio.sleep(after)
            invoice = await maker.create_invoice(CreateInvoiceParams(LightMoney.from_sat(1000 + len(paid_at))))
            await asyncio.sleep(age)
            paid_at[invoice.id] = time.perf_counter()
            sandbox.pay(invoice.bolt11)

        sales = [(dice.uniform(0, life_seconds / 5), dice.uniform(0, life_seconds)) for _ in range(invoices)]
        selling = [asyncio.create_task(sell(after, age)) for after, age in sales]
        seconds, told = [], set[str]()
        for _ in range(invoices):
            async with asyncio.timeout(life_seconds + 60):
                invoice = await listener.wait_invoice()
            seconds.append(time.perf_counter() - paid_at[invoice.id])
            told.add(invoice.id)
        await asyncio.gather(*selling)
        return Figures(len(paid_at), len(told), tuple(sorted(seconds)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--invoices", type=int, default=100)
    count = parser.parse_args(arguments).invoices
    print(f"{'seconds from payment to listener':<36}{'p50':>8}{'p99':>8}{'most':>8}")  # noqa: T201 - a command
    for situation in SITUATIONS:
        figures = asyncio.run(measure(situation, count))
        row = (figures.percentile(0.5), figures.percentile(0.99), figures.seconds[-1])
        print(f"{situation:<36}" + "".join(f"{seconds:>8.2f}" for seconds in row))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
