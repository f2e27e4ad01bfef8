"""One attempt to pay: its idempotency key, what is sent, and what an answer makes of it; pure.

What an answer proves depends on whether the attempt has been sent before (flash-server.md 3.7). The server keeps what a
payment ended with (SUCCESS, FAILURE, PENDING) under the key, for 24 hours, and repeats it; it keeps no errors.

==================  ===================================  ==============================================================
answer              to the first sending                 to a repetition, when an earlier sending was lost
==================  ===================================  ==============================================================
SUCCESS             paid                                 paid, the first time or now: once
FAILURE, no error   failed                               failed: kept from the first time, or the first never arrived
a final code        failed                               about this sending alone: `insufficient balance` may mean that
                                                         the lost one was carried out; unknown
not executed        failed                               unknown, as before
PENDING, lock busy  unknown; asking again is a question  the same
other errors        unknown, and nothing is kept: asking again would be paying again, so the key is given up
nothing             unknown; something may be kept, so asking again is a question first of all
==================  ===================================  ==============================================================
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from connection_strings.lightning import LightningPaymentStatus, PayDetails, PayInvoiceParams, PayResponse, PayResult
from flash_driver.flash_api.documents import PAY, PAY_NO_AMOUNT
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.flash_api.documents import Operation
    from flash_driver.journal.records import PaymentRecord
    from flash_driver.transports.delivery import Delivery

__all__ = [
    "fee_limit",
    "idempotency_key",
    "is_question",
    "judge",
    "key_is_unheard_of",
    "open_end",
    "operation",
    "response",
]


def fee_limit(amount_msat: int, params: PayInvoiceParams) -> int | None:
    """Return the highest fee that the host accepts, in millisatoshi; None for any. The smaller of two limits counts."""
    limits: list[int] = []
    if params.max_fee_flat is not None:
        limits.append(params.max_fee_flat.msat)
    if params.max_fee_percent is not None:
        limits.append(int(amount_msat * Decimal(str(params.max_fee_percent)) / 100))
    return min(limits, default=None)


def idempotency_key(wallet_id: str, payment_hash: str, attempt: int) -> str:
    """Derive the key of an attempt: the same in every process, another one only after a definite failure."""
    return hashlib.sha256(f"flash-driver/{wallet_id}/{payment_hash}/{attempt}".encode()).hexdigest()


def operation(record: PaymentRecord) -> Operation:
    """Return what is sent for an attempt, the same each time to the byte.

    It is never handed from one transport to the next after it may have been carried out: who repeats it has to know
    that he does, see the table above.
    """
    variables: dict[str, object] = {"walletId": record.wallet_id, "paymentRequest": record.bolt11}
    if record.cents is not None:
        return PAY_NO_AMOUNT(input={**variables, "amount": record.cents}, repeatable=False)
    if record.idempotency_key is not None:
        variables["idempotencyKey"] = record.idempotency_key
    return PAY(input=variables, repeatable=False)


def is_question(record: PaymentRecord) -> bool:
    """Whether to send this attempt once more is to ask how it ended, rather than to pay again."""
    return record.idempotency_key is not None and open_end(record)


def open_end(record: PaymentRecord) -> bool:
    """Whether it is not known how an attempt ended."""
    return record.status not in (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)


def judge(record: PaymentRecord, outcome: Outcome, reasons: Mapping[str, str], *, sent_before: bool) -> PaymentRecord:
    """Return what an attempt has become.

    Args:
        record: The attempt.
        outcome: What the server, or the lack of it, said to this sending.
        reasons: Each transport that did not do, and why.
        sent_before: Whether an earlier sending of this attempt may have been carried out.

    """
    match outcome:
        case Completed():
            return replace(record, status=LightningPaymentStatus.COMPLETE, failure=None)
        case Refused(words, definite=definite) if definite or not sent_before:
            return replace(record, status=LightningPaymentStatus.FAILED, failure=words)
        case Refused(words):
            return _unknown(record, f"it was lost, and asked again the server said: {words}")
        case NotExecuted() if not sent_before:
            listed = "; ".join(f"{name}: {why}" for name, why in reasons.items())
            return replace(record, status=LightningPaymentStatus.FAILED, failure=f"it was not sent: {listed}")
        case NotExecuted(reason):
            return _unknown(record, f"it was lost, and the server can't be asked: {reason}")
        case Unknown(reason, answered=True, kept=False):
            return replace(_unknown(record, reason), idempotency_key=None)
        case Unknown(reason):
            return _unknown(record, reason)


def key_is_unheard_of(record: PaymentRecord, delivery: Delivery) -> bool:
    """Whether an older server refused the whole request because it has no idempotency keys: nothing was executed."""
    return (
        record.idempotency_key is not None
        and isinstance(delivery.outcome, NotExecuted)
        and Cause.INVALID in delivery.causes
        and any("idempotencyKey" in reason for reason in delivery.reasons.values())
    )


def response(record: PaymentRecord, outcome: Outcome | None = None) -> PayResponse:
    """Return what the host is told of an attempt.

    The server tells no fee, so neither fee nor total is known (flash-server.md 3.7): both are None then.
    """
    route_missing = isinstance(outcome, Refused) and outcome.code == "ROUTE_FINDING_ERROR"
    results = {
        LightningPaymentStatus.COMPLETE: PayResult.OK,
        LightningPaymentStatus.FAILED: PayResult.COULD_NOT_FIND_ROUTE if route_missing else PayResult.ERROR,
    }
    payment = record.payment
    return PayResponse(
        result=results.get(record.status, PayResult.UNKNOWN),
        details=PayDetails(
            payment_hash=record.payment_hash,
            status=record.status,
            total_amount=payment.amount_sent,
            fee_amount=payment.fee,
            preimage=record.preimage,
        ),
        error_detail=record.failure,
    )


def _unknown(record: PaymentRecord, why: str) -> PaymentRecord:
    return replace(record, status=LightningPaymentStatus.UNKNOWN, failure=why)
