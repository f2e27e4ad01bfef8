"""Random schedules of faults, in the suite's share; `make soak` plays ten thousand."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from flash_driver.journal.memory import MemoryJournal
from tests.faults import world
from tests.faults.patience import while_it_moves
from tests.faults.schedule import draw
from tests.faults.soak import main, soak, table
from tests.faults.world import LEFT_OUT, Verdict, play
from tests.support.thorough import cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_driver.journal.records import InvoiceRecord
    from tests.faults.world import SettleOn

_SEEDS = cases(40, 200)
_SEEDS_ON_EVENTS = cases(12, 40)
_AT_ONCE = 20


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep thousands of reports of the faults, which are the point here, out of the test report."""
    names = ("flash_driver", "aiohttp", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.timeout(900)  # a starved machine begins one world after the other
@pytest.mark.parametrize(("settle_on", "seeds"), [("query", _SEEDS), ("event", _SEEDS_ON_EVENTS)])
async def test_nothing_is_lost_doubled_or_invented(settle_on: SettleOn, seeds: int) -> None:
    """Whatever fails, each paid invoice is heard of once and no money leaves twice, by the server's own ledger."""
    total = await soak(range(seeds), _AT_ONCE, settle_on)
    print(table(total, settle_on=settle_on))  # noqa: T201 - shown when it fails
    assert (total.seeds, total.sound, total.bad_seeds) == (seeds, True, [])
    # Otherwise nothing was put to the test.
    assert min(total.settled, total.delivered, total.payments, total.faults.total()) >= seeds / 5


async def test_a_driver_that_loses_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge who waits for facts still gives up on what never comes, and names the seed."""
    honest = MemoryJournal.settled_after

    async def forgetful(journal: MemoryJournal, after: int, limit: int = 100) -> list[InvoiceRecord]:
        return [record for record in await honest(journal, after, limit) if record.settle_index != 1]

    monkeypatch.setattr(MemoryJournal, "settled_after", forgetful)
    monkeypatch.setattr(world, "while_it_moves", partial(while_it_moves, still_beats=20))
    schedule = draw(21)
    assert not schedule.in_file
    verdict = await play(schedule)
    assert verdict.failings == {"lost": len(schedule.transports)}
    assert verdict.bad_seeds == [21]


def test_a_seed_always_draws_the_same_schedule() -> None:
    """A failing seed can be replayed."""
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_a_failure_is_told_by_its_seed() -> None:
    """A verdict that is not sound names the seeds to replay."""
    total = Verdict()
    total.add(Verdict(seeds=1, lost=1, bad_seeds=[42]))
    assert not total.sound
    assert "failing seeds                             42" in table(total)
    assert "replay: python -m tests.faults.soak --seed 42" in table(total)
    assert "replay: python -m tests.faults.soak --seed 42 --settle-on event" in table(total, settle_on="event")


def test_what_was_left_out_is_no_fault() -> None:
    """A forged event that was not sent is counted apart from what struck."""
    shown = table(Verdict(seeds=1, faults=Counter({LEFT_OUT: 3, "network: cut": 2})))
    assert f"faults{2:>38}" in shown
    assert LEFT_OUT in shown


@pytest.mark.filterwarnings("ignore")
def test_one_seed_replays_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m tests.faults.soak --seed N` shows the steps and the verdict of one schedule."""
    assert main(["--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Step(" in shown
    assert "double payments                            0" in shown
