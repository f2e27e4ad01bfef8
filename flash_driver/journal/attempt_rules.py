"""The rules for attempts to pay that every kind of journal keeps, as functions of what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connection_strings.lightning import LightningPaymentStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_driver.journal.records import PaymentRecord

__all__ = ["DEFINITE", "WEIGHT", "counting_attempt", "telling_attempt"]

DEFINITE: Final = (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)
"""How a payment can have ended for good."""

WEIGHT: Final = {
    LightningPaymentStatus.COMPLETE: 2,
    LightningPaymentStatus.UNKNOWN: 1,
    LightningPaymentStatus.PENDING: 1,
    LightningPaymentStatus.FAILED: 0,
}
"""Which of several attempts at one payment tells most."""


def counting_attempt(attempts: Sequence[PaymentRecord], record: PaymentRecord) -> PaymentRecord:
    """Return the attempt that stands in the way of a new one, else the new one itself.

    Args:
        attempts: Every attempt kept for this payment hash.
        record: The new one.

    """
    known = telling_attempt(attempts)
    if known is None or (known.status is LightningPaymentStatus.FAILED and known.attempt < record.attempt):
        return record
    return known


def telling_attempt(attempts: Sequence[PaymentRecord]) -> PaymentRecord | None:
    """Return the attempt that tells most of a payment; None when there is none.

    A complete one, else one that may still be under way, whatever came after it; else the latest.
    """
    return max(attempts, key=lambda attempt: (WEIGHT[attempt.status], attempt.attempt), default=None)
