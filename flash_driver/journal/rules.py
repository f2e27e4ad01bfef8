"""The rules that every kind of journal keeps, as functions of what it holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.lightning import LightningPaymentStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flash_driver.journal.budget_rules import InvoiceBudget
    from flash_driver.journal.records import PaymentRecord

__all__ = [
    "DEFINITE",
    "WEIGHT",
    "begin_of_window",
    "block_end",
    "budget_wait",
    "counting_attempt",
    "in_the_way",
    "still_spent",
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

_LONGEST_BLOCK: Final = timedelta(hours=1)
"""Flash blocks for five minutes (flash-server.md 4); a block far beyond that means that the clock was set back."""


def begin_of_window(limit: InvoiceBudget, now: datetime) -> datetime:
    """Return the time up to which nothing counts any more."""
    return now - timedelta(seconds=limit.seconds)


def still_spent(spent: Sequence[datetime], limit: InvoiceBudget, now: datetime) -> list[datetime]:
    """Return what still counts against the budget, oldest first.

    A time to come means that the clock was set back: it counts from now on, so that nobody waits for a day.
    """
    begin = begin_of_window(limit, now)
    return sorted(min(time, now) for time in spent if time > begin)


def in_the_way(spent: Sequence[datetime], limit: InvoiceBudget, count: int = 1) -> datetime | None:
    """Return which of what counts, oldest first, has to be forgotten before there is room for so many more."""
    lacking = len(spent) + count - limit.invoices
    return spent[lacking - 1] if lacking > 0 else None


def budget_wait(
    frees: datetime | None, blocked_until: datetime | None, limit: InvoiceBudget | None, now: datetime
) -> timedelta | None:
    """Return how long to wait before invoices can be made, None when they can be made now.

    Args:
        frees: When the invoice was made that has to be forgotten before there is room; None when there is.
        blocked_until: Until when the server itself refuses, where that is known.
        limit: The budget, None for none.
        now: The time.

    """
    free_at = [now]
    if blocked_until is not None and blocked_until - now <= _LONGEST_BLOCK:
        free_at.append(blocked_until)
    if limit is not None and frees is not None:
        free_at.append(frees + timedelta(seconds=limit.seconds))
    wait = max(free_at) - now
    return wait or None


def block_end(known: datetime | None, until: datetime) -> datetime:
    """Return until when the server refuses, now that it says so anew: what one answer shortens, another has promised.

    Args:
        known: The end of the block as it was known, also of one that is over.
        until: The end that the server tells now.

    """
    return known if known is not None and timedelta(0) < known - until <= _LONGEST_BLOCK else until


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
