from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.clients import CAPABLE, until
from tests.support.waiting import HELD

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import Clock, StartLab

SEND_AMOUNTLESS = """
mutation($input: LnNoAmountUsdInvoicePaymentInput!) {
  payload: lnNoAmountUsdInvoicePaymentSend(input: $input) { errors { message code } status }
}
"""
SEND_SATS = """
mutation($input: LnNoAmountInvoicePaymentInput!) {
  payload: lnNoAmountInvoicePaymentSend(input: $input) { errors { message code } status }
}
"""
PROBE = """
mutation($input: LnUsdInvoiceFeeProbeInput!) {
  payload: lnUsdInvoiceFeeProbe(input: $input) { errors { message code } amount invoiceAmount }
}
"""
PROBE_AMOUNTLESS = """
mutation($input: LnNoAmountUsdInvoiceFeeProbeInput!) {
  payload: lnNoAmountUsdInvoiceFeeProbe(input: $input) { errors { message code } amount invoiceAmount }
}
"""
OK = {"errors": [], "status": "SUCCESS"}
CODELESS = {
    "errors": [{"message": "An unexpected error occurred. Please try again later.", "code": None}],
    "status": "FAILURE",
}


async def _payload(lab: Lab, mutation: str, payment_request: str, **more: Any) -> Any:
    values = {"walletId": lab.sandbox.wallet_id, "paymentRequest": payment_request, **more}
    return (await lab.http(mutation, input=values)).data["payload"]


def _payment(lab: Lab) -> Any:
    (payment,) = lab.sandbox.ledger_snapshot()["payments"]
    return payment


def _balance(lab: Lab) -> Decimal:
    return Decimal(lab.sandbox.ledger_snapshot()["wallets"][0]["balance"])


async def test_a_foreign_invoice_is_paid_with_a_fee(start_lab: StartLab) -> None:
    """The wallet loses the amount at the custodian's rate and the fee."""
    lab = await start_lab(usd_per_btc=Decimal(100_000), spread=Decimal(0), send_fee_percent=Decimal(1))
    foreign = lab.sandbox.foreign_invoice(1_000_000, description="elsewhere")
    assert await lab.pay(foreign.payment_request) == OK
    payment = _payment(lab)
    assert (payment["status"], payment["times_executed"], payment["msat"]) == ("SUCCESS", 1, 1_000_000)
    assert (Decimal(payment["cents"]), Decimal(payment["fee_cents"])) == (Decimal(100), Decimal(1))
    assert _balance(lab) == 1_000_000 - 101


async def test_an_invoice_of_the_sandbox_is_settled_by_its_payment(lab: Lab) -> None:
    """A payer inside settles it, without a fee."""
    invoice = await lab.invoice(100)
    assert await lab.pay(invoice["paymentRequest"]) == OK
    ledger = lab.sandbox.ledger_snapshot()
    assert ledger["invoices"][0]["status"] == "PAID"
    assert Decimal(ledger["payments"][0]["fee_cents"]) == 0


async def test_paying_again_ends_in_the_error_without_a_code(lab: Lab) -> None:
    """ALREADY_PAID never comes; no money moves."""
    foreign = lab.sandbox.foreign_invoice(1000)
    assert await lab.pay(foreign.payment_request) == OK
    assert await lab.pay(foreign.payment_request) == CODELESS
    assert (_payment(lab)["times_requested"], _payment(lab)["times_executed"]) == (2, 1)


async def test_a_careless_custodian_pays_twice(start_lab: StartLab) -> None:
    """With `repeated_send=pay` nothing but the client itself prevents a double payment, and the ledger shows it."""
    lab = await start_lab(repeated_send="pay")
    foreign = lab.sandbox.foreign_invoice(1000)
    assert [await lab.pay(foreign.payment_request) for _ in range(2)] == [OK, OK]
    assert _payment(lab)["times_executed"] == 2


async def test_an_invoice_that_somebody_else_paid_is_refused(lab: Lab) -> None:
    """Each mutation words it in its own way."""
    amountless = await lab.invoice(0)
    lab.sandbox.pay(amountless["paymentRequest"])
    refused = await _payload(lab, SEND_AMOUNTLESS, amountless["paymentRequest"], amount=5)
    assert refused["errors"] == [{"message": "Invoice is already paid", "code": "LIGHTNING_PAYMENT_ERROR"}]
    fixed = await lab.invoice(5)
    lab.sandbox.pay(fixed["paymentRequest"])
    assert await lab.pay(fixed["paymentRequest"]) == CODELESS
    assert all(each["times_executed"] == 0 for each in lab.sandbox.ledger_snapshot()["payments"])


async def test_more_than_there_is_cannot_be_paid(start_lab: StartLab) -> None:
    """INSUFFICIENT_BALANCE is final, and the money stays."""
    lab = await start_lab(balance_cents=Decimal(1))
    payload = await lab.pay(lab.sandbox.foreign_invoice(10**9).payment_request)
    assert (payload["status"], payload["errors"][0]["code"]) == ("FAILURE", "INSUFFICIENT_BALANCE")
    assert (_payment(lab)["status"], _balance(lab)) == ("FAILURE", Decimal(1))


async def test_what_the_custodian_cannot_pay_fails_without_a_code(start_lab: StartLab, clock: Clock) -> None:
    """Another network, an expired invoice, one without an amount, or no invoice at all: it tells no reason."""
    lab = await start_lab(clock=clock)
    expired = lab.sandbox.foreign_invoice(1000, expiry_seconds=1)
    clock.advance(seconds=1)
    mainnet = lab.sandbox._bank.network.sign(
        msat=1000, description="", now=clock(), expiry=timedelta(hours=1), network="bc"
    )
    amountless = lab.sandbox.foreign_invoice()
    for payment_request in (*(each.payment_request for each in (expired, mainnet, amountless)), "lnbcrt1nonsense"):
        assert await lab.pay(payment_request) == CODELESS
    assert all(each["times_executed"] == 0 for each in lab.sandbox.ledger_snapshot()["payments"])


async def test_wallets_of_others_are_refused_without_a_status(lab: Lab) -> None:
    """Such a refusal was not executed: no code, no status; so are malformed values."""
    foreign = lab.sandbox.foreign_invoice(1000)
    for values in ({"walletId": lab.sandbox.stranger_wallet_id}, {"paymentRequest": "lightning:x"}):
        payload = await lab.pay(**{"payment_request": foreign.payment_request, **values})
        assert payload["status"] is None
        assert payload["errors"][0]["code"] is None
    assert lab.sandbox.ledger_snapshot()["payments"] == []


async def test_an_amountless_invoice_is_paid_in_cents(start_lab: StartLab) -> None:
    """The custodian decides how many satoshis that is."""
    lab = await start_lab(usd_per_btc=Decimal(100_000), spread=Decimal(0))
    foreign = lab.sandbox.foreign_invoice()
    assert await _payload(lab, SEND_AMOUNTLESS, foreign.payment_request, amount=12.5) == OK
    assert (_payment(lab)["msat"], Decimal(_payment(lab)["cents"])) == (125_000, Decimal("12.5"))
    again = await _payload(lab, SEND_AMOUNTLESS, foreign.payment_request, amount=12.5)
    assert again["errors"] == [{"message": "Invoice is already paid", "code": "LIGHTNING_PAYMENT_ERROR"}]


@pytest.mark.parametrize(
    ("payment_request", "cents", "code"), [(None, -1, "IBEX_ERROR"), ("lnbcrt1x", 1, "INVOICE_DECODE_ERROR")]
)
async def test_the_amountless_mutation_has_codes(
    lab: Lab, payment_request: str | None, cents: float, code: str
) -> None:
    """Where the other says nothing, this one tells what went wrong."""
    payload = await _payload(
        lab, SEND_AMOUNTLESS, payment_request or lab.sandbox.foreign_invoice().payment_request, amount=cents
    )
    assert (payload["status"], payload["errors"][0]["code"]) == ("FAILURE", code)


async def test_sending_satoshis_needs_a_node_that_is_gone(lab: Lab) -> None:
    """The mutation of old fails and moves nothing."""
    payload = await _payload(lab, SEND_SATS, lab.sandbox.foreign_invoice().payment_request, amount=5)
    assert (payload["status"], payload["errors"][0]["code"]) == ("FAILURE", "LND_OFFLINE")


async def test_a_bitcoin_wallet_pays_in_satoshis(start_lab: StartLab) -> None:
    """Its balance is in satoshis, and so are cost and fee."""
    lab = await start_lab(btc_wallet=True, wallets=(), send_fee_percent=Decimal(0))
    assert await lab.pay(lab.sandbox.foreign_invoice(1_500_000).payment_request) == OK
    assert _balance(lab) == 1_000_000 - 1500


async def test_a_key_repeats_its_result(lab: Lab) -> None:
    """The same key and the same BOLT11: the stored result, and no second payment."""
    foreign = lab.sandbox.foreign_invoice(1000)
    answers = [await lab.pay(foreign.payment_request, idempotencyKey=key) for key in ("k", " k ")]
    assert answers == [OK, OK]
    payment = _payment(lab)
    assert (payment["times_requested"], payment["times_executed"]) == (2, 1)
    assert payment["idempotency_keys"] == ["k"]


async def test_a_stored_pending_is_frozen(lab: Lab) -> None:
    """Asking again under the key never shows the later outcome; the ledger does."""
    foreign = lab.sandbox.foreign_invoice(1000)
    lab.sandbox.arm("payment", outcome="PENDING")
    for _ in range(2):
        answer = await lab.pay(foreign.payment_request, idempotencyKey="k")
        assert answer == {"errors": [], "status": "PENDING"}
        lab.sandbox.resolve_payment(foreign.payment_hash, arrived=True)
    assert _payment(lab)["status"] == "SUCCESS"


async def test_a_stored_failure_blocks_its_key(lab: Lab) -> None:
    """A genuine retry needs another key."""
    foreign = lab.sandbox.foreign_invoice(1000)
    lab.sandbox.arm("payment", outcome="FAILURE")
    failed = {"errors": [], "status": "FAILURE"}
    assert [await lab.pay(foreign.payment_request, idempotencyKey=key) for key in ("1", "1", "2")] == [
        failed,
        failed,
        OK,
    ]


async def test_an_error_is_not_stored(start_lab: StartLab) -> None:
    """The gap that Flash itself names: debited, answered with an error, and paid again under the same key."""
    lab = await start_lab(repeated_send="pay")
    foreign = lab.sandbox.foreign_invoice(1000)
    lab.sandbox.arm("payment", outcome="ERROR", executed=True)
    assert await lab.pay(foreign.payment_request, idempotencyKey="k") == CODELESS
    assert _payment(lab)["times_executed"] == 1
    assert await lab.pay(foreign.payment_request, idempotencyKey="k") == OK
    assert _payment(lab)["times_executed"] == 2
    assert _payment(lab)["idempotency_keys"] == ["k"]


async def test_a_key_belongs_to_one_text(lab: Lab) -> None:
    """Another invoice under the key, or the same in capitals, is INVALID_INPUT and not executed."""
    foreign = lab.sandbox.foreign_invoice(1000)
    await lab.pay(foreign.payment_request, idempotencyKey="k")
    for other in (lab.sandbox.foreign_invoice(1000).payment_request, foreign.payment_request.upper()):
        refused = await lab.pay(other, idempotencyKey="k")
        assert (refused["status"], refused["errors"][0]["code"]) == ("FAILURE", "INVALID_INPUT")
    assert [each["times_executed"] for each in lab.sandbox.ledger_snapshot()["payments"]] == [1, 0]


@pytest.mark.parametrize(("key", "keys"), [("  ", []), ("x" * 256, ["x" * 256])])
async def test_keys_may_be_blank_or_long(lab: Lab, key: str, keys: list[str]) -> None:
    """A blank key is none; 256 characters are allowed."""
    assert await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request, idempotencyKey=key) == OK
    assert _payment(lab)["idempotency_keys"] == keys


async def test_a_key_can_be_too_long(lab: Lab) -> None:
    """More than 256 characters are refused before anything happens."""
    payload = await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request, idempotencyKey="x" * 257)
    assert (payload["status"], payload["errors"][0]["code"]) == ("FAILURE", "INVALID_INPUT")
    assert lab.sandbox.ledger_snapshot()["payments"] == []


async def test_a_key_in_use_makes_others_wait_and_give_up(start_lab: StartLab) -> None:
    """The second request with the key fails on the lock, while the first goes on."""
    lab = await start_lab(lock_wait_seconds=0.01)
    foreign = lab.sandbox.foreign_invoice(1000)
    lab.sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    first = asyncio.create_task(lab.pay(foreign.payment_request, idempotencyKey="k"))
    await until(lambda: lab.sandbox.ledger_snapshot()["payments"] != [])
    second = await lab.pay(foreign.payment_request, idempotencyKey="k")
    assert second["errors"][0]["code"] == "UNEXPECTED_CLIENT_ERROR"
    assert "ResourceAttemptsLockServiceError" in second["errors"][0]["message"]
    lab.sandbox.clear_faults()
    assert await first == OK


@pytest.mark.parametrize(
    ("fault", "answer", "status", "executed"),
    [
        ({"outcome": "SUCCESS"}, OK, "SUCCESS", 1),
        ({"outcome": "PENDING"}, {"errors": [], "status": "PENDING"}, "PENDING", 1),
        ({"outcome": "FAILURE"}, {"errors": [], "status": "FAILURE"}, "FAILURE", 0),
        ({"outcome": "ERROR"}, CODELESS, "NONE", 0),
        ({"outcome": "ERROR", "executed": True}, CODELESS, "SUCCESS", 1),
    ],
)
async def test_outcomes_can_be_ordered(
    lab: Lab, fault: dict[str, Any], answer: dict[str, Any], status: str, executed: int
) -> None:
    """The client hears what the fault says; the ledger knows what happened."""
    lab.sandbox.arm("payment", **fault)
    assert await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request) == answer
    assert (_payment(lab)["status"], _payment(lab)["times_executed"]) == (status, executed)


async def test_a_shortage_can_be_ordered(lab: Lab) -> None:
    """INSUFFICIENT_BALANCE can be had from a full wallet."""
    lab.sandbox.arm("payment", outcome="INSUFFICIENT_BALANCE")
    payload = await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request)
    assert payload["errors"][0]["code"] == "INSUFFICIENT_BALANCE"


async def test_money_in_flight_can_come_back(lab: Lab) -> None:
    """A pending payment that fails in the end gives its money back, and can then be paid."""
    foreign = lab.sandbox.foreign_invoice(1000)
    before = _balance(lab)
    lab.sandbox.arm("payment", outcome="PENDING")
    await lab.pay(foreign.payment_request)
    assert await lab.pay(foreign.payment_request) == CODELESS
    assert lab.sandbox.resolve_payment(foreign.payment_hash, arrived=False) == 1
    assert _balance(lab) == before
    assert lab.sandbox.resolve_payment(foreign.payment_hash, arrived=True) == 0
    assert await lab.pay(foreign.payment_request) == OK


async def test_an_invoice_is_settled_when_the_money_arrives(lab: Lab) -> None:
    """A payment in flight to the sandbox's own invoice settles it on arrival, even late."""
    invoice = await lab.invoice()
    lab.sandbox.arm("payment", outcome="PENDING")
    await lab.pay(invoice["paymentRequest"])
    assert (await lab.status(invoice["paymentRequest"])).data["lnInvoicePaymentStatus"]["status"] == "PENDING"
    lab.sandbox.resolve_payment(invoice["paymentHash"], arrived=True)
    assert (await lab.status(invoice["paymentRequest"])).data["lnInvoicePaymentStatus"]["status"] == "PAID"


async def test_a_probe_tells_fee_and_principal(start_lab: StartLab) -> None:
    """Both in cents with two decimals, half-even; nothing is entered."""
    lab = await start_lab(usd_per_btc=Decimal(100_000), spread=Decimal(0), send_fee_percent=Decimal("0.5"))
    foreign = lab.sandbox.foreign_invoice(12_345_600)
    payload = await _payload(lab, PROBE, foreign.payment_request)
    assert payload == {"errors": [], "amount": 6.17, "invoiceAmount": 1234.56}
    amountless = await _payload(lab, PROBE_AMOUNTLESS, lab.sandbox.foreign_invoice().payment_request, amount=200)
    assert amountless == {"errors": [], "amount": 1, "invoiceAmount": 200}
    assert lab.sandbox.ledger_snapshot()["payments"] == []


async def test_a_probe_in_usdt_tells_whole_cents(start_lab: StartLab) -> None:
    """The other currency has no decimals there."""
    lab = await start_lab(wallets=("USDT",), usd_per_btc=Decimal(100_000), spread=Decimal(0))
    lab.bearer |= CAPABLE
    payload = await _payload(lab, PROBE, lab.sandbox.foreign_invoice(12_345_600).payment_request)
    assert (payload["amount"], payload["invoiceAmount"]) == (6, 1235)


async def test_probing_ones_own_invoice_costs_nothing(lab: Lab) -> None:
    """A payment inside has no fee."""
    assert (await _payload(lab, PROBE, (await lab.invoice())["paymentRequest"]))["amount"] == 0


async def test_a_probe_refuses_what_is_no_invoice(lab: Lab) -> None:
    """The error comes in the payload."""
    payload = await _payload(lab, PROBE, "lnbcrt1x")
    assert (payload["amount"], payload["errors"][0]["code"]) == (None, "INVOICE_DECODE_ERROR")


@pytest.mark.parametrize(
    ("field", "kind", "more"),
    [
        ("lnInvoiceFeeProbe", "LnInvoiceFeeProbeInput", {}),
        ("lnNoAmountInvoiceFeeProbe", "LnNoAmountInvoiceFeeProbeInput", {"amount": 1}),
    ],
)
async def test_probes_in_satoshis_are_not_implemented(lab: Lab, field: str, kind: str, more: dict[str, Any]) -> None:
    """They fail at the top level."""
    values = {"walletId": lab.sandbox.wallet_id, "paymentRequest": "lnbcrt1x", **more}
    reply = await lab.http(f"mutation($input: {kind}!) {{ {field}(input: $input) {{ amount }} }}", input=values)
    assert reply.error["message"] == "Flash does not support BTC wallets."


async def test_reset_forgets_keys(lab: Lab) -> None:
    """After a reset a key can be used for another invoice."""
    await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request, idempotencyKey="k")
    lab.sandbox.reset()
    assert await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request, idempotencyKey="k") == OK
