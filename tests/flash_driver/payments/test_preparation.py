"""Before the first byte of a payment: what is checked, asked for and decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from connection_strings import (
    InvalidRequest,
    LightMoney,
    LightningError,
    NotSupported,
    PayInvoiceParams,
    PayResult,
)
from flash_driver.flash_api.replies import FeeEstimate, PriceTick
from flash_driver.money.server_price import RateUnknown
from tests.support.driver import operations
from tests.support.payments import (
    FAILED,
    QUICK,
    arrived_msat,
    executed,
    requested,
    status_of,
)
from tests.support.timing import SHORT, account_of

if TYPE_CHECKING:
    from flash_driver.journal.records import PaymentRecord
    from tests.support.driver import Bench


async def test_a_fee_within_the_limit_is_paid(bench: Bench) -> None:
    """The fee is asked for first, and a payment that keeps the limit goes ahead."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    signed = sandbox.foreign_invoice(100_000_000)
    answer = await client.pay(signed.payment_request, PayInvoiceParams(max_fee_percent=1.0))
    assert answer.result is PayResult.OK
    assert operations(sandbox, "lnUsdInvoiceFeeProbe") == {"websocket": 1}


@pytest.mark.parametrize("msat", [100_000_000, None])
async def test_a_fee_above_the_limit_is_not_paid(bench: Bench, msat: int | None) -> None:
    """What would cost more than allowed is an error, and nothing is sent."""
    sandbox = await bench.sandbox(send_fee_percent=5)
    client = await bench.client(sandbox)
    signed = sandbox.foreign_invoice(msat)
    amount = LightMoney.from_msat(100_000_000) if msat is None else None
    answer = await client.pay(signed.payment_request, PayInvoiceParams(amount=amount, max_fee_percent=1.0))
    assert answer.result is PayResult.ERROR
    assert "exceeds the limit of 1000000 msat" in str(answer.error_detail)
    assert (executed(sandbox), await status_of(client, signed.payment_hash)) == ([], FAILED)


@pytest.mark.parametrize("percent", ["0", "0.3", "4"])
@pytest.mark.parametrize(("currency", "step"), [("USD", "0.01"), ("USDT", "1")])
async def test_a_rounded_fee_keeps_the_limit(bench: Bench, currency: str, step: str, percent: str) -> None:
    """Fees are told in hundredths of a cent (USD) or whole cents (USDT): what is paid has cost no more than the limit.

    A limit below half of that can't be kept, and is refused with words, also where the fee is told as 0.
    """
    price, per_msat = Decimal(100_000), Decimal("0.0001")
    sandbox = await bench.sandbox(wallets=(currency,), send_fee_percent=Decimal(percent), usd_per_btc=price)
    client = await bench.client(sandbox)
    results: dict[str, list[PayResult]] = {"0": [], "1": []}
    for limit, sat in [(limit, sat) for limit in results for sat in (1, 44, 460, 1_000, 30_000)]:
        signed = sandbox.foreign_invoice(sat * 1000)
        answer = await client.pay(signed.payment_request, PayInvoiceParams(max_fee_percent=Decimal(limit)))
        results[limit].append(answer.result)
        paid = [row for row in sandbox.ledger_snapshot()["payments"] if row["payment_hash"] == signed.payment_hash]
        limit_cents = sat * 1000 * Decimal(limit) / 100 * per_msat
        assert all(Decimal(row["fee_cents"]) <= limit_cents for row in paid)
        assert len(paid) == (answer.result is PayResult.OK)
        if limit_cents < Decimal(step) / 2:
            assert "can't be kept, because the server tells fees to within" in str(answer.error_detail)
    assert results["0"] == [PayResult.ERROR] * 5
    assert results["1"][-1] is (PayResult.ERROR if percent == "4" else PayResult.OK)


async def test_a_fee_that_can_not_be_asked_for_is_too_much(bench: Bench) -> None:
    """Without an answer to the fee probe a limit can't be kept, so nothing is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation="lnUsdInvoiceFeeProbe", code="IBEX_ERROR")
    signed = sandbox.foreign_invoice(1_000_000)
    answer = await client.pay(signed.payment_request, PayInvoiceParams(max_fee_flat=LightMoney.from_sat(1)))
    assert (answer.result, executed(sandbox)) == (PayResult.ERROR, [])
    assert "the fee can't be asked for" in str(answer.error_detail)


async def test_a_fee_that_is_not_told_is_too_much(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that answers without a fee does not let a payment through."""
    monkeypatch.setattr("flash_driver.payments.preparation.read_fee_probe", lambda *_: FeeEstimate(None, None))
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    signed = sandbox.foreign_invoice(1_000_000)
    answer = await client.pay(signed.payment_request, PayInvoiceParams(max_fee_flat=LightMoney.from_sat(1)))
    assert (answer.result, executed(sandbox)) == (PayResult.ERROR, [])


async def test_amountless_is_paid_in_cents(bench: Bench) -> None:
    """The host names the amount of an amountless invoice; it arrives within one percent, asked for once."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    signed = sandbox.foreign_invoice()
    answer = await client.pay(signed.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert (answer.result, row["times_requested"], row["idempotency_keys"]) == (PayResult.OK, 1, [])
    assert abs(row["msat"] - 5_000_000) < 50_000


@pytest.mark.parametrize(("currency", "spare_msat"), [("USD", 110), ("USDT", 11_000)])
@pytest.mark.parametrize("spread", ["0.004", "-0.01", "0.02"])
async def test_the_payee_gets_at_least_what_was_named(
    bench: Bench, currency: str, spare_msat: int, spread: str
) -> None:
    """What an own invoice would cost shows the rate of sending, so the first payment already arrives whole."""
    sandbox = await bench.sandbox(spread=Decimal(spread), wallets=(currency,))
    client = await bench.client(sandbox)
    await client.create_invoice(LightMoney.from_sat(5000), "shows the rate", timedelta(minutes=1))
    for named_msat in (5_000_000, 1_000, 123_456_789):
        signed = sandbox.foreign_invoice()
        params = PayInvoiceParams(amount=LightMoney.from_msat(named_msat))
        assert (await client.pay(signed.payment_request, params)).result is PayResult.OK
        arrived = arrived_msat(sandbox, signed.payment_hash)
        assert named_msat <= arrived <= named_msat + 20 + named_msat * spare_msat // 5_000_000
    assert sum(operations(sandbox, "lnUsdInvoiceFeeProbe").values()) == 3


async def test_a_payment_with_a_fee_limit_teaches_the_rate(bench: Bench) -> None:
    """The probe of a payment of a fixed amount says what it costs, where there is no own invoice to ask about."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.pay(sandbox.foreign_invoice(100_000_000).payment_request, PayInvoiceParams(max_fee_percent=1.0))
    signed = sandbox.foreign_invoice()
    payment = await client.pay(signed.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    known = await client.get_payment(signed.payment_hash)
    assert payment.result is PayResult.OK
    assert 5_000_000 <= arrived_msat(sandbox, signed.payment_hash) <= 5_000_010
    assert known is not None
    assert (known.amount, known.amount_estimated) == (LightMoney.from_sat(5000), True)
    assert sum(operations(sandbox, "lnUsdInvoiceFeeProbe").values()) == 1


async def test_amountless_that_is_lost_is_never_repeated(bench: Bench) -> None:
    """Its mutation has no idempotency key, so what is lost stays unknown, also when the host pays again."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    signed = sandbox.foreign_invoice()
    sandbox.arm("reset", when="after_execute", operation="lnNoAmountUsdInvoicePaymentSend")
    params = replace(QUICK, amount=LightMoney.from_sat(5000))
    results = [(await client.pay(signed.payment_request, params)).result for _ in range(3)]
    assert (results, requested(sandbox), executed(sandbox)) == ([PayResult.UNKNOWN] * 3, [1], [1])


async def test_amountless_is_paid_at_the_price_of_now(bench: Bench) -> None:
    """When the market has moved since the price was heard last, what arrives is the amount named all the same."""
    sandbox = await bench.sandbox(usd_per_btc=Decimal(100_000))
    client = await bench.client(sandbox)
    await client.warm_up()
    price = account_of(client).memory.price
    assert isinstance(price.latest, PriceTick)
    # It was heard two hours ago: long enough for such a move to be believed.
    price.latest = replace(price.latest, time=price.latest.time - timedelta(hours=2))
    price._heard_at -= timedelta(hours=2)
    sandbox.set_price(usd_per_btc=Decimal(95_000))
    signed = sandbox.foreign_invoice()
    answer = await client.pay(signed.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert answer.result is PayResult.OK
    assert abs(row["msat"] - 5_000_000) < 50_000


async def test_amountless_is_not_paid_without_a_price(bench: Bench) -> None:
    """When the server does not say its price now, an older one is not paid at: nothing is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    price = account_of(client).memory.price
    assert price._told_at is not None
    price._told_at -= timedelta(seconds=61)
    sandbox.arm("error", operation="realtimePrice", channel="top", code="IBEX_ERROR", count=99)
    signed = sandbox.foreign_invoice()
    with pytest.raises(RateUnknown):
        await client.pay(signed.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    assert (requested(sandbox), await status_of(client, signed.payment_hash)) == ([], FAILED)


async def test_a_fee_is_measured_at_the_price_of_now(bench: Bench) -> None:
    """A fee limit is kept at a price that the server says now, or else not at all."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    price = account_of(client).memory.price
    limited = PayInvoiceParams(max_fee_percent=1.0)
    for down in (False, True):
        price._told_at = None
        if down:
            sandbox.arm("error", operation="realtimePrice", channel="top", code="IBEX_ERROR", count=99)
        answer = await client.pay(sandbox.foreign_invoice(100_000_000).payment_request, limited)
        assert answer.result is (PayResult.ERROR if down else PayResult.OK)
    assert executed(sandbox) == [1]


async def test_amounts_have_to_fit(bench: Bench) -> None:
    """An amount is needed where the BOLT11 has none, and must not differ where it has one."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(InvalidRequest, match="is needed"):
        await client.pay(sandbox.foreign_invoice().payment_request)
    fixed = sandbox.foreign_invoice(5000).payment_request
    with pytest.raises(InvalidRequest, match="differs"):
        await client.pay(fixed, PayInvoiceParams(amount=LightMoney.from_msat(5001)))
    assert (await client.pay(fixed, PayInvoiceParams(amount=LightMoney.from_msat(5000)))).result is PayResult.OK


async def test_amountless_needs_a_dollar_wallet(bench: Bench) -> None:
    """Flash pays amountless invoices in cents only."""
    sandbox = await bench.sandbox(btc_wallet=True)
    client = await bench.client(sandbox, currency="BTC")
    with pytest.raises(NotSupported):
        await client.pay(sandbox.foreign_invoice().payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5)))


async def test_an_invoice_of_another_network_is_refused(bench: Bench) -> None:
    """Nothing is sent for a BOLT11 that this wallet can't pay."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    account_of(client).payments._preparation._process = account_of(client).process.model_copy(
        update={"network": "bitcoin"}
    )
    with pytest.raises(InvalidRequest, match="is for regtest, and this wallet is on bitcoin"):
        await client.pay(sandbox.foreign_invoice(5000).payment_request)
    assert sandbox.ledger_snapshot()["payments"] == []


async def test_an_expired_invoice_is_refused(bench: Bench) -> None:
    """Nothing is sent for a BOLT11 whose time is over."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    account_of(client).payments._preparation._clock = lambda: datetime.now(UTC) + timedelta(days=1)
    answer = await client.pay(sandbox.foreign_invoice(5000).payment_request)
    assert (answer.result, answer.error_detail, executed(sandbox)) == (
        PayResult.ERROR,
        "the invoice has expired",
        [],
    )


async def test_a_journal_that_fails_stops_the_payment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be journalled is not sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()

    async def full(_: PaymentRecord) -> PaymentRecord:
        raise LightningError("the disk is full")

    monkeypatch.setattr(account_of(client).journal, "begin_payment", full)
    with pytest.raises(LightningError, match="the disk is full"):
        await client.pay(sandbox.foreign_invoice(5000).payment_request)
    assert requested(sandbox) == []
