"""Creating invoices over the amount asked for, against a custodian with a rate of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import ROUND_UP, Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from bolt11 import decode

from connection_strings import (
    CreateInvoiceParams,
    LightMoney,
)
from connection_strings.errors import (
    AmountMismatch,
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    LightningError,
)
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.money.server_price import RateUnknown
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import operations
from tests.support.invoices import BEHALF, USD, created, lnurl, of_sat, orphans
from tests.support.logs import recorded
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.common.deadline import Deadline
    from flash_driver.wallets import ChosenWallet
    from tests.support.driver import Bench

# --- the amount ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["sat", "msat"])
@pytest.mark.parametrize("rounding", ["half-even", "down", "up"])
@pytest.mark.parametrize("spread", ["0.004", "-0.02", "0.05"])
async def test_lnurl_amount_is_exact(bench: Bench, unit: str, rounding: str, spread: str) -> None:
    """Whatever the custodian's spread and rounding, an LNURL request gets its very amount.

    Each takes one request, but for the first, which teaches the rate.
    """
    sandbox = await bench.sandbox(invoice_unit=unit, invoice_rounding=rounding, spread=Decimal(spread))
    client = await bench.client(sandbox)
    amounts = [100_000_000, 21_000, 1_234_000, 99_000_000]
    for msat in amounts:
        invoice = await client.create_invoice(lnurl(msat))
        assert invoice.amount == LightMoney.from_msat(msat)
        assert decode(invoice.bolt11).amount_msat == msat
    assert created(sandbox) <= len(amounts) + 2


async def test_first_invoice_is_in_whole_satoshi(bench: Bench) -> None:
    """The first invoice of all is asked for once more when it would do but for a fraction of a satoshi."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    first = await client.create_invoice(of_sat(1000))
    second = await client.create_invoice(of_sat(1000))
    assert (first.amount, second.amount) == (LightMoney.from_sat(1000), LightMoney.from_sat(1000))
    assert decode(first.bolt11).amount_msat == 1_000_000
    assert operations(sandbox, USD) == {"websocket": 3}
    assert [orphan.amount_msat for orphan in await orphans(client)] == [1_004_016]


async def test_whole_satoshi_within_tolerance_are_enough(bench: Bench) -> None:
    """A custodian that deals in whole satoshi is asked once, and what it makes of it will do."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    assert (await client.create_invoice(of_sat(1000))).amount == LightMoney.from_sat(1004)
    assert (await client.create_invoice(of_sat(1000))).amount == LightMoney.from_sat(1000)
    assert operations(sandbox, USD) == {"websocket": 2}


@pytest.mark.parametrize("trouble", ["error", "reset", "budget"])
async def test_a_better_amount_that_can_not_be_had_spoils_nothing(bench: Bench, trouble: str) -> None:
    """Whatever becomes of the one request more, the invoice that will do is handed out, and no other is."""
    sandbox = await bench.sandbox()
    budget = InvoiceBudget(2, 120) if trouble == "budget" else None
    client = await bench.client(sandbox, process=ProcessSettings(invoice_budget=budget), transports="websocket")
    await client.warm_up()
    if trouble == "error":
        sandbox.arm("delay", operation=USD, seconds=0)
        sandbox.arm("error", operation=USD, code="IBEX_ERROR", count=9)
    elif trouble == "reset":
        sandbox.arm("delay", operation=USD, when="after_execute", seconds=0)
        sandbox.arm("reset", operation=USD, when="after_execute")
    invoice = await client.create_invoice(of_sat(1000))
    assert invoice.amount == LightMoney.from_msat(1_004_016)
    assert [each.id for each in await client.list_invoices()] == [invoice.id]
    assert await orphans(client) == []


async def test_a_second_process_begins_where_the_first_one_was(bench: Bench, tmp_path: Path) -> None:
    """The journal tells a new process the rate: on a still market its first invoice is exact, with one request."""
    process = ProcessSettings.model_validate({"journal_url": f"sqlite+aiosqlite:///{tmp_path}/journal.db"})
    sandbox = await bench.sandbox()
    async with await bench.client(sandbox, process=process) as before:
        await before.create_invoice(of_sat(1000))
        await before.create_invoice(of_sat(200_000))
    again = await bench.client(sandbox, process=process)
    asked = created(sandbox)
    assert (await again.create_invoice(of_sat(2_100))).amount == LightMoney.from_sat(2_100)
    assert (await again.create_invoice(lnurl(123_456_789))).amount == LightMoney.from_msat(123_456_789)
    assert created(sandbox) - asked == 2


async def test_never_less_than_asked(bench: Bench) -> None:
    """A first invoice over less than asked is put aside as an orphan, which no host ever sees."""
    sandbox = await bench.sandbox(spread=Decimal("-0.004"))
    client = await bench.client(sandbox)
    with recorded() as story:
        invoice = await client.create_invoice(of_sat(1000))
    assert invoice.amount == LightMoney.from_sat(1000)
    (orphan,) = await orphans(client)
    assert orphan.amount_msat is not None
    assert orphan.amount_msat < 1_000_000
    assert orphan.orphan
    assert story.entry("an invoice is put aside")["payment_hash"] == orphan.payment_hash
    assert await client.get_invoice(orphan.payment_hash) is None
    assert [each.id for each in await client.list_invoices()] == [invoice.id]
    sandbox.pay(orphan.bolt11)
    assert await client.get_invoice(orphan.payment_hash) is None


async def test_tolerance_is_settable(bench: Bench) -> None:
    """`amount-tolerance=0` means that very amount, also for hosts that are no LNURL server."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, amount_tolerance="0")
    invoice = await client.create_invoice(of_sat(1000))
    assert invoice.amount == LightMoney.from_sat(1000)
    assert operations(sandbox, USD) == {"websocket": 2}


async def test_rate_that_moves_between_requests_is_caught(bench: Bench) -> None:
    """When the rate has moved since the last invoice, one correction is enough."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.create_invoice(lnurl(50_000_000))
    before = created(sandbox)
    sandbox.set_price(usd_per_btc=Decimal(98_000))
    invoice = await client.create_invoice(lnurl(50_000_000))
    assert invoice.amount == LightMoney.from_sat(50_000)
    assert created(sandbox) == before + 2


async def test_drifting_spread_is_learned(bench: Bench) -> None:
    """The custodian's spread may drift while the price stands still: each invoice is exact all the same."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for step in range(6):
        sandbox.set_price(spread=Decimal("0.004") + Decimal(step) / 2000)
        assert (await client.create_invoice(lnurl(3_333_000))).amount == LightMoney.from_msat(3_333_000)


async def test_amount_that_cannot_be_had_is_named(bench: Bench) -> None:
    """A USDT wallet resolves a ten-thousandth of a cent: a millisatoshi that lies between two is refused, naming both.

    None of the attempts is shown to the host.
    """
    sandbox = await bench.sandbox(wallets=("USDT",), usd_per_btc=Decimal(50_000))
    client = await bench.client(sandbox)
    refused: list[AmountMismatch] = []
    for msat in range(1_000_000, 1_000_006):
        try:
            await client.create_invoice(lnurl(msat))
        except AmountMismatch as error:
            refused.append(error)
    assert refused
    for mismatch in refused:
        assert mismatch.asked_msat not in mismatch.available_msat
        assert min(abs(each - mismatch.asked_msat) for each in mismatch.available_msat) <= 2
    assert len(await client.list_invoices()) == 6 - len(refused)
    assert len(await orphans(client)) >= len(refused)


async def test_absurd_custodian_is_refused(bench: Bench) -> None:
    """A custodian whose rate is far from the server's own price would short-change the merchant: no invoice."""
    sandbox = await bench.sandbox(spread=Decimal("0.5"))
    client = await bench.client(sandbox)
    with pytest.raises(AmountMismatch) as mismatch:
        await client.create_invoice(of_sat(1000))
    assert min(mismatch.value.available_msat) > 1_900_000
    assert await client.list_invoices() == []


async def test_everything_within_five_seconds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrections share one deadline: where the server stops answering in between, the whole ends in time."""
    monkeypatch.setattr("flash_driver.invoices.creation.CREATE_SECONDS", 0.6)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="websocket")
    await client.warm_up()
    sandbox.arm("wrong_invoice", what="amount")
    sandbox.arm("delay", operation=BEHALF, when="after_execute", seconds=0.01)
    sandbox.arm("delay", operation=USD, when="after_execute", seconds=30)
    async with asyncio.timeout(25):
        with pytest.raises(LightningError):
            await client.create_invoice(lnurl(1_000_000))


# --- many ------------------------------------------------------------------------------------------------------------


async def test_many_come_in_order(bench: Bench) -> None:
    """Many invoices come in the order asked for, each exact, since the first has taught the rate."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    asked = [lnurl(msat) for msat in (90_000_000, *range(1_000_000, 1_012_000, 1_000))]
    made = await client.create_invoices(asked)
    assert [invoice.amount for invoice in made] == [params.amount for params in asked]
    assert created(sandbox) <= len(asked) + 2
    assert await client.create_invoices([]) == []


async def test_one_failure_loses_no_other(bench: Bench) -> None:
    """When one of many fails, the others are in the journal, and the error says how many."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(BackendUnavailable) as refusal:
        await client.create_invoices([of_sat(1000), of_sat(2000), of_sat(Decimal("0.001")), of_sat(3000)])
    assert refusal.value.__notes__ == ["3 of 4 invoices were created and are journalled"]
    assert len(await client.list_invoices()) == 3


# --- prices ----------------------------------------------------------------------------------------------------------


async def test_price_service_down_from_the_start(bench: Bench) -> None:
    """Without a price and without an invoice so far there is a clear error; when the price is back, an invoice."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation="realtimePrice", message="Price service is down", channel="top", count=2)
    with pytest.raises(RateUnknown, match="Price service is down"):
        await client.create_invoice(of_sat(1000))
    assert operations(sandbox, USD) == {}
    assert (await client.create_invoice(of_sat(1000))).amount is not None


async def test_price_service_down_later(bench: Bench) -> None:
    """What an invoice has taught goes on working while there is no price."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.create_invoice(lnurl(10_000_000))
    client._account().wallets._known.reply = None
    sandbox.arm("error", operation="realtimePrice", message="Price service is down", channel="top", count=100)
    invoice = await client.create_invoice(lnurl(5_000_000))
    assert invoice.amount == LightMoney.from_sat(5_000)


@pytest.mark.parametrize("currency", ["JPY", "JMD", "EUR"])
async def test_display_currency_does_not_matter(bench: Bench, currency: str) -> None:
    """The account may show its user yen or Jamaican dollars: prices are asked for in US dollars."""
    sandbox = await bench.sandbox(display_currency=currency)
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    assert invoice.amount is not None
    assert invoice.amount <= LightMoney.from_sat(1010)


# --- the smallest and the largest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("msat", [1, 999])
async def test_less_than_a_satoshi(bench: Bench, msat: int) -> None:
    """The custodian makes no invoice below a satoshi; its refusal reaches the host, and no invoice does."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(BackendUnavailable, match="IBEX_ERROR"):
        await client.create_invoice(lnurl(msat))
    assert await client.list_invoices() == []


async def test_less_than_a_fraction_of_a_cent(bench: Bench) -> None:
    """An amount that is no cents at all after rounding is refused before it is asked for: Flash would drop it."""
    sandbox = await bench.sandbox(wallets=("USDT",), usd_per_btc=Decimal(40_000))
    client = await bench.client(sandbox)
    with pytest.raises(InvalidRequest, match="smallest fraction of a cent"):
        await client.create_invoice(lnurl(1))
    assert operations(sandbox, BEHALF) == {}


async def test_one_satoshi(bench: Bench) -> None:
    """One satoshi is had, exactly, also from a custodian that deals in whole ones."""
    for unit in ("sat", "msat"):
        sandbox = await bench.sandbox(invoice_unit=unit)
        client = await bench.client(sandbox)
        assert (await client.create_invoice(lnurl(1000))).amount == LightMoney.from_sat(1)


async def test_all_bitcoin_there_is(bench: Bench) -> None:
    """21 million bitcoin are more than the server's scalar takes: refused before they are asked for."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(InvalidRequest, match="more than Flash can put"):
        await client.create_invoice(CreateInvoiceParams(LightMoney.MAX))
    assert operations(sandbox, USD) == {}


async def test_hosts_decimal_context_does_not_matter(bench: Bench) -> None:
    """A host that computes with three digits, rounds up and traps every rounding gets its exact amount all the same."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with localcontext(prec=3, rounding=ROUND_UP):
        invoice = await client.create_invoice(lnurl(123_456_789))
    assert invoice.amount == LightMoney.from_msat(123_456_789)


async def test_the_server_leaves_time_for_the_journal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gets a part of the five seconds only, so that the journal is written within them."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    choose, seen = client._account().wallets.choose, list[float]()

    async def noting(deadline: Deadline, *arguments: Any, **options: Any) -> ChosenWallet:
        seen.append(deadline.remaining)
        return await choose(deadline, *arguments, **options)

    monkeypatch.setattr(client._account().wallets, "choose", noting)
    await client.create_invoice(of_sat(1000))
    assert max(seen) <= 4.8


async def test_tolerance_of_one_call_overrides_the_client(bench: Bench) -> None:
    """An invoice may be asked for with a tolerance of its own: none at all, where the client would take 1 % more."""
    sandbox = await bench.sandbox(spread=Decimal("0.005"))
    client = await bench.client(sandbox, amount_tolerance="1")
    exact = await client.create_invoice(of_sat(1000), amount_tolerance=Decimal(0))
    assert exact.amount == LightMoney.from_sat(1000)
    assert operations(sandbox, USD) == {"websocket": 2}
    (again,) = await client.create_invoices([replace(of_sat(2000), amount_tolerance=Decimal(0))])
    assert again.amount == LightMoney.from_sat(2000)


@pytest.mark.parametrize("tolerance", [Decimal(-1), Decimal(101), Decimal("NaN")])
async def test_tolerance_of_a_call_is_a_percentage(bench: Bench, tolerance: Decimal) -> None:
    """A tolerance that makes no sense is refused by name, and nothing is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(InvalidRequest, match="amount_tolerance"):
        await client.create_invoice(of_sat(1000), amount_tolerance=tolerance)
    assert sandbox.ledger_snapshot()["invoices"] == []


async def test_an_invoice_is_handed_out_once(bench: Bench) -> None:
    """A cache that repeats an answer, paid or not, can't sell one payment to two orders: it is refused, and logged."""
    sandbox = await bench.sandbox()
    kept: list[bytes] = []

    async def cache(request: web.Request) -> web.Response:
        body = await request.read()
        if b"lnUsdInvoiceCreate" in body and kept:
            return web.Response(body=kept[0], content_type="application/json")
        url, credential = sandbox.server, request.headers["Authorization"]
        headers = {"Content-Type": "application/json", "Authorization": credential}
        async with ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
            told = await answer.read()
        if b"lnUsdInvoiceCreate" in body:
            kept.append(told)
        return web.Response(body=told, content_type="application/json")

    app = web.Application()
    app.router.add_post("/graphql", cache)
    async with serving(app) as port:
        client = await bench.client(sandbox, server=f"http://127.0.0.1:{port}/graphql", transports="http")
        invoice = await client.create_invoice(LightMoney.from_sat(1000))
        for paid in (False, True):
            if paid:
                sandbox.pay(invoice.bolt11)
            with recorded() as events, pytest.raises(InvalidReply, match="handed out before"):
                await client.create_invoice(LightMoney.from_sat(1000))
            assert events.entry("the server made an invoice that was handed out before")
        assert [row.id for row in await client.list_invoices()] == [invoice.id]
        await client.aclose()
