"""Asking how invoices stand, and what is believed."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import LightningError, LightningInvoiceStatus
from flash_driver.accounts.pool import Pool
from flash_driver.settlements.health import Listening
from flash_driver.settlements.timing import Spacing
from tests.support.logs import recorded
from tests.support.timing import SELDOM, SHORT, STEADY, short, watched_of
from tests.support.waiting import HELD, until
from tests.support.watching import COFFEE, STATUS, asked, hearing, paid, short_grace

if TYPE_CHECKING:
    from connection_strings import LightningInvoice
    from flash_driver.client import FlashLightningClient
    from flash_driver.common.deadline import Deadline
    from flash_driver.journal.records import InvoiceRecord
    from tests.support.driver import Bench


# --- believing ----------------------------------------------------------------------------------------------------


async def test_an_announcement_is_checked(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A settlement that the query does not confirm is none, however often it is announced; it is told once."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    lied, true = await client.create_invoices([COFFEE] * 2)
    with caplog.at_level(logging.WARNING, "flash_driver"):
        for _ in range(5):
            sandbox.announce(lied.payment_hash)
            sandbox.announce("ab" * 32, wallet_id="00000000-0000-4000-8000-000000000000")
        await until(lambda: asked(sandbox) > 0)
        sandbox.pay(true.bolt11)
        assert await paid(listener) == true.id
    found = await client.get_invoice(lied.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.UNPAID
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "the query does not say that it is paid" in line]) == 1
    assert len([line for line in told if "did not make" in line]) == 1


async def test_paid_is_for_good(bench: Bench) -> None:
    """Announcements after the settlement, EXPIRED among them, change nothing and are not delivered again."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    first, second = await client.create_invoices([COFFEE] * 2)
    sandbox.pay(first.bolt11)
    assert await paid(listener) == first.id
    for status in ("PAID", "EXPIRED", "PENDING"):
        sandbox.announce(first.payment_hash, status=status)
    sandbox.pay(second.bolt11)
    assert await paid(listener) == second.id
    found = await client.get_invoice(first.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.PAID


async def test_a_settlement_of_another_wallet_of_the_account(bench: Bench) -> None:
    """The wallet that an event names is not asked for: after a move it is another one (flash-server.md 3.2)."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(pace=SELDOM))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    sandbox.announce(invoice.payment_hash, wallet_id="00000000-0000-4000-8000-000000000000")
    assert await paid(listener) == invoice.id


async def test_expired_is_said_after_the_grace_time_only(bench: Bench) -> None:
    """A payment that lands in the grace time is PAID, one that never comes is EXPIRED."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2)
    client = await bench.client(sandbox, process=short_grace(), timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    late, never = await client.create_invoices([COFFEE] * 2)
    await until(lambda: datetime.now(UTC) > late.expires_at)
    grace_is_over = never.expires_at + timedelta(seconds=1)
    found = await status_of(client, never)
    assert found is LightningInvoiceStatus.UNPAID or datetime.now(UTC) > grace_is_over
    sandbox.arm("drop_settlement")
    sandbox.pay(late.bolt11, force=True)
    assert await paid(listener) == late.id
    await until(lambda: is_expired(client, never))


async def status_of(client: FlashLightningClient, invoice: LightningInvoice) -> LightningInvoiceStatus:
    """Look an invoice up that there is."""
    found = await client.get_invoice(invoice.id)
    assert found is not None
    return found.status


async def is_expired(client: FlashLightningClient, invoice: LightningInvoice) -> bool:
    """Return whether an invoice is called expired by now."""
    return await status_of(client, invoice) is LightningInvoiceStatus.EXPIRED


# --- paid after it was called expired -------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False])
async def test_paid_after_expired_still_wins(bench: Bench, *, announced: bool) -> None:
    """Should the custodian take a payment after all, it is delivered, with and without an event."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2)
    client = await bench.client(sandbox, process=short_grace(), timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: is_expired(client, invoice))
    if not announced:
        sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11, force=True)
    assert await paid(listener) == invoice.id
    assert await status_of(client, invoice) is LightningInvoiceStatus.PAID


async def test_looking_up_finds_a_late_payment(bench: Bench) -> None:
    """`get_invoice` asks about an expired invoice, also where nobody listens; what was said last holds meanwhile."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=1)
    client = await bench.client(sandbox, process=short_grace(), timing=SHORT)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: is_expired(client, invoice))
    sandbox.pay(invoice.bolt11, force=True)
    sandbox.arm("error", operation=STATUS, code="IBEX_ERROR", channel="top")
    assert await status_of(client, invoice) is LightningInvoiceStatus.EXPIRED
    assert await status_of(client, invoice) is LightningInvoiceStatus.PAID


@pytest.mark.parametrize("finding", ["reconnecting", "listening again"])
async def test_a_late_payment_is_found_by(bench: Bench, finding: str) -> None:
    """What was paid late while no news came is asked for after a reconnection and when listening begins."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=1)
    client = await bench.client(sandbox, process=short_grace(), timing=short(pace=SELDOM))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: is_expired(client, invoice))
    sandbox.arm("drop_settlement")
    if finding == "listening again":
        cursor = listener.cursor
        await listener.aclose()
        sandbox.pay(invoice.bolt11, force=True)
        listener = await client.listen(after=cursor)
    else:
        sandbox.pay(invoice.bolt11, force=True)
        sandbox.arm("reset", when="now")
    assert await paid(listener) == invoice.id


async def test_late_payments_are_looked_for_as_long_as_is_set(bench: Bench) -> None:
    """With `FLASH_LATE_PAYMENT_SECONDS=0` an expired invoice is forgotten by the watcher, and never asked about."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=1)
    process = short_grace(late_payment_seconds=0)
    client = await bench.client(sandbox, process=process, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: is_expired(client, invoice))
    await until(lambda: client.health.pending == 0)
    before = asked(sandbox)
    assert await is_expired(client, invoice)
    assert asked(sandbox) == before
    await listener.aclose()


@pytest.mark.parametrize("days", [-1, 1])
async def test_clock_jumps(bench: Bench, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that is a day off loses nothing and invents nothing: pauses are measured on a steady clock."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    before = await client.create_invoice(COFFEE)
    monkeypatch.setattr(watched_of(client).lookup, "_clock", lambda: datetime.now(UTC) + timedelta(days=days))
    after = await client.create_invoice(COFFEE)
    for invoice in (after, before):
        sandbox.arm("drop_settlement")
        sandbox.pay(invoice.bolt11)
        assert await paid(listener) == invoice.id


# --- asking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transports", ["http", "graphql"])
async def test_without_a_socket_it_polls(bench: Bench, transports: str) -> None:
    """Where no socket can be had, invoices are asked about, and that ends with them."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports=transports, timing=SHORT)
    listener = await client.listen()
    await until(lambda: client.health.listening is Listening.POLLING)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.pending == 0)


async def test_an_event_that_outruns_its_invoice(bench: Bench) -> None:
    """A payment that is announced before the answer with the invoice has come is heard of all the same."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    sandbox.arm("delay", operation="lnUsdInvoiceCreate", when="after_execute", seconds=HELD)
    creating = asyncio.create_task(client.create_invoice(COFFEE))
    await until(lambda: len(sandbox.ledger_snapshot()["invoices"]) == 1)
    (row,) = sandbox.ledger_snapshot()["invoices"]
    sandbox.pay(row["payment_request"])
    sandbox.clear_faults()
    assert await paid(listener) == (await creating).id


async def test_what_was_announced_waits_for_no_other_question(bench: Bench) -> None:
    """A customer who waits is told of at once, whatever the pause between other questions and their answers."""
    sandbox = await bench.sandbox()
    timing = short(pace=SELDOM, spacing=Spacing(usual=3600.0, least=3600.0), ask=30.0, connections=STEADY)
    client = await bench.client(sandbox, timing=timing)
    invoices = await client.create_invoices([COFFEE] * 4)
    sandbox.arm("delay", operation=STATUS, seconds=20)
    listener = await client.listen()
    await hearing(client)
    await until(lambda: asked(sandbox) == 1)
    for count, invoice in enumerate(invoices[:3]):
        sandbox.pay(invoice.bolt11)
        if count:
            assert await paid(listener) in {each.id for each in invoices}
    await listener.aclose()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "http_status", "status": 429}, id="rate limit"),
        pytest.param({"kind": "http_status", "status": 503}, id="server away"),
        pytest.param({"kind": "http_status", "status": 401}, id="token refused for a moment"),
        pytest.param({"kind": "error", "code": "IBEX_ERROR", "channel": "top"}, id="custodian away"),
    ],
)
async def test_trouble_with_asking_passes(bench: Bench, fault: dict[str, object]) -> None:
    """Questions that fail are asked again, with pauses, and the payment is found when the trouble is over."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="http", timing=short(refusal=3600.0))
    listener = await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    details = {name: value for name, value in fault.items() if name != "kind"}
    sandbox.arm(str(fault["kind"]), operation=STATUS, count=3, **details)
    assert await paid(listener) == invoice.id
    assert client.health.reason == "this token opens no WebSocket"


async def test_what_was_announced_is_asked_about_though_others_must_wait(bench: Bench) -> None:
    """The server takes no more questions for five minutes: a payment that it announces is asked about all the same."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(longest_closure=3600.0))
    listener = await client.listen()
    await hearing(client)
    sandbox.arm("error", operation=STATUS, code="TOO_MANY_REQUESTS", message="Too many questions")
    quiet = await client.create_invoice(COFFEE)
    await until(lambda: "Too many questions" in (client.health.reason or ""))
    announced = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(quiet.bolt11)
    sandbox.pay(announced.bolt11)
    assert await paid(listener) == announced.id


async def test_trouble_is_told_in_health(bench: Bench) -> None:
    """While asking fails although the socket is up, health says why."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("error", operation=STATUS, count=1000, code="IBEX_ERROR", channel="top")
    sandbox.pay(invoice.bolt11)
    await until(lambda: "asking about an invoice failed" in str(client.health.reason))
    sandbox.clear_faults()
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.reason is None)


async def test_an_unknown_status_is_asked_about_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that nobody knows is no verdict: the invoice stays unpaid until there is one."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    from flash_driver.flash_api.replies import InvoiceStatus, read_invoice_status  # noqa: PLC0415 - for this test alone

    words = [InvoiceStatus.UNKNOWN] * 3

    def read(data: dict[str, object]) -> InvoiceStatus:
        return words.pop() if words else read_invoice_status(data)

    monkeypatch.setattr("flash_driver.invoices.lookup.read_invoice_status", read)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert words == []


async def test_invoices_of_another_string_are_watched(bench: Bench) -> None:
    """What another connection string of the account made, without ever listening, is watched like one's own."""
    sandbox = await bench.sandbox()
    pool = Pool(SHORT)
    client = await bench.client(sandbox, pool)
    other = await bench.client(sandbox, pool, transports="http")
    listener = await client.listen()
    await hearing(client)
    announced, dropped = await other.create_invoices([COFFEE] * 2)
    await until(lambda: client.health.pending == 2)
    sandbox.pay(announced.bolt11)
    assert await paid(listener) == announced.id
    sandbox.arm("drop_settlement")
    sandbox.pay(dropped.bolt11)
    assert await paid(listener) == dropped.id


async def test_what_another_process_settled_is_let_go(bench: Bench) -> None:
    """An invoice that the journal knows as paid is not asked about any more."""
    sandbox = await bench.sandbox()
    pool = Pool(SHORT)
    client = await bench.client(sandbox, pool)
    other = await bench.client(sandbox, pool, transports="http")
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    await other.get_invoice(invoice.id)
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.pending == 0)


async def test_what_failed_half_way_is_watched(bench: Bench) -> None:
    """Of many invoices one fails: those that were made are watched all the same."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    await client.create_invoice(COFFEE)
    sandbox.arm("error", code="INVALID_INPUT")
    with pytest.raises(LightningError):
        await client.create_invoices([COFFEE, *[COFFEE] * 3])
    await until(lambda: client.health.pending == len(sandbox.ledger_snapshot()["invoices"]))
    await listener.aclose()


async def test_one_invoice_that_can_not_be_handled_holds_up_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged row or a bug that one invoice meets is told once and passed over; the others are told."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    lookup = watched_of(client).lookup
    refresh = lookup.refresh
    listener = await client.listen()
    sound = await client.create_invoice(COFFEE)

    async def broken(record: InvoiceRecord, deadline: Deadline) -> InvoiceRecord:
        if record.payment_hash != sound.id:
            raise ValueError("a row that makes no sense")
        return await refresh(record, deadline)

    with monkeypatch.context() as patch, recorded() as story:
        patch.setattr(lookup, "refresh", broken)
        odd = await client.create_invoice(COFFEE)
        for invoice in (odd, sound):
            sandbox.pay(invoice.bolt11)
        assert await paid(listener) == sound.id
    assert story.entry("an invoice could not be asked about")["payment_hash"] == odd.id
    assert await paid(listener) == odd.id


async def test_an_api_key_is_spared(bench: Bench) -> None:
    """Questions of an account with an API key go in public and cost it nothing, so its own limit slows none."""
    sandbox = await bench.sandbox()
    text = f"type=flash;server={sandbox.server};token={sandbox.api_key};allowinsecure=true"
    client = await bench.client(text, timing=short(api_key_spacing=Spacing(usual=3600.0, least=3600.0)))
    listener = await client.listen()
    invoices = await client.create_invoices([COFFEE] * 4)
    for invoice in invoices:
        sandbox.pay(invoice.bolt11)
    assert {await paid(listener) for _ in invoices} == {invoice.id for invoice in invoices}
