"""The server's limit on new invoices is met before it is hit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from connection_strings.errors import RateLimited
from flash_driver.invoices.budget import Budget
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.journal.memory import MemoryStore
from tests.support.journals import open_journal

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = START

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


async def test_says_when_to_come_back() -> None:
    """Beyond the limit nothing is taken, and the time until the oldest one is forgotten is told."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    budget = Budget(InvoiceBudget(2, 120), clock)
    await budget.spend(journal)
    clock.now += timedelta(seconds=30)
    await budget.spend(journal)
    with pytest.raises(RateLimited) as refusal:
        await budget.spend(journal)
    assert refusal.value.retry_after == timedelta(seconds=90)
    clock.now += refusal.value.retry_after
    await budget.spend(journal)


async def test_is_shared_by_whoever_has_the_journal() -> None:
    """Two budgets over one journal, as of two processes, count together."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    ours, theirs = (Budget(InvoiceBudget(2, 120), clock) for _ in range(2))
    await ours.spend(journal)
    await theirs.spend(journal)
    with pytest.raises(RateLimited):
        await ours.spend(journal)


async def test_several_are_taken_at_once_or_not_at_all() -> None:
    """A refusal takes nothing; where the budget never has so many it says so."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    budget = Budget(InvoiceBudget(3, 120), clock)
    with pytest.raises(RateLimited, match=r"4 invoices at once are more than .* ask for fewer: 3 in 120 s"):
        await budget.spend(journal, 4)
    await budget.spend(journal, 2)
    with pytest.raises(RateLimited):
        await budget.spend(journal, 2)
    await budget.spend(journal, 1)


async def test_another_process_block_is_heard_of_within_a_second() -> None:
    """Without a limit of our own the journal is asked once a second, and whether the server blocks is known by then."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    ours, theirs = (Budget(None, clock) for _ in range(2))
    await ours.spend(journal)
    await theirs.block(journal, timedelta(seconds=300))
    await ours.spend(journal)
    clock.now += timedelta(seconds=1)
    with pytest.raises(RateLimited):
        await ours.spend(journal)
    clock.now -= timedelta(days=1)
    await ours.spend(journal)


async def test_keeps_the_servers_own_block() -> None:
    """After the server has refused, nothing is asked until it has forgotten, also without a limit of our own."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    budget = Budget(None, clock)
    await budget.spend(journal)
    await budget.block(journal, timedelta(seconds=300))
    with pytest.raises(RateLimited, match="the server has blocked new invoices") as refusal:
        await budget.spend(journal)
    assert refusal.value.retry_after == timedelta(seconds=300)
    clock.now += timedelta(seconds=300)
    await budget.spend(journal)
