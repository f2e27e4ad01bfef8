"""What the host's lists cost among 10,000 to 1,000,000 rows, newest and far back, in SQLite and in PostgreSQL."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from connection_strings import Secret
from lightning_host.checkout.table import CheckoutTable
from lightning_host.database import Database, now_ms
from lightning_host.flashcards.table import FlashcardTable
from lightning_host.merchant.card_payments import CardPayments
from lightning_host.merchant.payments import Payments
from lightning_host.settlements.ledger import SettlementLedger
from lightning_host.webhooks.table import WebhookTable
from tests.benchmarks.by_size import measure_by_size
from tests.lightning_host.database.many_rows import fill, padded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tests.support.postgres import PostgresServer

__all__ = ["ROWS", "measure"]

ROWS: Final = (10_000, 100_000, 1_000_000)
_STEP_MS: Final = 60_000
"""A row a minute: a million are two years."""

_PAGE: Final = 50


def measure(*, rows: Sequence[int] = ROWS, rounds: int = 30, server: PostgresServer | None = None) -> dict[str, Any]:
    """Measure every list this many times in each database at each size; the figures are milliseconds.

    Raises:
        RuntimeError: PostgreSQL is not installed, and no server is given.

    """
    return measure_by_size(
        lambda url, size, times: asyncio.run(_measure(Secret(url), size, times)),
        rows=rows,
        rounds=rounds,
        server=server,
    )


async def _measure(url: Secret, size: int, rounds: int) -> dict[str, float]:
    """Fill a database and return what each list takes, in milliseconds, the median of the rounds."""
    async with aclosing(await Database.open(url)) as database:
        kind: Any = database._kind
        await kind.migrate(partial(fill, count=size, step_ms=_STEP_MS))
        lists = await _lists(database, size)
        taken: dict[str, list[float]] = {name: [] for name in lists}
        for number in range(rounds + 1):
            for name, read in lists.items():
                began = time.perf_counter()
                found = await read()
                if number:  # the first one of each compiles its statement
                    taken[name].append((time.perf_counter() - began) * 1_000)
                assert len(found) == _PAGE, name
        return {name: statistics.median(values) for name, values in taken.items()}


async def _lists(database: Database, size: int) -> Mapping[str, Callable[[], Awaitable[Sequence[object]]]]:
    """Return each list of a page, from the newest and behind what stands far back."""
    back = size // 10
    at = now_ms() - (size - back) * _STEP_MS
    ledger, payments, spent = SettlementLedger(database), Payments(database, "shop"), CardPayments(database, "shop")
    checkouts, cards, webhooks = CheckoutTable(database), FlashcardTable(database), WebhookTable(database)
    webhook = await webhooks.add("shop", "https://shop.example/hook", Secret("a secret"), (), enabled=False)
    one = replace(webhook, id="one")
    checkout, card, top_up_of = await checkouts.find(padded(back + 1)), await cards.find(padded(back + 1)), padded(1)
    delivery, spending = await webhooks.find_delivery(padded(back)), await spent.find(padded(back + 5))
    used = await cards.find(top_up_of)
    assert checkout is not None
    assert card is not None
    assert delivery is not None
    assert spending is not None
    assert used is not None
    invoices = partial(ledger.invoices, "shop", external_id=None, since=0, offset=0, limit=_PAGE)
    return {
        "invoices": partial(invoices, settled_only=False, until=None),
        "invoices, far back": partial(invoices, settled_only=False, until=at),
        "paid invoices, far back": partial(invoices, settled_only=True, until=at),
        "settlements after one": partial(ledger.after, back, limit=_PAGE),
        "payments of the merchant": partial(payments.newest, before=None, limit=_PAGE),
        "payments, far back": partial(payments.newest, before=back, limit=_PAGE),
        "checkouts, far back": partial(checkouts.list, "shop", before=checkout, limit=_PAGE),
        "flashcards, far back": partial(cards.page, "shop", before=card, limit=_PAGE),
        "top-ups of a card": partial(cards.history, used, limit=_PAGE),
        "card payments, far back": partial(spent.newest, before=spending, limit=_PAGE),
        "webhook deliveries": partial(webhooks.deliveries, one, limit=_PAGE),
        "webhook deliveries, far back": partial(webhooks.deliveries, one, before=delivery, limit=_PAGE),
    }
