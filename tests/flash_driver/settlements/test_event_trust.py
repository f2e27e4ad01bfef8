"""Settling on the word of events, where a host chose so, against settling on the query's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningError, LightningInvoiceStatus
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.timing import Backoff, Pace
from tests.support.logs import recorded
from tests.support.timing import SELDOM, STEADY, account_of, short
from tests.support.waiting import until
from tests.support.watching import COFFEE, STATUS, asked, hearing, paid

if TYPE_CHECKING:
    from connection_strings import LightningInvoice
    from flash_driver.client import FlashLightningClient
    from tests.support.driver import Bench

QUICKLY = Pace(polling=60.0, subscribed=60.0, fruitless=Backoff(0.01, 30.0))
"""Asks seldom by itself, and soon again after a question that brought nothing."""


def on_event(**more: Any) -> ProcessSettings:
    """Return settings under which events are believed."""
    return ProcessSettings.model_validate(
        {"journal_url": "memory:", "invoice_budget": None, "settle_on": "event", **more}
    )


async def is_expired(client: FlashLightningClient, invoice: LightningInvoice) -> bool:
    """Return whether an invoice is called expired by now."""
    found = await client.get_invoice(invoice.id)
    return found is not None and found.status is LightningInvoiceStatus.EXPIRED


@pytest.mark.parametrize("settle_on", ["query", "event"])
async def test_settled_on_whose_word(bench: Bench, settle_on: str) -> None:
    """While the query does not answer, an event settles where that was chosen, and only there; either way once."""
    sandbox = await bench.sandbox()
    client = await bench.client(
        sandbox, process=on_event(settle_on=settle_on), timing=short(pace=SELDOM, connections=STEADY)
    )
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("error", operation=STATUS, count=1000, code="IBEX_ERROR", channel="top")
    sandbox.pay(invoice.bolt11)
    if settle_on == "event":
        assert await paid(listener) == invoice.id
    await until(lambda: asked(sandbox) > 0)
    told = [settled.id for settled in await client.list_invoices() if settled.paid_at is not None]
    assert told == ([invoice.id] if settle_on == "event" else [])
    sandbox.clear_faults()
    if settle_on == "query":
        assert await paid(listener) == invoice.id
    await until(lambda: client.health.pending == 0)
    again = await client.create_invoice(COFFEE)
    sandbox.pay(again.bolt11)
    assert await paid(listener) == again.id


async def test_a_believed_event_is_checked(bench: Bench) -> None:
    """Each settlement is asked about afterwards, however many come, and nothing is logged."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=on_event(), timing=short(pace=SELDOM, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    with recorded() as story:
        invoices = [await client.create_invoice(COFFEE) for _ in range(10)]
        for invoice in invoices:
            sandbox.pay(invoice.bolt11)
        assert {await paid(listener) for _ in invoices} == {invoice.id for invoice in invoices}
        await until(lambda: client.health.pending == 0)
    # Those made while the first connection is being caught up with are asked about once more.
    assert 10 <= asked(sandbox) <= 20
    assert [entry for entry in story.entries if entry["log_level"] in ("warning", "error")] == []


async def test_many_events_are_settled_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settlement of one event waits for no other's: a journal that writes them together gets all at once."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=on_event(), timing=short(pace=SELDOM, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoices = [await client.create_invoice(COFFEE) for _ in range(10)]
    journal, settle = account_of(client).journal, account_of(client).journal.settle_invoice
    all_there, entered = asyncio.Event(), 0

    async def settle_when_all_are_there(*given: Any, **more: Any) -> Any:
        nonlocal entered
        entered += 1
        if entered == len(invoices):
            all_there.set()
        await all_there.wait()
        return await settle(*given, **more)

    monkeypatch.setattr(journal, "settle_invoice", settle_when_all_are_there)
    for invoice in invoices:
        sandbox.pay(invoice.bolt11)
    assert {await paid(listener) for _ in invoices} == {invoice.id for invoice in invoices}


async def test_a_question_that_hangs_holds_no_event_up(bench: Bench) -> None:
    """An event settles its invoice while the answer about that very invoice is still waited for."""
    sandbox = await bench.sandbox()
    timing = short(pace=Pace(polling=0.01, subscribed=0.01), ask=600.0, connections=STEADY)
    client = await bench.client(sandbox, process=on_event(), timing=timing)
    listener = await client.listen()
    await hearing(client)
    sandbox.arm("delay", operation=STATUS, count=1000, seconds=300)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: asked(sandbox) > 0)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


@pytest.mark.parametrize("expired", [False, True])
async def test_a_false_event_that_was_believed(bench: Bench, *, expired: bool) -> None:
    """When the query contradicts to the end, an error names the payment hash, once; PAID stays what was said."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=on_event(), timing=short(pace=QUICKLY, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    if expired:
        sandbox._bank.clock = lambda: invoice.expires_at + timedelta(seconds=1)
    with recorded() as story:
        for _ in range(3):
            sandbox.announce(invoice.payment_hash)
        assert await paid(listener) == invoice.id
        await until(lambda: client.health.pending == 0)
        sandbox.announce(invoice.payment_hash)
        await client.get_balance()
    (error,) = [entry for entry in story.entries if entry["log_level"] == "error"]
    assert (error["payment_hash"], error["status"]) == (invoice.id, "EXPIRED" if expired else "PENDING")
    # One that is made while the first connection is being caught up with is asked about once more.
    assert 5 <= asked(sandbox) <= 6


async def test_books_that_lag_behind_a_believed_event(bench: Bench) -> None:
    """A query that says PENDING at first and PAID then is no contradiction."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=on_event(), timing=short(connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    with recorded() as story:
        sandbox.announce(invoice.payment_hash)
        await until(lambda: asked(sandbox) == 2)
        sandbox.arm("drop_settlement")
        sandbox.pay(invoice.bolt11)
        assert await paid(listener) == invoice.id
        await until(lambda: client.health.pending == 0)
    assert [entry for entry in story.entries if entry["log_level"] == "error"] == []


@pytest.mark.parametrize("case", ["amountless", "another wallet", "unknown hash", "expired"])
async def test_what_no_event_settles(bench: Bench, case: str) -> None:
    """Amountless and expired invoices, events of other wallets and strangers' hashes go the way of the query."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2 if case == "expired" else 60)
    client = await bench.client(sandbox, process=on_event(expiry_grace_seconds=1), timing=short(connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    amount = LightMoney.from_msat(0) if case == "amountless" else COFFEE.amount
    invoice = await client.create_invoice(CreateInvoiceParams(amount, "coffee"))
    if case == "expired":
        await until(lambda: is_expired(client, invoice))
    before = asked(sandbox)
    other = "00000000-0000-4000-8000-000000000000" if case == "another wallet" else None
    sandbox.announce("ab" * 32 if case == "unknown hash" else invoice.payment_hash, wallet_id=other)
    if case != "unknown hash":
        await until(lambda: asked(sandbox) > before)
    assert [known.status for known in await client.list_invoices() if known.paid_at is not None] == []
    sandbox.pay(invoice.bolt11, force=True)
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.pending == 0)


async def test_a_journal_that_can_not_settle_now(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the journal fails at the event, the query's answer settles as it always did."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=on_event(), timing=short(connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    journal, healthy = account_of(client).journal, account_of(client).journal.settle_invoice

    def hiccup(*_: object, **__: object) -> None:
        monkeypatch.setattr(journal, "settle_invoice", healthy)
        raise LightningError("the database is away for a moment")

    monkeypatch.setattr(journal, "settle_invoice", hiccup)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert asked(sandbox) >= 1
