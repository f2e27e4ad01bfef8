"""What an amountless invoice brought: found by payment hash alone, converted at the custodian's rate."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningInvoice, LightningInvoiceStatus
from connection_strings.errors import BackendUnavailable, LightningError, RateLimited
from flash_driver.common.deadline import Deadline
from tests.support.driver import operations
from tests.support.invoices import lnurl
from tests.support.timing import SHORT, account_of, short
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

DETAILS = "transactionDetails"
TIP = CreateInvoiceParams(description="tip")


async def tipped(client: FlashLightningClient, sandbox: Sandbox, msat: int) -> LightningInvoice:
    """Let somebody pay an amountless invoice, and look it up."""
    invoice = await client.create_invoice(TIP)
    sandbox.pay(invoice.bolt11, msat=msat)
    paid = await client.get_invoice(invoice.id)
    assert paid is not None
    assert paid.status is LightningInvoiceStatus.PAID
    return paid


async def test_amount_received_is_told(bench: Bench) -> None:
    """Once the custodian's rate is known, what was paid is told to a millisatoshi or so, with the preimage."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.create_invoice(lnurl(10_000_000_000))
    paid = await tipped(client, sandbox, 123_456_000)
    assert paid.amount is None
    assert paid.amount_received is not None
    assert abs(paid.amount_received.msat - 123_456_000) <= 1
    assert paid.preimage is not None
    assert hashlib.sha256(bytes.fromhex(paid.preimage)).hexdigest() == paid.payment_hash


async def test_amount_received_is_an_estimate_before_that(bench: Bench) -> None:
    """Before any invoice has taught the rate, the server's price does, which is off by the custodian's spread."""
    sandbox = await bench.sandbox(spread=Decimal("0.004"))
    client = await bench.client(sandbox)
    paid = await tipped(client, sandbox, 1_000_000)
    assert paid.amount_received is not None
    assert 995_000 < paid.amount_received.msat < 997_000


async def test_btc_wallet_counts_exactly(bench: Bench) -> None:
    """A BTC wallet holds what was paid: there is nothing to convert."""
    sandbox = await bench.sandbox(btc_wallet=True)
    client = await bench.client(sandbox, currency="BTC")
    paid = await tipped(client, sandbox, 2_100_000)
    assert paid.amount_received == LightMoney.from_sat(2100)


async def test_the_right_one_of_many(bench: Bench) -> None:
    """Several payments of the same amount at the same time are told apart by their hashes."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.create_invoice(lnurl(10_000_000_000))
    first, second = [await client.create_invoice(TIP) for _ in range(2)]
    sandbox.pay(second.bolt11, msat=2_000_000)
    sandbox.pay(first.bolt11, msat=1_000_000)
    for invoice, msat in ((first, 1_000_000), (second, 2_000_000)):
        paid = await client.get_invoice(invoice.id)
        assert paid is not None
        assert paid.amount_received is not None
        assert abs(paid.amount_received.msat - msat) <= 1


async def test_the_one_behind_many(bench: Bench) -> None:
    """A receipt is found behind dozens of newer ones, and what was read for one invoice is not read for the next."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    tips = [await client.create_invoice(TIP) for _ in range(2)]
    for tip in tips:
        sandbox.pay(tip.bolt11, msat=1_000_000)
    for _ in range(30):
        sandbox.pay((await client.create_invoice(LightMoney.from_sat(100))).bolt11)
    for tip, most in zip(tips, (32, 33), strict=True):
        paid = await client.get_invoice(tip.id)
        assert paid is not None
        assert paid.status is LightningInvoiceStatus.PAID
        assert sum(operations(sandbox, DETAILS).values()) <= most


async def test_receipts_older_than_the_invoice_are_not_read(bench: Bench) -> None:
    """What came in before the invoice was made can't be what paid it."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for _ in range(10):
        sandbox.pay((await client.create_invoice(LightMoney.from_sat(100))).bolt11)
    account = client._account()
    invoice = await client.create_invoice(TIP)
    record = await account.journal.find_invoice(invoice.id)
    assert record is not None
    later = replace(record, created_at=record.created_at + timedelta(minutes=2))
    with pytest.raises(LightningError, match="does not say yet how much"):
        await account.receipts.find(later, Deadline.after(40))
    assert operations(sandbox, DETAILS) == {}
    with pytest.raises(LightningError, match="does not say yet how much"):
        await account.receipts.find(record, Deadline.after(40))
    assert sum(operations(sandbox, DETAILS).values()) == 10


async def test_a_receipt_that_can_not_be_read_hides_no_other(bench: Bench) -> None:
    """One that the server refuses to tell of is passed over; when none is the right one, its error is told."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(TIP)
    sandbox.pay(invoice.bolt11, msat=1_000_000)
    for _ in range(10):
        sandbox.pay((await client.create_invoice(LightMoney.from_sat(100))).bolt11)
    sandbox.arm("error", operation=DETAILS, channel="top", code="IBEX_ERROR")
    paid = await client.get_invoice(invoice.id)
    assert paid is not None
    assert paid.status is LightningInvoiceStatus.PAID
    other = await client.create_invoice(TIP)
    record = await client._account().journal.find_invoice(other.id)
    assert record is not None
    for code, error in (("IBEX_ERROR", BackendUnavailable), ("TOO_MANY_REQUESTS", RateLimited)):
        sandbox.arm("error", operation=DETAILS, channel="top", code=code)
        client._account().receipts._hashes.clear()
        with pytest.raises(error):
            await client._account().receipts.find(record, Deadline.after(40))


async def test_what_is_remembered_of_receipts_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten, and read again when needed."""
    monkeypatch.setattr("flash_driver.invoices.receipts._REMEMBERED", 2)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for _ in range(4):
        await tipped(client, sandbox, 1_000_000)
    assert len(client._account().receipts._hashes) == 2


async def test_receipt_of_a_wallet_that_was_moved_away(bench: Bench) -> None:
    """An invoice of the old wallet, paid after the move to USDT, is found though the server hides that wallet."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(TIP)
    sandbox.pay(invoice.bolt11, msat=1_000_000)
    sandbox.set_cutover("COMPLETE")
    client._account().wallets._known.reply = None
    paid = await client.get_invoice(invoice.id)
    assert paid is not None
    assert paid.amount_received is not None


async def test_amount_that_is_not_told_yet(bench: Bench) -> None:
    """Paid, but how much can't be read: PAID is kept and told without the amount, which a later look adds."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    invoice = await client.create_invoice(TIP)
    transactions = sandbox._bank.ledger.transactions
    sandbox.pay(invoice.bolt11, msat=1_000_000)
    hidden = dict(transactions)
    transactions.clear()
    found = await client.get_invoice(invoice.id)
    assert found is not None
    assert (found.status, found.amount_received) == (LightningInvoiceStatus.PAID, None)
    async with asyncio.timeout(40):
        told = await listener.wait_invoice()
    assert (told.id, told.amount_received) == (invoice.id, None)
    assert told.paid_at is not None
    transactions.update(hidden)
    found = await client.get_invoice(invoice.id)
    assert found is not None
    assert found.amount_received is not None
    assert (found.paid_at, found.preimage is None) == (told.paid_at, False)
    await listener.aclose()


async def test_a_listener_is_told_with_the_amount_that_comes_a_little_later(bench: Bench) -> None:
    """A paid invoice waits for its amount for a moment, and keeps its place before those that were paid after it."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(amount_patience=30.0))
    listener = await client.listen()
    tip, coffee = await client.create_invoice(TIP), await client.create_invoice(LightMoney.from_sat(100))
    transactions = sandbox._bank.ledger.transactions
    sandbox.pay(tip.bolt11, msat=1_000_000)
    hidden = dict(transactions)
    transactions.clear()
    await client.get_invoice(tip.id)
    sandbox.pay(coffee.bolt11)
    await client.get_invoice(coffee.id)
    transactions.update(hidden)
    await client.get_invoice(tip.id)
    async with asyncio.timeout(40):
        told = [await listener.wait_invoice() for _ in range(2)]
    assert [invoice.id for invoice in told] == [tip.id, coffee.id]
    assert None not in [invoice.amount_received for invoice in told]
    await listener.aclose()


async def test_amounts_and_preimages_follow_the_settlements(bench: Bench) -> None:
    """While somebody listens, every paid invoice gets its preimage, and an amount that was unknown, unasked."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    made = [await client.create_invoice(LightMoney.from_sat(100)) for _ in range(5)] + [
        await client.create_invoice(TIP)
    ]
    transactions = sandbox._bank.ledger.transactions
    for invoice in made[:-1]:
        sandbox.pay(invoice.bolt11)
    sandbox.arm("error", operation="me", channel="top", code="INTERNAL_SERVER_ERROR", count=3)
    sandbox.pay(made[-1].bolt11, msat=1_000_000)
    assert transactions

    async def complete() -> bool:
        known = {invoice.id: invoice for invoice in await client.list_invoices()}
        return all(known[each.id].preimage and known[each.id].amount_received for each in made)

    await until(complete)
    for invoice in await client.list_invoices():
        assert hashlib.sha256(bytes.fromhex(invoice.preimage or "")).hexdigest() == invoice.payment_hash
    await listener.aclose()


async def test_one_that_is_found_paid_late_was_paid_when_its_receipt_says(bench: Bench) -> None:
    """Found paid after its time, an invoice is dated by its receipt; one that was heard of in time stays as it was."""
    sandbox = await bench.sandbox(ws_mutations="decline")
    client = await bench.client(sandbox)
    late, tip = await client.create_invoice(LightMoney.from_sat(100)), await client.create_invoice(TIP)
    for invoice in (late, tip):
        sandbox.pay(invoice.bolt11, msat=None if invoice is late else 1_000_000)
    account = account_of(client)
    paid_before = datetime.now(UTC)
    account.lookup._clock = lambda: datetime.now(UTC) + timedelta(minutes=5)
    for invoice in (late, tip):
        await client.get_invoice(invoice.id)
    rows = [row for row in [await account.journal.find_invoice(late.id)] if row is not None]
    assert rows[0].paid_at is not None
    assert rows[0].paid_at > late.expires_at
    assert await account.lookup.complete_many(rows, Deadline.after(40)) == {late.id}
    for invoice in (late, tip):
        found = await client.get_invoice(invoice.id)
        assert found is not None
        assert found.paid_at is not None
        assert rows[0].created_at <= found.paid_at <= paid_before
    account.lookup._clock = lambda: datetime.now(UTC)
    heard = await tipped(client, sandbox, 1_000_000)
    again = await client.get_invoice(heard.id)
    assert again is not None
    assert heard.paid_at == again.paid_at


async def test_without_the_right_scope_paid_is_paid(bench: Bench) -> None:
    """Where the wallet never tells amounts, PAID is told all the same, and health says what is missing and why."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="http", timing=SHORT)
    listener = await client.listen()
    invoice = await client.create_invoice(TIP)
    why = "API key missing required scope: read:transactions"
    sandbox.arm("error", operation="me", channel="top", code="INTERNAL_SERVER_ERROR", message=why, count=10_000)
    sandbox.pay(invoice.bolt11, msat=1_000_000)
    async with asyncio.timeout(40):
        told = await listener.wait_invoice()
    assert (told.id, told.amount_received) == (invoice.id, None)
    await until(lambda: why in str(account_of(client).listeners.watcher._receipts.trouble))
    sandbox.clear_faults()
    await until(lambda: account_of(client).listeners.watcher._receipts.trouble is None)
    found = await client.get_invoice(invoice.id)
    assert found is not None
    assert found.amount_received is not None
    await listener.aclose()
