"""The server's limits on new invoices are met before they are hit."""

from __future__ import annotations

import asyncio
import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings.errors import LightningError, RateLimited
from flash_driver.flash_api.documents import INVOICE_CREATE_NO_AMOUNT, INVOICE_CREATE_ON_BEHALF, INVOICE_CREATE_USD
from flash_driver.invoices.budget import ON_ITS_WAY, Budget
from flash_driver.journal.budget_rules import Bucket, InvoiceBudget
from flash_driver.journal.memory import MemoryStore
from tests.support.journals import open_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 1, 1, tzinfo=UTC)
BLOCK = timedelta(seconds=300)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = START

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


async def test_says_when_to_come_back() -> None:
    """Beyond the limit nothing is taken, and the time until the oldest request counts no more is told."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    budget = Budget(journal, InvoiceBudget(2, 120), clock)
    await budget.take(Bucket.OWN)
    clock.now += timedelta(seconds=30)
    await budget.take(Bucket.OWN)
    with pytest.raises(RateLimited, match=r"the driver's budget of new invoices is used up until 00:02:10 UTC") as no:
        await budget.take(Bucket.OWN)
    assert no.value.retry_after == timedelta(seconds=90) + ON_ITS_WAY
    clock.now += no.value.retry_after
    await budget.take(Bucket.OWN)


async def test_is_shared_by_all_who_have_the_journal() -> None:
    """Two budgets over one journal, as of two processes, count together."""
    journal = await open_journal(MemoryStore())
    ours, theirs = (Budget(journal, InvoiceBudget(2, 120), Clock()) for _ in range(2))
    await ours.take(Bucket.OWN)
    await theirs.take(Bucket.OWN)
    with pytest.raises(RateLimited):
        await ours.take(Bucket.OWN)


async def test_several_are_taken_at_once_or_not_at_all() -> None:
    """A refusal takes nothing; where the budget never has as many it says so."""
    budget = Budget(await open_journal(MemoryStore()), InvoiceBudget(3, 120), Clock())
    with pytest.raises(RateLimited, match=r"4 invoices at once are more than .* ask for fewer: 3 in 120 s"):
        await budget.take(Bucket.OWN, 4)
    await budget.take(Bucket.OWN, 2)
    with pytest.raises(RateLimited):
        await budget.take(Bucket.OWN, 2)
    await budget.take(Bucket.OWN)


async def test_what_a_call_does_not_use_is_put_back() -> None:
    """Points that were reserved and not used, or used for a request that was never executed, are there for others."""
    budget = Budget(await open_journal(MemoryStore()), InvoiceBudget(3, 120), Clock())
    async with budget.points(3) as points:
        await points.admit(INVOICE_CREATE_USD)
        await points.admit(INVOICE_CREATE_USD)
        points.give_back(INVOICE_CREATE_USD)
    async with budget.points() as points:
        await points.admit(INVOICE_CREATE_USD)
        await points.admit(INVOICE_CREATE_USD)
        with pytest.raises(RateLimited):
            await points.admit(INVOICE_CREATE_USD)
        await points.admit(INVOICE_CREATE_NO_AMOUNT)  # the server does not count these
        await points.admit(INVOICE_CREATE_ON_BEHALF)  # and these by themselves


async def test_a_call_that_took_long_puts_its_own_points_back() -> None:
    """A paused process frees what it took itself: what another one took since counts for its whole time."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    paused, other = (Budget(journal, InvoiceBudget(2, 120), clock) for _ in range(2))
    async with paused.points(1):
        clock.now += timedelta(seconds=100)
        await other.take(Bucket.OWN)
    clock.now += timedelta(seconds=100)
    await other.take(Bucket.OWN)
    with pytest.raises(RateLimited):
        await other.take(Bucket.OWN)


async def test_a_point_that_can_not_be_put_back_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the journal fails at the very end of a call, the call ends as it would have."""
    journal = await open_journal(MemoryStore())

    async def fail(_bucket: Bucket, _taken: Sequence[datetime]) -> None:
        raise LightningError("the disk is full")

    monkeypatch.setattr(journal, "return_invoices", fail)
    budget = Budget(journal, InvoiceBudget(3, 120), Clock())
    async with budget.points(3) as points:
        await points.admit(INVOICE_CREATE_USD)
    with pytest.raises(RateLimited):
        await budget.take(Bucket.OWN)


async def test_another_process_block_is_heard_of_within_a_second() -> None:
    """Without a limit of our own the journal is asked once a second, and whether the server blocks is known by then."""
    clock, journal = Clock(), await open_journal(MemoryStore())
    ours, theirs = (Budget(journal, None, clock) for _ in range(2))
    await ours.take(Bucket.OWN)
    await theirs.block(INVOICE_CREATE_USD, BLOCK)
    await ours.take(Bucket.OWN)
    clock.now += timedelta(seconds=1)
    with pytest.raises(RateLimited):
        await ours.take(Bucket.OWN)
    clock.now -= timedelta(days=1)
    await ours.take(Bucket.OWN)


async def test_keeps_the_servers_own_block() -> None:
    """After the server has refused, nothing is asked until its block ends, also without a limit of our own."""
    clock = Clock()
    budget = Budget(await open_journal(MemoryStore()), None, clock)
    await budget.take(Bucket.OWN)
    told = await budget.block(INVOICE_CREATE_USD, BLOCK)
    with pytest.raises(RateLimited, match=r"^Flash has blocked creating until 00:05:00 UTC, because this acc") as no:
        await budget.take(Bucket.OWN)
    assert str(no.value) == str(told)
    assert no.value.retry_after == BLOCK
    clock.now += BLOCK
    await budget.take(Bucket.OWN)


async def test_a_block_of_one_limit_is_none_of_the_other() -> None:
    """A stranger who uses the public limit up stops nothing that the account itself asks for, and the other way."""
    budget = Budget(await open_journal(MemoryStore()), InvoiceBudget(2, 120), Clock())
    assert await budget.block(INVOICE_CREATE_NO_AMOUNT, BLOCK) is None
    await budget.block(INVOICE_CREATE_ON_BEHALF, BLOCK)
    await budget.take(Bucket.OWN, 2)
    with pytest.raises(RateLimited, match=r"on behalf of this account until 00:05:00 UTC, because .*username"):
        await budget.take(Bucket.PUBLIC)
    other = Budget(await open_journal(MemoryStore()), InvoiceBudget(2, 120), Clock())
    await other.block(INVOICE_CREATE_USD, BLOCK)
    await other.take(Bucket.PUBLIC, 2)
    with pytest.raises(RateLimited, match="the driver's budget of new invoices in public"):
        await other.take(Bucket.PUBLIC)


@pytest.mark.parametrize("hours", [2, 24, 24 * 365])
async def test_a_block_of_more_than_an_hour_is_cut_to_one(hours: int) -> None:
    """However long the server says it blocks: kept from its first minute on, and over after an hour."""
    clock = Clock()
    budget = Budget(await open_journal(MemoryStore()), InvoiceBudget(2, 120), clock)
    await budget.block(INVOICE_CREATE_USD, timedelta(hours=hours))
    for minutes in (0, 30, 59):
        clock.now = START + timedelta(minutes=minutes)
        with pytest.raises(RateLimited, match="Flash has blocked"):
            await budget.take(Bucket.OWN)
    clock.now = START + timedelta(hours=1)
    await budget.take(Bucket.OWN)


# --- the server's side, simulated -------------------------------------------------------------------------------------


@dataclass
class Server:
    """Counts arrivals as Flash does: in a window that begins with the first of them, or in one that slides."""

    sliding: bool
    arrived: list[datetime] = field(default_factory=list)
    window_began: datetime | None = None
    blocks: int = 0

    def receive(self, at: datetime) -> None:
        """Count a request, and block the account if it is one too many."""
        window = timedelta(seconds=120)
        if self.sliding:
            self.arrived = [each for each in self.arrived if at - each < window]
        elif self.window_began is None or at - self.window_began >= window:
            self.arrived, self.window_began = [], at
        self.arrived.append(at)
        if len(self.arrived) > 20:
            self.blocks += 1
            self.arrived, self.window_began = [], None


@pytest.mark.many_cases
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sliding", [True, False])
@pytest.mark.parametrize("latency", [0.05, 1.0, 5.0])
async def test_a_shop_that_asks_all_the_time_is_never_blocked(*, latency: float, sliding: bool, seed: int) -> None:
    """Half an hour of a shop that sells as soon as it may, in bursts too, while requests arrive up to 5 s late.

    Two processes on two machines share the journal, and their clocks differ by two seconds.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    clock, journal = Clock(), await open_journal(MemoryStore())
    ahead = timedelta(seconds=2)
    processes = [
        Budget(journal, InvoiceBudget(20, 120), clock),
        Budget(journal, InvoiceBudget(20, 120), lambda: clock.now + ahead),
    ]
    server, on_their_way = Server(sliding), list[datetime]()
    made = 0
    while clock.now < START + timedelta(minutes=30):
        for _ in range(chance.choice([1, 1, 1, 25])):
            try:
                await chance.choice(processes).take(Bucket.OWN)
            except RateLimited:
                break
            made += 1
            heapq.heappush(on_their_way, clock.now + timedelta(seconds=chance.uniform(0.02, latency)))
        clock.now += timedelta(seconds=chance.choice([0.05, 0.05, 1, 7]))
        while on_their_way and on_their_way[0] <= clock.now:
            server.receive(heapq.heappop(on_their_way))
    assert server.blocks == 0
    assert made >= 20 * 13  # 13 windows of 130 s: the limit is used, too


async def test_two_calls_share_no_points() -> None:
    """Calls under way at the same time take what they need one by one, and no more than there is."""
    budget = Budget(await open_journal(MemoryStore()), InvoiceBudget(5, 120), Clock())

    async def call() -> bool:
        try:
            async with budget.points() as points:
                await points.admit(INVOICE_CREATE_USD)
        except RateLimited:
            return False
        return True

    assert sum(await asyncio.gather(*(call() for _ in range(12)))) == 5
