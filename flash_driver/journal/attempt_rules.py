"""The rules for attempts to pay that every kind of journal keeps, as functions of what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connection_strings.lightning import LightningPaymentStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_driver.journal.records import PaymentRecord

__all__ = [
    "DEFINITE",
    "WEIGHT",
    "Begun",
    "Counted",
    "counting_attempt",
    "is_as_seen",
    "replaced_attempt",
    "telling_attempt",
]

DEFINITE: Final = (LightningPaymentStatus.COMPLETE, LightningPaymentStatus.FAILED)
"""How a payment can have ended for good."""

WEIGHT: Final = {
    LightningPaymentStatus.COMPLETE: 2,
    LightningPaymentStatus.UNKNOWN: 1,
    LightningPaymentStatus.PENDING: 1,
    LightningPaymentStatus.FAILED: 0,
}
"""Which of several attempts at one payment tells most."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A new attempt was kept: its caller alone may send it."""

    record: PaymentRecord


@dataclass(frozen=True, slots=True)
class Counted:
    """Another attempt counts, so nothing was kept and nothing may be sent.

    Attributes:
        record: That attempt: it has not definitely failed, or another process has used the same number meanwhile.

    """

    record: PaymentRecord


def counting_attempt(attempts: Sequence[PaymentRecord], record: PaymentRecord) -> Begun | Counted:
    """Decide whether a new attempt may be kept.

    Args:
        attempts: Every attempt kept for this payment hash.
        record: The new one.

    """
    known = telling_attempt(attempts)
    if known is None or (known.status is LightningPaymentStatus.FAILED and known.attempt < record.attempt):
        return Begun(record)
    return Counted(known)


def replaced_attempt(attempts: Sequence[PaymentRecord]) -> PaymentRecord | None:
    """Return the attempt whose row a new one takes over: the last one, if nothing of it was ever sent.

    So a host that tries again every minute leaves no row for each try.
    """
    last = max(attempts, key=lambda attempt: attempt.attempt, default=None)
    never_sent = last is not None and last.status is LightningPaymentStatus.FAILED and last.sent_at is None
    return last if never_sent else None


def is_as_seen(known: PaymentRecord, seen: PaymentRecord) -> bool:
    """Whether nobody has decided anything about an attempt since a writer has read or written it.

    So no verdict is written over another one unread: complete stays complete, an idempotency key that was given up
    stays given up, and an attempt that was called failed because its sender is dead is not sent by that sender.

    Args:
        known: What is kept now.
        seen: What the writer goes by.

    """
    return (
        known.begun_by == seen.begun_by
        and known.status == seen.status
        and known.idempotency_key == seen.idempotency_key
        and known.sent_at == seen.sent_at
    )


def telling_attempt(attempts: Sequence[PaymentRecord]) -> PaymentRecord | None:
    """Return the attempt that tells most of a payment; None when there is none.

    A complete one, else one that may still be under way, whatever came after it; else the latest.
    """
    return max(attempts, key=lambda attempt: (WEIGHT[attempt.status], attempt.attempt), default=None)
