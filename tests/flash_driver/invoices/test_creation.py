"""Creating invoices over the amount asked for, and looking them up, against a custodian with a rate of its own."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from decimal import ROUND_UP, Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from bolt11 import decode

from connection_strings import (
    CreateInvoiceParams,
    LightMoney,
    LightningInvoiceStatus,
    ListInvoicesParams,
)
from connection_strings.errors import (
    AmountMismatch,
    InvalidRequest,
    LightningError,
    RequestRefused,
)
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.replies import InvoiceStatus
from flash_driver.invoices.server_clock import ServerClock
from flash_driver.money.rate_book import RateUnknown
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import operations
from tests.support.invoices import BEHALF, USD, lnurl, of_sat, orphans
from tests.support.logs import recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from connection_strings import LightningInvoice
    from flash_driver.client import FlashLightningClient
    from flash_driver.flash_api.documents import Operation
    from flash_driver.transports.delivery import Delivery
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
    assert operations(sandbox, BEHALF)["websocket"] <= len(amounts) + 2


async def test_first_invoice_within_tolerance_is_enough(bench: Bench) -> None:
    """Other hosts take up to one percent more, so that the first invoice needs one request; the second is exact."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    first = await client.create_invoice(of_sat(1000))
    second = await client.create_invoice(of_sat(1000))
    assert first.amount is not None
    assert LightMoney.from_sat(1000) <= first.amount <= LightMoney.from_sat(1010)
    assert first.amount.msat == decode(first.bolt11).amount_msat
    assert second.amount == LightMoney.from_sat(1000)
    assert operations(sandbox, USD) == {"websocket": 2}
    assert await orphans(client) == []


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
    before = operations(sandbox, BEHALF)["websocket"]
    sandbox.set_price(usd_per_btc=Decimal(98_000))
    invoice = await client.create_invoice(lnurl(50_000_000))
    assert invoice.amount == LightMoney.from_sat(50_000)
    assert operations(sandbox, BEHALF)["websocket"] == before + 2


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
    sandbox.arm("delay", operation=BEHALF, when="after_execute", seconds=30)
    async with asyncio.timeout(5):
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
    assert operations(sandbox, BEHALF)["websocket"] <= len(asked) + 2
    assert await client.create_invoices([]) == []


async def test_one_failure_loses_no_other(bench: Bench) -> None:
    """When one of many fails, the others are in the journal, and the error says how many."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(RequestRefused) as refusal:
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
    client._account().wallets._chosen = None
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
    with pytest.raises(RequestRefused):
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


# --- looking up ------------------------------------------------------------------------------------------------------


async def test_unknown_invoice_is_none(bench: Bench) -> None:
    """Garbage and a hash that was never made are certainly unknown; neither is asked of the server."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    assert await client.get_invoice("lol") is None
    assert await client.get_invoice("00" * 32) is None
    assert operations(sandbox, "lnInvoicePaymentStatus") == {}


async def test_paid_invoice_is_settled_once(bench: Bench) -> None:
    """After payment the look-up says PAID with the amount, in either case of the id, and asks no more afterwards."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    unpaid = await client.get_invoice(invoice.id)
    assert unpaid is not None
    assert unpaid.status is LightningInvoiceStatus.UNPAID
    sandbox.pay(invoice.bolt11)
    with recorded() as story:
        paid = await client.get_invoice(invoice.id.upper())
    assert paid is not None
    assert paid.status is LightningInvoiceStatus.PAID
    assert paid.amount_received == invoice.amount
    assert paid.paid_at is not None
    assert story.entry("invoice settled")["payment_hash"] == invoice.payment_hash
    assert await client.get_invoice(invoice.id) == paid
    assert operations(sandbox, "lnInvoicePaymentStatus") == {"websocket": 2}
    assert await client.list_invoices(ListInvoicesParams(pending_only=True)) == []


async def test_strange_status_is_no_verdict(bench: Bench) -> None:
    """A word that is not known is neither paid nor expired; an error is raised, not answered with None."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    sandbox.arm("error", operation="lnInvoicePaymentStatus", code="IBEX_ERROR", channel="top")
    with pytest.raises(RequestRefused, match="IBEX_ERROR"):
        await client.get_invoice(invoice.id)


async def status_of(client: FlashLightningClient, invoice: LightningInvoice) -> LightningInvoiceStatus:
    """Look an invoice up that there is."""
    found = await client.get_invoice(invoice.id)
    assert found is not None
    return found.status


def wall_and_steady(client: FlashLightningClient, wall: datetime) -> Callable[[int], None]:
    """Stop this machine's clocks; returns what moves the steady one to so many seconds from now."""
    invoices = client._account().invoices
    start = time.monotonic_ns()
    invoices._clock = lambda: wall

    def move(seconds: int) -> None:
        invoices._steady = lambda: start + seconds * 10**9

    move(0)
    return move


@pytest.mark.parametrize("fast", [timedelta(0), timedelta(hours=2), timedelta(days=400)])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        pytest.param([69], LightningInvoiceStatus.UNPAID, id="too early"),
        pytest.param([71], LightningInvoiceStatus.EXPIRED, id="late enough by what the server's clock says at least"),
        pytest.param([40, 49], LightningInvoiceStatus.UNPAID, id="not for long enough"),
        pytest.param([40, 51], LightningInvoiceStatus.EXPIRED, id="for long enough"),
    ],
)
async def test_expired_is_said_after_the_grace_only(
    bench: Bench, asked: list[int], status: LightningInvoiceStatus, fast: timedelta
) -> None:
    """EXPIRED counts after the grace by the server's clock, or since it first said so: this machine's may be fast."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(expiry_grace_seconds=10, invoice_budget=None))
    invoice = await client.create_invoice(of_sat(1000))
    sandbox._bank.clock = lambda: invoice.expires_at + timedelta(seconds=1)
    move = wall_and_steady(client, invoice.expires_at + fast)
    told = []
    for seconds in asked:
        move(seconds)
        told.append(await status_of(client, invoice))
    assert told == [*[LightningInvoiceStatus.UNPAID] * (len(asked) - 1), status]


async def test_a_payment_between_question_and_answer(bench: Bench) -> None:
    """An answer that says EXPIRED and comes late proves nothing about the time it took: a payment may have landed."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(expiry_grace_seconds=10, invoice_budget=None))
    invoice = await client.create_invoice(of_sat(1000))
    move = wall_and_steady(client, invoice.expires_at)
    move(61)
    sandbox._bank.clock = lambda: invoice.expires_at + timedelta(seconds=1)
    assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    router = client._account().router
    perform = router.perform

    async def slow(operation: Operation, *arguments: Any, **options: Any) -> Delivery:
        delivery = await perform(operation, *arguments, **options)
        sandbox.pay(invoice.bolt11, force=True)
        move(3600)
        return delivery

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(router, "perform", slow)
        assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    assert await status_of(client, invoice) is LightningInvoiceStatus.PAID


@pytest.mark.parametrize(
    ("late", "status"),
    [(9, LightningInvoiceStatus.UNPAID), (11, LightningInvoiceStatus.EXPIRED)],
)
async def test_who_makes_no_invoice_asks_for_the_time(
    bench: Bench, tmp_path: Path, late: int, status: LightningInvoiceStatus
) -> None:
    """A process that asks about an invoice a single time learns the server's time from its price, asked for once."""
    process = ProcessSettings.model_validate(
        {"journal_url": f"sqlite+aiosqlite:///{tmp_path}/journal.db", "invoice_budget": None}
    )
    sandbox = await bench.sandbox()
    async with await bench.client(sandbox, process=process) as first:
        invoice = await first.create_invoice(of_sat(1000))
    sandbox._bank.clock = sandbox._bank.custodian._clock = lambda: invoice.expires_at + timedelta(seconds=late)
    client = await bench.client(sandbox, process=process)
    wall_and_steady(client, invoice.expires_at + timedelta(days=1))
    before = operations(sandbox, "realtimePrice")
    for _ in range(2):
        assert await status_of(client, invoice) is status
    assert sum(operations(sandbox, "realtimePrice").values()) - sum(before.values()) == 1


async def test_a_server_that_tells_no_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any time of the server's, EXPIRED counts when it has been said for as long as the grace."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(expiry_grace_seconds=10, invoice_budget=None))
    invoice = await client.create_invoice(of_sat(1000))
    invoices = client._account().invoices
    invoices._server_clock = ServerClock()
    monkeypatch.setattr("flash_driver.invoices.creation.read_price_time", lambda _data: None)
    sandbox._bank.clock = lambda: invoice.expires_at + timedelta(days=1)
    move = wall_and_steady(client, invoice.expires_at + timedelta(days=1))
    assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    move(11)
    assert await status_of(client, invoice) is LightningInvoiceStatus.EXPIRED


async def test_what_is_remembered_of_expiries_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many invoices expire, no more than so many moments are kept, and none of what is settled."""
    monkeypatch.setattr("flash_driver.invoices.creation._EXPIRED_REMEMBERED", 2)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    made = [await client.create_invoice(of_sat(1000)) for _ in range(3)]
    sandbox._bank.clock = lambda: made[-1].expires_at + timedelta(seconds=1)
    invoices = client._account().invoices
    for invoice in made:
        await client.get_invoice(invoice.id)
    assert list(invoices._expired_since) == [invoice.id for invoice in made[1:]]
    wall_and_steady(client, made[-1].expires_at)(7200)
    await client.get_invoice(made[-1].id)
    assert list(invoices._expired_since) == [made[1].id]


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
    assert max(seen) < 4.3


async def test_unknown_word_is_kept_as_unpaid(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that this driver has never heard of is told to the log, once, and changes nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    monkeypatch.setattr("flash_driver.invoices.creation.read_invoice_status", lambda _data: InvoiceStatus.UNKNOWN)
    with recorded() as story:
        for _ in range(3):
            assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    told = story.entry("the server answered with a status that is not known")
    assert (told["payment_hash"], told["status"]) == (invoice.id, "'PENDING'")


async def test_settling_twice_tells_once(bench: Bench) -> None:
    """Whoever learns of a payment second changes nothing and says nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    invoices, journal = client._account().invoices, client._account().journal
    unpaid = await journal.find_invoice(invoice.id)
    assert unpaid is not None
    first = await invoices.settle(unpaid, Deadline.after(5))
    with recorded() as story:
        again = await invoices.settle(first, Deadline.after(5))
    assert again == first
    assert story.entries == []


async def test_journal_that_forgets_is_an_error(bench: Bench) -> None:
    """An invoice that the journal has lost can't be called paid."""
    sandbox = await bench.sandbox()
    client, other = await bench.client(sandbox), await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    unpaid = await client._account().journal.find_invoice(invoice.id)
    assert unpaid is not None
    with pytest.raises(LightningError, match="lost an invoice"):
        await other._account().invoices.settle(unpaid, Deadline.after(5))


async def test_tolerance_of_one_call_overrides_the_client(bench: Bench) -> None:
    """An invoice may be asked for with a tolerance of its own: none at all, where the client would take 1 % more."""
    sandbox = await bench.sandbox(spread=Decimal("0.005"))
    client = await bench.client(sandbox, amount_tolerance="1")
    exact = await client.create_invoice(of_sat(1000), amount_tolerance=Decimal(0))
    assert exact.amount == LightMoney.from_sat(1000)
    assert operations(sandbox, USD) == {"websocket": 2}


@pytest.mark.parametrize("tolerance", [Decimal(-1), Decimal(101), Decimal("NaN")])
async def test_tolerance_of_a_call_is_a_percentage(bench: Bench, tolerance: Decimal) -> None:
    """A tolerance that makes no sense is refused by name, and nothing is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(InvalidRequest, match="amount_tolerance"):
        await client.create_invoice(of_sat(1000), amount_tolerance=tolerance)
    assert sandbox.ledger_snapshot()["invoices"] == []
