"""How each statement of the host is carried out where there are many rows: none reads or sorts a whole table."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import pytest

from connection_strings import (
    LightMoney,
    LightningClientFactory,
    Secret,
)
from lightning_host.allowance import Allowance
from lightning_host.budgets import Budgets
from lightning_host.checkout.table import CheckoutTable, settle_checkouts
from lightning_host.database import Database, metadata, now_ms
from lightning_host.flashcards.table import FlashcardTable, settle_flashcards
from lightning_host.flashcards.taps import TapTable
from lightning_host.flashcards.totals import card_totals
from lightning_host.invoices import HostInvoices
from lightning_host.merchant.card_payments import CardPayments
from lightning_host.merchant.payments import Payments
from lightning_host.merchant.periods import latest_months, month_of, today
from lightning_host.phoenixd.table import PhoenixdTable
from lightning_host.settings import StoreSettings
from lightning_host.settlements.ledger import Filter, SettlementLedger
from lightning_host.settlements.recorder import Recorder
from lightning_host.stores import Store
from lightning_host.webhooks.table import Attempt, WebhookTable, queue_for_webhooks
from tests.lightning_host.database.many_rows import BIG, COUNT, STEP_MS, UNSETTLED, fill, padded
from tests.lightning_host.fake_driver import FakeHandler, paid_invoice
from tests.support.plans import complaints, noted, unforeseen

pytestmark = pytest.mark.timeout(300)

FEW: Final = 1_000
ALLOWED: Final = {
    r"ORDER BY host_webhooks.created_at": "the webhooks of one store, of which there are few",
    r"payment_hash >= .+ ORDER BY": "payments that a merchant looks for, of which there are few",
    r"subject >= .+ ORDER BY": "likewise",
    r"amount_msat BETWEEN .+ ORDER BY": "payments of about one amount, newest first",
}
"""What reads or sorts more than it returns (how, and in which statement), and why it may."""


async def use_settlements(database: Database) -> None:
    """Call what makes, settles and lists invoices."""
    now, last = datetime.now(UTC), now_ms() - 1_000 * STEP_MS
    invoices, ledger = HostInvoices(database), SettlementLedger(database)
    await invoices.find("shop", padded(1_001))
    assert len(await invoices.newest("shop", purpose="lnurl", subject="shop", limit=10)) == 10
    assert len(await invoices.newest("shop", purpose="checkout", subject=padded(1_005), limit=10)) == 1
    await invoices.made_since("shop", now - timedelta(seconds=120))
    for settled_only in (True, False):
        listing = partial(ledger.invoices, "shop", settled_only=settled_only)
        assert len(await listing(external_id=None, since=0, until=None, offset=0, limit=100)) == 100
        await listing(external_id=None, since=0, until=None, offset=100, limit=100)
        await listing(external_id=None, since=last, until=last + 50 * STEP_MS, offset=0, limit=100)
        assert len(await listing(external_id=padded(1_002), since=0, until=None, offset=0, limit=100)) == 1
    for wanted in (None, Filter("shop"), Filter("cafe", "lnurl"), Filter("shop", "checkout", padded(COUNT - 3))):
        await ledger.after(COUNT - 100, wanted=wanted, limit=10)
    await ledger.last_number()
    await ledger.totals()
    await ledger.open_invoices("shop")
    await ledger.find("shop", padded(1_001))
    recorder = Recorder(database)
    for handler in (settle_checkouts, settle_flashcards, queue_for_webhooks):
        recorder.add_handler(handler)
    await recorder.record("shop", [paid_invoice(padded(turn * UNSETTLED + 1)) for turn in range(4)], cursor="one")
    settled = await ledger.after(COUNT, limit=10)
    assert len(settled) == 4
    await ledger.complete(settled[0], replace(paid_invoice(settled[0].payment_hash), preimage="00" * 32))


async def use_the_rest(database: Database) -> None:
    """Call all else."""
    client = LightningClientFactory([FakeHandler]).create("type=fake;node=plans")
    store = Store("shop", client, StoreSettings(connection_string=Secret("type=fake;node=plans")))
    checkouts, cards, webhooks = CheckoutTable(database), FlashcardTable(database), WebhookTable(database)
    adding = partial(checkouts.add, "new", "shop", LightMoney.from_sat(1), None, description="", seconds=900)
    made = await adding(external_id="new", once=True)
    await checkouts.find_order("shop", padded(1_001))
    await checkouts.lease(made)
    await checkouts.postpone(made, 1.0)
    await checkouts.renew(made, paid_invoice("00"))
    card = await cards.add("shop", "a card")
    await cards.find_by_address(card.address)
    known = await cards.find(padded(1))
    assert known is not None
    taps = TapTable(database)
    top_up = (await cards.history(known, limit=10))[-1]
    assert await cards.find_top_up(known, top_up.payment_hash) == top_up
    tap = (await taps.payments(known.id, limit=10, failed=True))[-1]
    assert await taps.find(tap.code_digest) == tap
    assert len(await cards.history(known, before=top_up, limit=10)) == 10
    assert len(await taps.payments(known.id, before=tap, limit=10, failed=True)) == 10
    await cards.history(known, after=top_up, limit=10)
    await taps.payments(known.id, after=tap, limit=10, failed=True)
    await taps.sums(known.id)
    await card_totals(database, ["shop"])
    for tap in await taps.to_look_at():
        await taps.look_later(tap, timedelta(seconds=1))
        await taps.book(tap, LightMoney.from_sat(1))
    await taps.forget_unused()
    webhook = await webhooks.add("shop", "https://shop.example/hook", Secret("a secret"), (), enabled=True)
    for offset in (0, 100):
        assert len(await checkouts.list("shop", offset=offset, limit=10)) == 10
        assert len(await cards.page("shop", offset=offset, limit=10)) == 10
        await webhooks.deliveries(webhook, offset=offset, limit=10)
    for _, claimed in await webhooks.claim(15.0, most=10, most_of_one=2, but_for=["one"]):
        await webhooks.finish([Attempt(delivery, 200, None, None) for delivery in claimed])
        await webhooks.release(claimed)
    await webhooks.find_delivery(padded(1))
    await webhooks.prune(timedelta(days=400), limit=10)
    await webhooks.remove(webhook)
    await Budgets(database).spend("1", Allowance(times=5, seconds=60))
    payouts = PhoenixdTable(database)
    asked_at = await payouts.add_payout(store, padded(1), "lnbc")
    await payouts.find_payout(store, padded(1))
    await payouts.forget_payout(store, padded(1), asked_at)
    await client.aclose()


async def use_merchant(database: Database) -> None:
    """Call what the merchant's page reads."""
    payments = Payments(database, "shop")
    for before in (None, COUNT // 2):
        assert len(await payments.newest(before=before, limit=51)) == 51
        for words in (padded(1_002), "a" * 64, "1 sat"):
            await payments.search(words, before=before, limit=51)
    now = datetime.now(UTC)
    for period in (today(now, UTC), month_of(now, UTC)):
        await payments.takings(period)
        await CardPayments(database, "shop").sums(period)
    month = latest_months(now - timedelta(days=60), UTC)[0]
    assert sum([1 async for _ in payments.of(month)]) > 500
    spent = CardPayments(database, "shop")
    last = await spent.find(padded(1_005))
    assert last is not None
    for behind in (None, last):
        assert len(await spent.newest(before=behind, limit=51)) == 51
    cards, webhooks = FlashcardTable(database), WebhookTable(database)
    before_card, before_delivery = await cards.find(padded(1_001)), await webhooks.find_delivery(padded(1_002))
    assert before_card is not None
    assert before_delivery is not None
    webhook = await webhooks.add("shop", "https://shop.example/hook", Secret("a secret"), (), enabled=True)
    checkouts, one = CheckoutTable(database), replace(webhook, id="one")
    checkout = await checkouts.find(padded(1_001))
    assert checkout is not None
    assert len(await checkouts.list("shop", before=checkout, limit=10)) == 10
    assert len(await checkouts.list("shop", after=checkout, limit=10)) == 10
    assert len(await cards.page("shop", before=before_card, limit=10)) == 10
    assert len(await cards.page("shop", after=before_card, limit=10)) == 10
    assert len(await webhooks.deliveries(one, before=before_delivery, limit=10)) == 10
    assert len(await webhooks.deliveries(one, after=before_delivery, limit=10)) == 10


async def test_no_statement_reads_a_whole_table(url: Secret) -> None:
    """Every statement finds its rows by an index, in their order, whatever else there is."""
    async with aclosing(await Database.open(url)) as database:
        kind: Any = database._kind
        await kind.migrate(fill)
        with noted([getattr(kind.engine, "sync_engine", kind.engine)]) as seen:
            await use_settlements(database)
            await use_the_rest(database)
            await use_merchant(database)
        wrong: list[str] = []
        for statement, parameters in seen.items():
            look = partial(complaints, statement=statement, parameters=parameters, big=BIG, few=FEW)
            wrong += unforeseen(await database.read(look), statement, ALLOWED)
        assert not wrong, "\n".join(wrong)
        used = {name for name in metadata.tables if any(name in statement for statement in seen)}
        assert used >= BIG
