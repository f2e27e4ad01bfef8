"""The budget of invoices: how many the server takes from an account in how many seconds, and what is left of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LONGEST_BLOCK",
    "Bucket",
    "BudgetWait",
    "InvoiceBudget",
    "begin_of_window",
    "block_end",
    "budget_wait",
    "in_the_way",
    "still_spent",
]

LONGEST_BLOCK: Final = timedelta(hours=1)
"""No longer block is ever written: Flash blocks for five minutes (flash-server.md 4). One that seems to last longer
when it is read was written before the clock was set back."""


class Bucket(Enum):
    """Which of the server's limits a request counts against (flash-server.md 4, 16).

    Attributes:
        OWN: What the account asks for with its credential.
        PUBLIC: What is asked for on behalf of the account, which needs no credential: anybody can use this limit up.
        KEY: Questions in the background that cost an API key (flash-server.md 16); the server blocks nothing here.

    """

    OWN = "own"
    PUBLIC = "public"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class BudgetWait:
    """Why an invoice can't be asked for now.

    Attributes:
        until: When it can.
        blocked: Whether the server itself has blocked the account, rather than the driver's budget.

    """

    until: datetime
    blocked: bool


@dataclass(frozen=True, slots=True)
class InvoiceBudget:
    """How many invoices the server takes from an account in how many seconds."""

    invoices: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> InvoiceBudget | None:
        """Read `20/120`, or `off` for no budget.

        Raises:
            ValueError: It is neither.

        """
        if text is None or isinstance(text, InvoiceBudget):
            return text
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", str(text).strip())
        if str(text).strip().lower() == "off":
            return None
        if match is None:
            raise ValueError("must be invoices per seconds, such as 20/120, or off")
        return cls(int(match[1]), int(match[2]))


def begin_of_window(limit: InvoiceBudget, now: datetime) -> datetime:
    """Return the time up to which nothing counts any more."""
    return now - timedelta(seconds=limit.seconds)


def still_spent(spent: Sequence[datetime], limit: InvoiceBudget, now: datetime) -> list[datetime]:
    """Return what still counts against the budget, oldest first.

    A time to come means that the clock was set back: it counts from now on, so that nobody waits for a day.
    """
    begin = begin_of_window(limit, now)
    return sorted([min(time, now) for time in spent if time > begin])


def in_the_way(spent: Sequence[datetime], limit: InvoiceBudget, count: int = 1) -> datetime | None:
    """Return which of what counts, oldest first, has to be forgotten before there is room for that many more."""
    lacking = len(spent) + count - limit.invoices
    return spent[lacking - 1] if lacking > 0 else None


def budget_wait(
    frees: datetime | None, blocked_until: datetime | None, limit: InvoiceBudget | None, now: datetime
) -> BudgetWait | None:
    """Return what invoices have to wait for, None when they can be made now.

    Args:
        frees: When the invoice was made that has to be forgotten before there is room; None when there is.
        blocked_until: Until when the server itself refuses, where that is known.
        limit: The budget, None for none.
        now: The time.

    """
    blocked = timedelta(0) if blocked_until is None else blocked_until - now
    full = timedelta(0) if limit is None or frees is None else frees + timedelta(seconds=limit.seconds) - now
    if blocked > LONGEST_BLOCK:
        blocked = timedelta(0)
    wait = max(blocked, full)
    return BudgetWait(now + wait, blocked=blocked == wait) if wait > timedelta(0) else None


def block_end(known: datetime | None, until: datetime) -> datetime:
    """Return until when the server refuses, now that it says so again: what one answer shortens, another has promised.

    Args:
        known: The end of the block as it was known, also of one that is over.
        until: The end that the server tells now.

    """
    return known if known is not None and timedelta(0) < known - until <= LONGEST_BLOCK else until
