from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import (
    BackendUnavailable,
    InvalidRequest,
    LightMoney,
    LightningError,
    LightningPaymentStatus,
    ListPaymentsParams,
    NotSupported,
    PayInvoiceParams,
    PayResult,
)
from flash_driver import account as account_module
from flash_driver.journal.base import PaymentRecord
from flash_driver.outcome import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.payments import Persistence
from flash_driver.pool import Pool
from flash_driver.rates import RateUnknown
from flash_driver.replies import Currency
from flash_driver.transports.router import Delivery
from tests.support.driver import operations
from tests.support.haste import account_of, hasten
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

PAY = "lnInvoicePaymentSend"
PROBE = "lnUsdInvoiceFeeProbe"
QUICK = PayInvoiceParams(send_timeout=timedelta(seconds=1))
COMPLETE, FAILED = LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED
PENDING, UNKNOWN = LightningPaymentStatus.PENDING, LightningPaymentStatus.UNKNOWN


async def status_of(client: FlashLightningClient, payment_hash: str) -> LightningPaymentStatus | None:
    """Return what the driver says of a payment."""
    payment = await client.get_payment(payment_hash)
    return None if payment is None else payment.status


def executed(sandbox: Sandbox) -> list[int]:
    """Return how often the money left, for each payment in the ledger."""
    return [row["times_executed"] for row in sandbox.ledger_snapshot()["payments"]]


def requested(sandbox: Sandbox) -> list[int]:
    """Return how often each payment was asked for."""
    return [row["times_requested"] for row in sandbox.ledger_snapshot()["payments"]]


class Oracle:
    """A router whose answers to payments are given; everything else goes its way."""

    def __init__(self, client: FlashLightningClient, *outcomes: Outcome | Exception) -> None:
        account = account_of(client)
        self._router = account.router
        self._outcomes = list(outcomes)
        self.keys: list[object] = []
        account.payments._router = self  # type: ignore[assignment]  # it stands in for the router

    async def perform(self, operation: Any, *arguments: Any, **options: Any) -> Delivery:
        """Answer as foretold."""
        if operation.document.field != PAY:
            return await self._router.perform(operation, *arguments, **options)
        self.keys.append(operation.variables["input"].get("idempotencyKey"))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        reasons = {"http": 'Field "idempotencyKey" is not defined'} if isinstance(outcome, NotExecuted) else {}
        causes = frozenset({outcome.cause}) if isinstance(outcome, NotExecuted) else frozenset[Cause]()
        return Delivery(outcome, "http", reasons, causes)


# --- before anything is sent ------------------------------------------------------------------------------------------


async def test_a_fee_within_the_limit_is_paid(bench: Bench) -> None:
    """The fee is asked for first, and a payment that keeps the limit goes ahead."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    minted = sandbox.foreign_invoice(100_000_000)
    answer = await client.pay(minted.payment_request, PayInvoiceParams(max_fee_percent=1.0))
    assert answer.result is PayResult.OK
    assert operations(sandbox, "lnUsdInvoiceFeeProbe") == {"websocket": 1}


@pytest.mark.parametrize("msat", [100_000_000, None])
async def test_a_fee_above_the_limit_is_not_paid(bench: Bench, msat: int | None) -> None:
    """What would cost more than allowed is an error, and nothing is sent or journalled."""
    sandbox = await bench.sandbox(send_fee_percent=5)
    client = await bench.client(sandbox)
    minted = sandbox.foreign_invoice(msat)
    amount = LightMoney.from_msat(100_000_000) if msat is None else None
    answer = await client.pay(minted.payment_request, PayInvoiceParams(amount=amount, max_fee_percent=1.0))
    assert answer.result is PayResult.ERROR
    assert "exceeds the limit of 1000000 msat" in str(answer.error_detail)
    assert (executed(sandbox), await status_of(client, minted.payment_hash)) == ([], None)


async def test_a_fee_that_can_not_be_asked_for_is_too_much(bench: Bench) -> None:
    """Without an answer to the fee probe a limit can't be kept, so nothing is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation="lnUsdInvoiceFeeProbe", code="IBEX_ERROR")
    minted = sandbox.foreign_invoice(1_000_000)
    answer = await client.pay(minted.payment_request, PayInvoiceParams(max_fee_flat=LightMoney.from_sat(1)))
    assert (answer.result, executed(sandbox)) == (PayResult.ERROR, [])
    assert "the fee can't be asked for" in str(answer.error_detail)


async def test_a_fee_that_is_not_told_is_too_much(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that answers without a fee does not let a payment through."""
    monkeypatch.setattr("flash_driver.payments.read_fee_cents", lambda *_: None)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    minted = sandbox.foreign_invoice(1_000_000)
    answer = await client.pay(minted.payment_request, PayInvoiceParams(max_fee_flat=LightMoney.from_sat(1)))
    assert (answer.result, executed(sandbox)) == (PayResult.ERROR, [])


async def test_amountless_is_paid_in_cents(bench: Bench) -> None:
    """The host names the amount of an amountless invoice; it arrives within one percent, asked for once."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    minted = sandbox.foreign_invoice()
    answer = await client.pay(minted.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert (answer.result, row["times_requested"], row["idempotency_keys"]) == (PayResult.OK, 1, [])
    assert abs(row["msat"] - 5_000_000) < 50_000


async def test_amountless_that_is_lost_is_never_repeated(bench: Bench) -> None:
    """Its mutation has no idempotency key, so what is lost stays unknown, also when the host pays again."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    minted = sandbox.foreign_invoice()
    sandbox.arm("reset", when="after_execute", operation="lnNoAmountUsdInvoicePaymentSend")
    params = replace(QUICK, amount=LightMoney.from_sat(5000))
    results = [(await client.pay(minted.payment_request, params)).result for _ in range(3)]
    assert (results, requested(sandbox), executed(sandbox)) == ([PayResult.UNKNOWN] * 3, [1], [1])


async def test_amountless_is_paid_at_the_price_of_now(bench: Bench) -> None:
    """When the market has moved since the price was heard last, what arrives is the amount named all the same."""
    sandbox = await bench.sandbox(usd_per_btc=Decimal(100_000))
    client = await bench.client(sandbox)
    await client.warm_up()
    rates = account_of(client).rates(Currency.USD)
    assert rates._tick is not None
    # It was heard two hours ago: long enough for such a move to be believed.
    rates._tick = replace(rates._tick, time=rates._tick.time - timedelta(hours=2))
    sandbox.set_price(usd_per_btc=Decimal(95_000))
    minted = sandbox.foreign_invoice()
    answer = await client.pay(minted.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert answer.result is PayResult.OK
    assert abs(row["msat"] - 5_000_000) < 50_000


async def test_amountless_is_not_paid_without_a_price(bench: Bench) -> None:
    """When the server does not say its price now, an older one is not paid at: nothing is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    rates = account_of(client).rates(Currency.USD)
    assert rates._told_at is not None
    rates._told_at -= timedelta(seconds=61)
    sandbox.arm("error", operation="realtimePrice", channel="top", code="IBEX_ERROR", count=99)
    minted = sandbox.foreign_invoice()
    with pytest.raises(RateUnknown):
        await client.pay(minted.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(5000)))
    assert (requested(sandbox), await status_of(client, minted.payment_hash)) == ([], None)


async def test_a_fee_is_measured_at_the_price_of_now(bench: Bench) -> None:
    """A fee limit is kept at a price that the server says now, or else not at all."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    rates = account_of(client).rates(Currency.USD)
    limited = PayInvoiceParams(max_fee_percent=1.0)
    for down in (False, True):
        rates._told_at = None
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
    account_of(client).payments._process = account_of(client).process.model_copy(update={"network": "bitcoin"})
    answer = await client.pay(sandbox.foreign_invoice(5000).payment_request)
    assert answer.result is PayResult.ERROR
    assert answer.error_detail == "the invoice is for regtest, this wallet is on bitcoin"


async def test_an_expired_invoice_is_refused(bench: Bench) -> None:
    """Nothing is sent for a BOLT11 whose time is over."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    account_of(client).payments._clock = lambda: datetime.now(UTC) + timedelta(days=1)
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


async def test_a_journal_that_fails_later_changes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened is told although it can't be kept, and the journal does not call it failed."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)

    async def full(_: PaymentRecord) -> None:
        raise LightningError("the disk is full")

    await client.warm_up()
    monkeypatch.setattr(account_of(client).journal, "update_payment", full)
    minted = sandbox.foreign_invoice(5000)
    assert (await client.pay(minted.payment_request)).result is PayResult.OK
    assert await status_of(client, minted.payment_hash) is PENDING


# --- once -------------------------------------------------------------------------------------------------------------


async def test_many_calls_at_once_send_once(bench: Bench) -> None:
    """However many callers pay the same BOLT11, upper case or not, it is sent once and all hear the same."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    text = sandbox.foreign_invoice(5000).payment_request
    answers = await asyncio.gather(*(client.pay(each) for each in (text, text.upper(), text, text)))
    assert {answer.result for answer in answers} == {PayResult.OK}
    assert (requested(sandbox), executed(sandbox)) == ([1], [1])
    assert (await client.pay(text)).result is PayResult.OK
    assert requested(sandbox) == [1]


@pytest.mark.parametrize("outcome", ["SUCCESS", "ERROR"])
async def test_two_processes_send_once(bench: Bench, outcome: str) -> None:
    """A process that finds another one's attempt under way waits for what comes of it and sends nothing."""
    sandbox = await bench.sandbox()
    pool = Pool()
    one = hasten(await bench.client(sandbox, pool))
    two = hasten(await bench.client(sandbox, pool, transports="http,graphql"))
    assert account_of(one) is not account_of(two)
    await asyncio.gather(one.warm_up(), two.warm_up())
    sandbox.arm("payment", outcome=outcome, seconds=0.4, executed=outcome == "ERROR")
    text = sandbox.foreign_invoice(5000).payment_request
    params = PayInvoiceParams(send_timeout=timedelta(seconds=3))
    answers = await asyncio.gather(one.pay(text, params), two.pay(text, params))
    expected = PayResult.OK if outcome == "SUCCESS" else PayResult.UNKNOWN
    assert [answer.result for answer in answers] == [expected, expected]
    assert (requested(sandbox), executed(sandbox)) == ([1], [1])


async def test_an_attempt_of_a_live_process_is_left_alone(bench: Bench) -> None:
    """An attempt that is pending and young belongs to its sender: another process says UNKNOWN and sends nothing."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    minted = sandbox.foreign_invoice(5000)
    record = PaymentRecord(
        payment_hash=minted.payment_hash,
        bolt11=minted.payment_request,
        wallet_id=sandbox.wallet_id,
        amount_msat=5000,
        created_at=datetime.now(UTC),
        attempt=1,
        idempotency_key="of another process",
    )
    await client.warm_up()
    await account_of(client).journal.begin_payment(record)
    answer = await client.pay(minted.payment_request, QUICK)
    assert (answer.result, requested(sandbox)) == (PayResult.UNKNOWN, [])
    account_of(client).payments._clock = lambda: datetime.now(UTC) + timedelta(seconds=60)
    answer = await client.pay(minted.payment_request, QUICK)
    assert (answer.result, executed(sandbox)) == (PayResult.OK, [1])
    assert sandbox.ledger_snapshot()["payments"][0]["idempotency_keys"] == ["of another process"]


async def test_a_definite_failure_allows_a_new_attempt(bench: Bench) -> None:
    """After a failure the host may pay again, under a new key, because the old one would repeat the failure."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    minted = sandbox.foreign_invoice(5000)
    sandbox.arm("payment", outcome="FAILURE")
    results = [(await client.pay(minted.payment_request)).result for _ in range(3)]
    assert results == [PayResult.ERROR, PayResult.OK, PayResult.OK]
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert (len(set(row["idempotency_keys"])), row["times_requested"], row["times_executed"]) == (2, 2, 1)
    assert await status_of(client, minted.payment_hash) is COMPLETE


async def test_an_error_that_tells_nothing_is_never_repeated(bench: Bench) -> None:
    """The server keeps no errors under the key: even the worst custodian is not told to pay twice."""
    sandbox = await bench.sandbox(repeated_send="pay")
    client = hasten(await bench.client(sandbox))
    minted = sandbox.foreign_invoice(5000)
    sandbox.arm("payment", outcome="ERROR", executed=True)
    results = [(await client.pay(minted.payment_request)).result for _ in range(3)]
    assert (results, requested(sandbox), executed(sandbox)) == ([PayResult.UNKNOWN] * 3, [1], [1])
    assert await status_of(client, minted.payment_hash) is UNKNOWN


@pytest.mark.parametrize(
    ("answer", "status", "asked"),
    [
        pytest.param(Refused("no", "INSUFFICIENT_BALANCE"), UNKNOWN, 5, id="the lost one may have taken the balance"),
        pytest.param(Refused("slow", retry_after=timedelta(1)), UNKNOWN, 5, id="a rate limit says nothing of it"),
        pytest.param(NotExecuted("no way"), UNKNOWN, 5, id="nor does a server that can't be asked"),
        pytest.param(Refused("the payment failed", definite=True), FAILED, 2, id="its own failure does"),
        pytest.param(Completed({}), COMPLETE, 2, id="and its success"),
        pytest.param(Unknown("an error", answered=True), UNKNOWN, 2, id="an error ends the asking"),
    ],
)
async def test_what_is_believed_of_a_lost_payment(
    bench: Bench, answer: Outcome, status: LightningPaymentStatus, asked: int
) -> None:
    """After a sending that was lost only the payment's own end is believed, and asking ends after a few times."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    oracle = Oracle(client, Unknown("dropped"), *[answer] * 5)
    minted = sandbox.foreign_invoice(5000)
    await client.pay(minted.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=5)))
    assert await status_of(client, minted.payment_hash) is status
    assert (len(oracle.keys), len(set(oracle.keys))) == (asked, 1)


async def test_a_server_without_keys_is_paid_with_none(bench: Bench) -> None:
    """An older server refuses the request for its key; it is sent without, and then never again."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    oracle = Oracle(client, NotExecuted("bad field", Cause.INVALID), Unknown("dropped"))
    minted = sandbox.foreign_invoice(5000)
    for _ in range(2):
        assert (await client.pay(minted.payment_request, QUICK)).result is PayResult.UNKNOWN
    assert [key is not None for key in oracle.keys] == [True, False]


# --- interruptions ----------------------------------------------------------------------------------------------------


async def test_a_payment_under_way_is_pending(bench: Bench) -> None:
    """It is in the journal before the server has it, and get_payment never says None or FAILED of it."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=0.3)
    minted = sandbox.foreign_invoice(5000)
    paying = asyncio.create_task(client.pay(minted.payment_request))
    await until(lambda: bool(requested(sandbox)))
    assert await status_of(client, minted.payment_hash.upper()) is PENDING
    assert await client.list_payments() == []
    assert len(await client.list_payments(ListPaymentsParams(include_pending=True))) == 1
    assert (await paying).result is PayResult.OK
    assert len(await client.list_payments()) == 1


async def test_a_cancelled_caller_leaves_a_payment_that_goes_on(bench: Bench) -> None:
    """Once it is journalled a payment is followed to its end; the next call hears of it and sends nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=0.3)
    minted = sandbox.foreign_invoice(5000)
    paying = asyncio.create_task(client.pay(minted.payment_request))
    await until(lambda: bool(requested(sandbox)))
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    assert (await client.pay(minted.payment_request)).result is PayResult.OK
    assert (requested(sandbox), executed(sandbox)) == ([1], [1])


async def test_a_caller_cancelled_early_has_paid_nothing(bench: Bench) -> None:
    """Before the journal has it nothing is sent, and nothing is left behind."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("delay", operation="lnUsdInvoiceFeeProbe", seconds=0.3)
    minted = sandbox.foreign_invoice(5000)
    limited = PayInvoiceParams(max_fee_flat=LightMoney.from_sat(1))
    paying = asyncio.create_task(client.pay(minted.payment_request, limited))
    await until(lambda: operations(sandbox, "lnUsdInvoiceFeeProbe") != {})
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    assert await client.get_payment(minted.payment_hash) is None
    assert (await client.pay(minted.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_closing_the_client_in_the_middle(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payment too slow to wait for is told UNKNOWN, no task stays, and the next call finds out how it ended."""
    monkeypatch.setattr(account_module, "_LINGER_SECONDS", 0.0)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=0.2)
    minted = sandbox.foreign_invoice(5000)
    paying = asyncio.create_task(client.pay(minted.payment_request))
    await until(lambda: bool(requested(sandbox)))
    await client.aclose()
    assert (await paying).result is PayResult.UNKNOWN
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")]
    assert await status_of(client, minted.payment_hash) is UNKNOWN
    assert (await client.pay(minted.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_closing_before_anything_was_journalled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client closed before the journal has the attempt has sent nothing, and says so."""
    monkeypatch.setattr(account_module, "_LINGER_SECONDS", 0.0)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    reached = asyncio.Event()

    async def stuck(_: PaymentRecord) -> PaymentRecord:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(account_of(client).journal, "begin_payment", stuck)
    paying = asyncio.create_task(client.pay(sandbox.foreign_invoice(5000).payment_request))
    await reached.wait()
    await client.aclose()
    answer = await paying
    assert (answer.result, answer.error_detail) == (
        PayResult.ERROR,
        "the client was closed before anything was sent",
    )


async def test_nothing_leaves_after_the_close(bench: Bench) -> None:
    """A client closed while a payment is being prepared never sends it, and the caller is told that."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    payments = account_of(client).payments
    sandbox.arm("delay", seconds=0.5, operation=PROBE)
    minted = sandbox.foreign_invoice(50_000)
    paying = asyncio.create_task(client.pay(minted.payment_request, PayInvoiceParams(max_fee_percent=5.0)))
    await until(lambda: bool(operations(sandbox, PROBE)))
    # Only the payments are closed: a server that can still be reached is the worst case.
    await payments.aclose()
    with pytest.raises(BackendUnavailable, match="it was closed") as caught:
        await paying
    assert caught.value.executed is False
    with pytest.raises(BackendUnavailable, match="it was closed"):
        await payments.pay(minted.payment_request, QUICK)
    assert (requested(sandbox), await status_of(client, minted.payment_hash)) == ([], None)


async def test_nobody_waits_longer_than_he_said_for_anothers_preparation(bench: Bench) -> None:
    """A second caller with little time is told at his own deadline, while the first goes on and pays."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    sandbox.arm("delay", seconds=3, operation=PROBE)
    minted = sandbox.foreign_invoice(50_000)
    limited = PayInvoiceParams(max_fee_percent=5.0, send_timeout=timedelta(seconds=30))
    patient = asyncio.create_task(client.pay(minted.payment_request, limited))
    await until(lambda: bool(operations(sandbox, PROBE)))
    hasty = PayInvoiceParams(send_timeout=timedelta(seconds=0.05))
    with pytest.raises(BackendUnavailable, match="another call prepares it") as caught:
        await client.pay(minted.payment_request, hasty)
    assert (caught.value.executed, patient.done()) == (False, False)
    assert (await patient).result is PayResult.OK


async def test_nobody_waits_longer_than_he_said_for_anothers_payment(bench: Bench) -> None:
    """A second caller with little time gets UNKNOWN at his own deadline, while the first goes on."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=2)
    minted = sandbox.foreign_invoice(50_000)
    patient = asyncio.create_task(client.pay(minted.payment_request))
    await until(lambda: bool(requested(sandbox)))
    hasty = await client.pay(minted.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=0.05)))
    assert (hasty.result, patient.done()) == (PayResult.UNKNOWN, False)
    assert (await patient).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_a_breakdown_of_ours_is_no_failure_of_the_payment(bench: Bench) -> None:
    """Whatever breaks while a payment is being sent, the journal does not call it failed."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    Oracle(client, RuntimeError("a bug"), Unknown("dropped", answered=True))
    minted = sandbox.foreign_invoice(5000)
    with pytest.raises(RuntimeError):
        await client.pay(minted.payment_request)
    assert await status_of(client, minted.payment_hash) is UNKNOWN


# --- later ------------------------------------------------------------------------------------------------------------


async def test_a_late_answer_is_kept(bench: Bench) -> None:
    """The answer that comes on the socket after the host was told UNKNOWN settles the matter."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox, transports="websocket"))
    await client.warm_up()
    sandbox.arm("payment", outcome="SUCCESS", seconds=0.8)
    minted = sandbox.foreign_invoice(5000)
    answer = await client.pay(minted.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=0.2)))
    assert answer.result is PayResult.UNKNOWN

    async def complete() -> bool:
        return await status_of(client, minted.payment_hash) is COMPLETE

    await until(complete)
    assert (await client.pay(minted.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_a_late_answer_that_tells_nothing_ends_the_asking(bench: Bench) -> None:
    """A late error means that nothing is kept under the key: it stays unknown and is not sent again."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox, transports="websocket"))
    await client.warm_up()
    sandbox.arm("payment", outcome="ERROR", executed=True, seconds=0.5)
    minted = sandbox.foreign_invoice(5000)
    await client.pay(minted.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=0.2)))

    async def key_given_up() -> bool:
        record = await account_of(client).journal.find_payment(minted.payment_hash)
        return record is not None and record.idempotency_key is None

    await until(key_given_up)
    assert (await client.pay(minted.payment_request, QUICK)).result is PayResult.UNKNOWN
    assert executed(sandbox) == [1]


@pytest.mark.parametrize("restarted", [False, True])
async def test_it_is_asked_once_more_when_nothing_can_be_executed(bench: Bench, restarted: bool) -> None:  # noqa: FBT001 - a case
    """After the BOLT11's expiry the server is asked what it has kept, by this client or by the next one."""
    sandbox = await bench.sandbox()
    pool = Pool()
    client = hasten(await bench.client(sandbox, pool, transports="http"))
    await bench.client(sandbox, pool)
    await client.warm_up()
    sandbox.arm("http_status", status=502, when="after_execute", operation=PAY, count=99)
    minted = sandbox.foreign_invoice(5000, expiry_seconds=2)
    assert (await client.pay(minted.payment_request, QUICK)).result is PayResult.UNKNOWN
    sandbox.clear_faults()
    if restarted:
        await client.aclose()
        hasten(client)

    async def complete() -> bool:
        return await status_of(client, minted.payment_hash) is COMPLETE

    await until(complete)
    assert executed(sandbox) == [1]


async def test_a_client_for_each_call_learns_how_it_ended(bench: Bench) -> None:
    """After the expiry a lookup waits for the question, so that a client which lives for one call resolves it."""
    sandbox = await bench.sandbox()
    pool = Pool()
    client = hasten(await bench.client(sandbox, pool, transports="http"))
    await client.warm_up()
    sandbox.arm("http_status", status=502, when="after_execute", operation=PAY, count=99)
    minted = sandbox.foreign_invoice(5000, expiry_seconds=1)
    assert (await client.pay(minted.payment_request, QUICK)).result is PayResult.UNKNOWN
    await client.aclose()
    sandbox.clear_faults()
    # The next client is as quick as any; only its clock is an hour on.
    client = await bench.client(sandbox, pool)
    account_of(client).payments._clock = lambda: datetime.now(UTC) + timedelta(hours=2)
    asked = sum(operations(sandbox, PAY).values())
    assert await status_of(client, minted.payment_hash) is COMPLETE
    assert sum(operations(sandbox, PAY).values()) == asked + 1
    assert executed(sandbox) == [1]


async def test_what_another_process_left_open_is_asked_about_once(bench: Bench) -> None:
    """A lookup asks also about what came into the journal later; many at once share the question and its answer."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), persistence=Persistence(later=(0.2,)))
    await client.list_payments()
    minted = sandbox.foreign_invoice(5000, expiry_seconds=1)
    record = PaymentRecord(
        payment_hash=minted.payment_hash,
        bolt11=minted.payment_request,
        wallet_id=sandbox.wallet_id,
        amount_msat=5000,
        created_at=datetime.now(UTC),
        attempt=1,
        idempotency_key="left-open",
    )
    payments = account_of(client).payments
    await account_of(client).journal.begin_payment(record)
    payments._clock = lambda: record.created_at + timedelta(seconds=20)
    assert await status_of(client, minted.payment_hash) is PENDING
    assert not payments._resolving
    payments._clock = lambda: record.created_at + timedelta(hours=1)
    oracle = Oracle(client, Unknown("busy", answered=True, kept=True))
    found = await asyncio.gather(*(status_of(client, minted.payment_hash) for _ in range(5)))
    assert found == [UNKNOWN] * 5
    assert await status_of(client, minted.payment_hash) is UNKNOWN
    assert oracle.keys == ["left-open"]


async def test_a_payment_that_never_arrived_is_not_made_behind_the_hosts_back(bench: Bench) -> None:
    """The question asked after the expiry can't execute anything: what never arrived stays unknown."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox, transports="http"))
    await client.warm_up()
    sandbox.arm("http_status", status=502, operation=PAY, count=99)
    minted = sandbox.foreign_invoice(5000, expiry_seconds=2)
    assert (await client.pay(minted.payment_request, QUICK)).result is PayResult.UNKNOWN
    sandbox.clear_faults()
    await until(lambda: bool(requested(sandbox)))
    await until(lambda: not account_of(client).payments._resolving)
    assert (executed(sandbox), await status_of(client, minted.payment_hash)) == ([0], UNKNOWN)


async def test_an_old_payment_is_not_asked_about(bench: Bench) -> None:
    """After a day the server has forgotten its keys, and a question would be a payment."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    await client.warm_up()
    minted = sandbox.foreign_invoice(5000, expiry_seconds=1)
    record = PaymentRecord(
        payment_hash=minted.payment_hash,
        bolt11=minted.payment_request,
        wallet_id=sandbox.wallet_id,
        amount_msat=5000,
        created_at=datetime.now(UTC) - timedelta(days=1),
        attempt=1,
        idempotency_key="old",
    )
    journal = account_of(client).journal
    await journal.begin_payment(record)
    await journal.update_payment(replace(record, status=UNKNOWN))
    assert await status_of(client, minted.payment_hash) is UNKNOWN
    await until(lambda: not account_of(client).payments._resolving)
    assert requested(sandbox) == []


async def test_a_hash_that_was_never_paid_is_unknown(bench: Bench) -> None:
    """None is said only of what was never attempted; what is no hash at all was not, either."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for payment_hash in ("00" * 32, "lol", "", "zz" * 32):
        assert await client.get_payment(payment_hash) is None
