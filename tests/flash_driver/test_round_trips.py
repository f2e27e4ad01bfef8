"""How often the server is asked: counted by the server itself, for round trips cannot be hidden from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningInvoiceStatus
from connection_strings.errors import LightningError, RateLimited
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

pytestmark = pytest.mark.usefixtures("unhurried")

SAT = LightMoney.from_sat(1000)
CREATE, STATUS = "lnUsdInvoiceCreate", "lnInvoicePaymentStatus"


def asked(sandbox: Sandbox) -> dict[str, dict[str, int]]:
    """Return what reached the server so far, by root field and transport; zero is left out."""
    operations: dict[str, dict[str, Any]] = sandbox.ledger_snapshot()["operations"]
    counts = {field: {way: number for way, number in ways.items() if number} for field, ways in operations.items()}
    return {field: ways for field, ways in counts.items() if ways}


def since(sandbox: Sandbox, before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return what reached the server since then."""
    now = asked(sandbox)
    more = {
        field: {way: number - before.get(field, {}).get(way, 0) for way, number in ways.items()}
        for field, ways in now.items()
    }
    kept = {field: {way: number for way, number in ways.items() if number} for field, ways in more.items()}
    return {field: ways for field, ways in kept.items() if ways}


async def test_cold_invoice_is_a_connection_a_question_and_the_invoice(bench: Bench) -> None:
    """The first invoice costs handshake, acknowledgement, one question with everything in it, and itself."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await client.create_invoice(SAT)
    combined = {"__typename", "globals", "me", "realtimePrice"}
    assert asked(sandbox) == {field: {"websocket": 1} for field in combined | {CREATE}}
    connections = sandbox.ledger_snapshot()["connections"]
    assert (connections["opened"], connections["acknowledged"], connections["http_requests"]) == (1, 1, 0)


async def test_warm_invoice_is_one_message(bench: Bench) -> None:
    """Once the rate is known an invoice costs one question, for every caller."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await client.create_invoice(SAT)
    before = asked(sandbox)
    await client.create_invoice(LightMoney.from_sat(1234))
    assert since(sandbox, before) == {CREATE: {"websocket": 1}}
    assert sandbox.ledger_snapshot()["connections"]["opened"] == 1


@pytest.mark.parametrize("kind", ["decline", "close"])
async def test_second_invoice_on_a_server_that_declines_is_one_request(bench: Bench, kind: str) -> None:
    """What the first one found out is remembered: the second goes straight to what works."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations=kind)
    client = await bench.client(sandbox)
    await client.create_invoice(SAT)
    before, opened = asked(sandbox), sandbox.ledger_snapshot()["connections"]["opened"]
    await client.create_invoice(SAT)
    assert since(sandbox, before) == {CREATE: {"http": 1}}
    assert sandbox.ledger_snapshot()["connections"]["opened"] == opened


async def test_looking_up_a_settled_invoice_asks_nobody(bench: Bench) -> None:
    """PAID is final, so the journal answers."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(SAT)
    sandbox.pay(invoice.bolt11)
    found = await client.get_invoice(invoice.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.PAID
    before = asked(sandbox)
    assert await client.get_invoice(invoice.id) == found
    assert since(sandbox, before) == {}


async def test_listening_with_many_pending_invoices_asks_nothing_while_it_hears(bench: Bench) -> None:
    """On a healthy socket a pending invoice costs no question, and a settlement one."""
    sandbox = await bench.sandbox(invoice_unit="sat", invoice_expiry_seconds=600)
    client = await bench.client(sandbox)
    async with await client.listen() as listener:
        await until(lambda: client.health.listening is Listening.HEARING)
        invoices = await client.create_invoices([CreateInvoiceParams(SAT)] * 30)
        await until(lambda: client.health.pending == 30)
        before = asked(sandbox)
        await asyncio.sleep(1.5)
        assert since(sandbox, before) == {}
        sandbox.pay(invoices[7].bolt11)
        async with asyncio.timeout(20):
            assert (await listener.wait_invoice()).id == invoices[7].id
        assert since(sandbox, before) == {STATUS: {"websocket": 1}}


async def test_a_hundred_invoices_are_sent_before_the_first_is_answered(bench: Bench) -> None:
    """Where the rate is known none waits for another: all are under way at once, on one socket."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await client.create_invoice(SAT)
    sandbox.arm("delay", operation=CREATE, seconds=1, count=100)
    creating = asyncio.create_task(client.create_invoices([CreateInvoiceParams(SAT)] * 100))
    await until(lambda: asked(sandbox)[CREATE]["websocket"] == 101)
    assert len(sandbox.ledger_snapshot()["invoices"]) == 1
    assert len({invoice.id for invoice in await creating}) == 100
    assert asked(sandbox)[CREATE] == {"websocket": 101}
    assert sandbox.ledger_snapshot()["connections"]["opened"] == 1


async def test_only_the_first_of_many_goes_ahead_where_the_rate_is_not_known(bench: Bench) -> None:
    """One invoice teaches the rate, and the others are exact at the first attempt."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    made = await client.create_invoices([CreateInvoiceParams(SAT)] * 20)
    assert len({invoice.id for invoice in made}) == 20
    assert asked(sandbox)[CREATE] == {"websocket": 20}


async def test_a_budget_too_small_for_all_makes_none(bench: Bench) -> None:
    """Invoices that the budget has no room for are refused before the server is asked for any."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    process = ProcessSettings(invoice_budget=InvoiceBudget(10, 120))
    client = await bench.client(sandbox, process=process)
    await client.create_invoices([CreateInvoiceParams(SAT)] * 6)
    before = asked(sandbox)
    with pytest.raises(RateLimited):
        await client.create_invoices([CreateInvoiceParams(SAT)] * 5)
    assert since(sandbox, before) == {}
    assert len(await client.create_invoices([CreateInvoiceParams(SAT)] * 4)) == 4


async def test_an_account_that_can_not_be_looked_up_costs_no_budget(bench: Bench, tmp_path: Path) -> None:
    """Invoices that the server was never asked for are not counted: the next attempt finds room for all."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    process = ProcessSettings.model_validate(
        {"journal_url": f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}", "invoice_budget": "10/120"}
    )
    async with await bench.client(sandbox, process=process) as before_the_restart:
        await before_the_restart.list_invoices()
    client = await bench.client(sandbox, process=process)
    sandbox.arm("error", operation="me", code="IBEX_ERROR", channel="top", count=1000)
    with pytest.raises(LightningError, match="IBEX_ERROR"):
        await client.create_invoices([CreateInvoiceParams(SAT)] * 10)
    sandbox.clear_faults()
    assert len(await client.create_invoices([CreateInvoiceParams(SAT)] * 10)) == 10
