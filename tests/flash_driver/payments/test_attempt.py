from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connection_strings import LightMoney, LightningPaymentStatus, PayResult
from flash_driver.flash_api.outcomes import IN_FLIGHT, Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.journal.records import PaymentRecord
from flash_driver.payments.attempt import PaymentAttempt, idempotency_key
from flash_driver.transports.delivery import Delivery

COMPLETE, FAILED = LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED
PENDING, UNKNOWN = LightningPaymentStatus.PENDING, LightningPaymentStatus.UNKNOWN

RECORD = PaymentRecord(
    payment_hash="ab" * 32,
    bolt11="lnbcrt1",
    wallet_id="wallet",
    amount_msat=50_000,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    attempt=1,
    idempotency_key="key",
    sent_at=datetime(2026, 1, 1, tzinfo=UTC),
)
ATTEMPT = PaymentAttempt(RECORD)


def attempt(**changes: Any) -> PaymentAttempt:
    """Return the attempt with changes."""
    return PaymentAttempt(replace(RECORD, **changes))


def nothing() -> None:
    """Take no note of the writing."""


@pytest.mark.parametrize(
    ("outcome", "first", "again", "key_kept"),
    [
        pytest.param(Completed({}), COMPLETE, COMPLETE, True, id="success"),
        pytest.param(Refused("failed", definite=True), FAILED, FAILED, True, id="failure"),
        pytest.param(Refused("no", "INSUFFICIENT_BALANCE"), FAILED, UNKNOWN, True, id="final code"),
        pytest.param(Refused("slow", retry_after=timedelta(1)), FAILED, UNKNOWN, True, id="rate limit"),
        pytest.param(NotExecuted("no way"), FAILED, UNKNOWN, True, id="not executed"),
        pytest.param(Unknown("in flight", answered=True, kept=True), UNKNOWN, UNKNOWN, True, id="pending"),
        pytest.param(Unknown("an error", answered=True), UNKNOWN, UNKNOWN, False, id="codeless error"),
        pytest.param(Unknown("dropped"), UNKNOWN, UNKNOWN, True, id="dropped"),
        pytest.param(Unknown("silence", silent=True), UNKNOWN, UNKNOWN, True, id="silence"),
    ],
)
def test_what_an_answer_proves(
    outcome: Outcome,
    first: LightningPaymentStatus,
    again: LightningPaymentStatus,
    key_kept: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """The table in the module's docstring: the same words mean less after a sending that was lost."""
    judged = ATTEMPT.judged(outcome, {}, sent_before=False)
    repeated = ATTEMPT.judged(outcome, {}, sent_before=True)
    assert (judged.record.status, repeated.record.status) == (first, again)
    keys = judged.record.idempotency_key, repeated.record.idempotency_key
    assert [key is not None for key in keys] == [key_kept, key_kept]
    assert repeated.is_question == (again is UNKNOWN and key_kept)


def test_reasons_are_told() -> None:
    """A payment that was not sent names each transport and why."""
    judged = ATTEMPT.judged(NotExecuted("no"), {"websocket": "declined", "http": "HTTP 401"}, sent_before=False)
    assert judged.record.failure == "it was not sent: websocket: declined; http: HTTP 401"
    again = ATTEMPT.judged(NotExecuted("refused"), {}, sent_before=True)
    assert again.record.failure == "it was lost, and the server can't be asked: refused"


def test_key_is_the_same_in_every_process_and_new_for_each_attempt() -> None:
    """The key depends on wallet, hash and attempt only, and is accepted by the server (256 characters at most)."""
    assert idempotency_key("w", "h", 1) == idempotency_key("w", "h", 1)
    assert len({idempotency_key(w, h, n) for w in "ab" for h in "cd" for n in (1, 2)}) == 8
    assert len(idempotency_key("w", "h", 1)) <= 256


def test_an_amountless_payment_has_no_key() -> None:
    """The mutation for amountless invoices takes cents and no key (flash-server.md 3.7)."""
    sent = attempt(cents=Decimal("4.9"), idempotency_key=None).operation(nothing)
    assert sent.document.field == "lnNoAmountUsdInvoicePaymentSend"
    assert sent.variables["input"] == {
        "walletId": "wallet",
        "paymentRequest": "lnbcrt1",
        "amount": Decimal("4.9"),
    }


@pytest.mark.parametrize("key", ["key", None])
def test_a_payment_is_never_handed_on(key: str | None) -> None:
    """No transport repeats on its own what another may have carried out."""
    sent = attempt(idempotency_key=key).operation(nothing)
    assert not sent.repeatable
    assert ("idempotencyKey" in dict(sent.variables["input"])) == (key is not None)  # type: ignore[call-overload]  # a mapping


@pytest.mark.parametrize(
    ("status", "outcome", "result"),
    [
        (COMPLETE, None, PayResult.OK),
        (FAILED, None, PayResult.ERROR),
        (FAILED, Refused("no", "ROUTE_FINDING_ERROR"), PayResult.COULD_NOT_FIND_ROUTE),
        (UNKNOWN, Refused("no", "ROUTE_FINDING_ERROR"), PayResult.UNKNOWN),
        (PENDING, None, PayResult.UNKNOWN),
    ],
)
def test_response(status: LightningPaymentStatus, outcome: Outcome | None, result: PayResult) -> None:
    """Only a definite failure is an error, and no fee is invented."""
    answer = attempt(status=status, failure="why").response(outcome)
    assert answer.result is result
    assert answer.details is not None
    assert (answer.details.fee_amount, answer.details.total_amount, answer.error_detail) == (None, None, "why")
    told = attempt(status=status, fee_msat=7).response()
    assert told.details is not None
    assert told.details.total_amount == LightMoney.from_msat(50_007)


def test_money_that_left_is_pending() -> None:
    """That Flash says "in flight" is told as pending; what nobody knows anything of stays unknown."""
    left = ATTEMPT.judged(Unknown(IN_FLIGHT, answered=True, kept=True), {}, sent_before=False)
    lost = ATTEMPT.judged(Unknown("no answer came"), {}, sent_before=False)
    for judged, told in ((left, PENDING), (lost, UNKNOWN)):
        details = judged.response().details
        assert details is not None
        assert (judged.record.status, judged.told_status, details.status) == (UNKNOWN, told, told)


@pytest.mark.parametrize(
    ("outcome", "causes", "reason", "unheard_of"),
    [
        (NotExecuted("no"), {Cause.INVALID}, 'Field "idempotencyKey" is not defined', True),
        (NotExecuted("no"), {Cause.INVALID}, 'Field "walletId" is not defined', False),
        (NotExecuted("no"), {Cause.CREDENTIAL}, "idempotencyKey", False),
        (Unknown("no"), {Cause.INVALID}, "idempotencyKey", False),
    ],
)
def test_older_server(outcome: Outcome, causes: set[Cause], reason: str, unheard_of: bool) -> None:  # noqa: FBT001 - a column
    """A server that knows no keys refuses the whole request, and only that makes us go without one."""
    delivery = Delivery(outcome, "http", {"http": reason}, frozenset(causes))
    assert ATTEMPT.key_is_refused(delivery) == unheard_of
    assert not attempt(idempotency_key=None).key_is_refused(delivery)
