"""Paying after Flash has moved the account to another wallet: looked up again, once, and never paid twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import LightMoney, PayInvoiceParams, PayResult
from flash_driver.flash_api.outcomes import Completed, NotExecuted, Outcome, Refused
from flash_driver.journal.records import PaymentRecord
from flash_driver.payments.attempt import PaymentAttempt
from tests.support.driver import operations
from tests.support.payments import FAILED, PAY, PROBE, UNKNOWN, executed, requested, status_of
from tests.support.timing import account_of

if TYPE_CHECKING:
    from connection_strings import LightningPaymentStatus
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

kinds = pytest.mark.parametrize("mutations", ["accept", "decline"])


async def moved(bench: Bench, mutations: str) -> tuple[Sandbox, FlashLightningClient]:
    """Return a server that has moved the account since the client looked its wallet up."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"), ws_mutations=mutations)
    client = await bench.client(sandbox)
    await client.warm_up()
    sandbox.set_cutover("COMPLETE")
    return sandbox, client


@kinds
async def test_a_payment_goes_on_from_the_new_wallet(bench: Bench, mutations: str) -> None:
    """The old wallet is refused for lack of balance; the payment is made from the new one, under a key of its own."""
    sandbox, client = await moved(bench, mutations)
    sandbox.arm("payment", outcome="INSUFFICIENT_BALANCE")
    signed = sandbox.foreign_invoice(5000)
    assert (await client.pay(signed.payment_request)).result is PayResult.OK
    rows = sandbox.ledger_snapshot()["payments"]
    assert [(row["wallet_id"], row["times_executed"]) for row in rows] == [
        (sandbox.wallet_ids["USD"], 0),
        (sandbox.wallet_ids["USDT"], 1),
    ]
    kept = await account_of(client).journal.find_payment(signed.payment_hash)
    assert kept is not None
    assert (kept.wallet_id, kept.attempt) == (sandbox.wallet_ids["USDT"], 2)
    again = await client.pay(signed.payment_request)
    assert (again.result, again.paid_before, sum(executed(sandbox))) == (PayResult.OK, True, 1)


@kinds
async def test_the_new_wallet_is_tried_once(bench: Bench, mutations: str) -> None:
    """When the new wallet is refused as well, the payment has failed: two requests, no more."""
    sandbox, client = await moved(bench, mutations)
    sandbox.arm("payment", outcome="INSUFFICIENT_BALANCE", count=2)
    signed = sandbox.foreign_invoice(5000)
    response = await client.pay(signed.payment_request)
    assert (response.result, response.error_detail) == (PayResult.ERROR, "insufficient balance.")
    assert (sum(requested(sandbox)), sum(executed(sandbox))) == (2, 0)
    assert await status_of(client, signed.payment_hash) is FAILED


async def test_the_same_wallet_is_not_tried_again(bench: Bench) -> None:
    """An account that was not moved just has not enough: one request."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="INSUFFICIENT_BALANCE", count=2)
    response = await client.pay(sandbox.foreign_invoice(5000).payment_request)
    assert (response.result, sum(requested(sandbox))) == (PayResult.ERROR, 1)


@kinds
async def test_a_fee_is_asked_for_the_new_wallet(bench: Bench, mutations: str) -> None:
    """A fee probe that is refused for the old wallet is asked for the new one, which then pays."""
    sandbox, client = await moved(bench, mutations)
    sandbox.arm("error", operation=PROBE, code="INVALID_INPUT", message="The wallet is hidden")
    params = PayInvoiceParams(max_fee_flat=LightMoney.from_sat(100), send_timeout=timedelta(seconds=30))
    response = await client.pay(sandbox.foreign_invoice(50_000).payment_request, params)
    assert response.result is PayResult.OK
    assert sum(operations(sandbox, PROBE).values()) == 2
    assert sum(operations(sandbox, PAY).values()) == 1
    assert sandbox.ledger_snapshot()["payments"][0]["wallet_id"] == sandbox.wallet_ids["USDT"]


@pytest.mark.parametrize(
    ("status", "outcome", "may"),
    [
        (FAILED, Refused("insufficient balance.", "INSUFFICIENT_BALANCE"), True),
        (FAILED, Refused("not your wallet (code: InvalidWalletForAccountError: Unknown error)"), True),
        (UNKNOWN, Refused("insufficient balance.", "INSUFFICIENT_BALANCE"), False),
        (FAILED, Refused("it failed on its way", definite=True), False),
        (FAILED, Refused("too many", "TOO_MANY_REQUEST", timedelta(seconds=300)), False),
        (FAILED, Refused("the account is being moved", "INVALID_INPUT", temporary=True), False),
        (FAILED, NotExecuted("no way"), False),
        (FAILED, Completed({}), False),
    ],
)
def test_only_a_certain_refusal_lets_another_wallet_pay(
    status: LightningPaymentStatus, outcome: Outcome, *, may: bool
) -> None:
    """After a sending that may have been carried out, or for another reason, no other wallet is tried."""
    attempt = PaymentAttempt(
        PaymentRecord(
            payment_hash="ab" * 32,
            bolt11="lnbcrt1",
            wallet_id="wallet",
            amount_msat=50_000,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            attempt=1,
            idempotency_key="key",
            status=status,
        )
    )
    assert attempt.another_wallet_may_do(outcome) is may
