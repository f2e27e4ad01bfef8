"""Asking how invoices stand, and what is believed."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import LightningError, LightningInvoiceStatus
from flash_driver.accounts.pool import Pool
from flash_driver.settlements.backoff import Spacing
from flash_driver.settlements.health import Listening
from tests.support.haste import account_of, hasten
from tests.support.waiting import until
from tests.support.watching import COFFEE, SELDOM, STATUS, STEADY, asked, hearing, paid, short_grace

if TYPE_CHECKING:
    from tests.support.driver import Bench


# --- believing ----------------------------------------------------------------------------------------------------


async def test_an_announcement_is_checked(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A settlement that the query does not confirm is none, however often it is announced; it is told once."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
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
    assert len([line for line in told if "the query says that it is unpaid" in line]) == 1
    assert len([line for line in told if "did not make" in line]) == 1


async def test_paid_is_for_good(bench: Bench) -> None:
    """Announcements after the settlement, EXPIRED among them, change nothing and are not delivered again."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
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
    client = hasten(await bench.client(sandbox), pace=SELDOM)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    sandbox.announce(invoice.payment_hash, wallet_id="00000000-0000-4000-8000-000000000000")
    assert await paid(listener) == invoice.id


async def test_expired_is_said_after_the_grace_time_only(bench: Bench) -> None:
    """A payment that lands in the grace time is PAID, one that never comes is EXPIRED, and then nothing is asked."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2)
    client = hasten(await bench.client(sandbox, process=short_grace()))
    listener = await client.listen()
    await hearing(client)
    late, never = await client.create_invoices([COFFEE] * 2)
    await until(lambda: datetime.now(UTC) > late.expires_at)
    found = await client.get_invoice(never.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.UNPAID
    sandbox.arm("drop_settlement")
    sandbox.pay(late.bolt11, force=True)
    assert await paid(listener) == late.id
    await until(lambda: client.health.pending == 0)
    found = await client.get_invoice(never.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.EXPIRED


async def test_paid_after_expired_still_wins(bench: Bench) -> None:
    """Should the custodian take a payment after all, it is delivered."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2)
    client = hasten(await bench.client(sandbox, process=short_grace()))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: client.health.pending == 0)
    sandbox.announce(invoice.payment_hash)
    await until(lambda: client.health.pending == 0)
    sandbox.pay(invoice.bolt11, force=True)
    assert await paid(listener) == invoice.id


@pytest.mark.parametrize("days", [-1, 1])
async def test_clock_jumps(bench: Bench, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that is a day off loses nothing and invents nothing: pauses are measured on a steady clock."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    before = await client.create_invoice(COFFEE)
    for part in (account_of(client).watcher._polling, account_of(client).lookup):
        monkeypatch.setattr(part, "_clock", lambda: datetime.now(UTC) + timedelta(days=days))
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
    client = hasten(await bench.client(sandbox, transports=transports))
    listener = await client.listen()
    await until(lambda: client.health.listening is Listening.POLLING)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert (client.health.pending, account_of(client).watcher._polling._schedule.next_due(0)) == (0, None)


async def test_an_event_that_outruns_its_invoice(bench: Bench) -> None:
    """A payment that is announced before the answer with the invoice has come is heard of all the same."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
    listener = await client.listen()
    await hearing(client)
    sandbox.arm("delay", operation="lnUsdInvoiceCreate", when="after_execute", seconds=0.5)
    creating = asyncio.create_task(client.create_invoice(COFFEE))
    await until(lambda: len(sandbox.ledger_snapshot()["invoices"]) == 1)
    (row,) = sandbox.ledger_snapshot()["invoices"]
    sandbox.pay(row["payment_request"])
    assert await paid(listener) == (await creating).id
    assert account_of(client).watcher._polling._strangers == {}


async def test_what_was_heard_of_waits_for_no_other_question(bench: Bench) -> None:
    """A customer at the till waits neither for the pause between other questions nor for their answers."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
    asking = account_of(client).watcher._polling
    asking._spacing = Spacing(usual=0.0, least=0.0)
    listener = await client.listen()
    await hearing(client)
    invoices = await client.create_invoices([COFFEE] * 12)
    sandbox.arm("delay", operation=STATUS, seconds=20, count=8)
    asking.ask_about_all()
    await until(lambda: asked(sandbox) == 8)
    asking._quiet_until += 1000
    waiting = next(invoice for invoice in invoices if invoice.id in asking._schedule._ready)
    sandbox.pay(waiting.bolt11)
    assert await paid(listener) == waiting.id
    assert asked(sandbox) == 9


async def test_an_api_key_polls_below_its_limit(bench: Bench) -> None:
    """An API key opens no subscription; its questions keep below 120 a minute (flash-server.md 1.4)."""
    sandbox = await bench.sandbox()
    text = f"type=flash;server={sandbox.server};token={sandbox.api_key};allowinsecure=true"
    client = await bench.client(text)
    listener = await client.listen()
    assert account_of(client).watcher._polling._spacing.least >= 0.5
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


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
    client = hasten(await bench.client(sandbox, transports="http"))
    listener = await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    details = {name: value for name, value in fault.items() if name != "kind"}
    sandbox.arm(str(fault["kind"]), operation=STATUS, count=3, **details)
    assert await paid(listener) == invoice.id
    assert client.health.reason == "this token opens no WebSocket"


async def test_trouble_is_told_in_health(bench: Bench) -> None:
    """While asking fails although the socket is up, health says why."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
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
    client = hasten(await bench.client(sandbox))
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


async def test_invoices_of_other_processes_are_watched(bench: Bench) -> None:
    """What another process made, which may have died, is taken up from the journal."""
    sandbox = await bench.sandbox()
    pool = Pool()
    client = hasten(await bench.client(sandbox, pool))
    other = hasten(await bench.client(sandbox, pool, transports="http"))
    listener = await client.listen()
    await hearing(client)
    heard, dropped = await other.create_invoices([COFFEE] * 2)
    sandbox.pay(heard.bolt11)
    assert await paid(listener) == heard.id
    sandbox.arm("drop_settlement")
    sandbox.pay(dropped.bolt11)
    assert await paid(listener) == dropped.id


async def test_what_another_process_settled_is_let_go(bench: Bench) -> None:
    """An invoice that the journal knows as paid is not asked about any more."""
    sandbox = await bench.sandbox()
    pool = Pool()
    client = hasten(await bench.client(sandbox, pool))
    other = hasten(await bench.client(sandbox, pool, transports="http"))
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
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    await client.create_invoice(COFFEE)
    sandbox.arm("error", code="INVALID_INPUT")
    with pytest.raises(LightningError):
        await client.create_invoices([COFFEE, *[COFFEE] * 3])
    await until(lambda: client.health.pending == len(sandbox.ledger_snapshot()["invoices"]))
    await listener.aclose()
