"""How often something may be done: callers that give up, and clocks that are set back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from connection_strings import Secret
from lightning_host import budgets as budgets_module
from lightning_host.allowance import Allowance
from lightning_host.budgets import Budgets
from lightning_host.database import Database, now_ms

if TYPE_CHECKING:
    from tests.lightning_host.hosts import HostBench

TWICE = Allowance(times=2, seconds=60)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, hosts: HostBench) -> Secret:
    """Give an empty database of each kind."""
    if request.param == "sqlite":
        return hosts.secret()
    return Secret(request.getfixturevalue("postgres").new_database())


async def test_one_who_gives_up_spoils_it_for_nobody(url: Secret) -> None:
    """Those who asked at the same time get their answers, however many of them are cancelled while they wait."""
    async with aclosing(await Database.open(url)) as database:
        budgets = Budgets(database)
        takers = [asyncio.create_task(budgets.spend("lnurl shop", TWICE)) for _ in range(6)]
        await takers[0]
        for _ in range(3):
            await asyncio.sleep(0)  # the second takes for all the others now
        for gives_up in takers[2:4]:
            gives_up.cancel()
        told = await asyncio.gather(*takers, return_exceptions=True)
        assert [type(each) for each in told[2:4]] == [asyncio.CancelledError] * 2
        answers = [each for each in (*told[:2], *told[4:]) if isinstance(each, int)]
        assert len(answers) == 4
        assert 0 < await budgets.spend("lnurl shop", TWICE) <= TWICE.seconds


async def test_clock_that_was_set_back(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken a day ahead, before the clock was set back, keeps nobody waiting; a replica's second does."""
    async with aclosing(await Database.open(url)) as database:
        budgets = Budgets(database)
        for name, ahead_ms in (("a day", 86_400_000), ("a second", 1_000)):
            with monkeypatch.context() as patch:
                patch.setattr(budgets_module, "now_ms", lambda ahead_ms=ahead_ms: now_ms() + ahead_ms)
                assert [await budgets.spend(name, TWICE) for _ in range(2)] == [0, 0]
        assert await budgets.spend("a day", TWICE) == 0
        assert await budgets.spend("a second", TWICE) > 0
