"""Plays random schedules of faults and prints what they came to: `python -m tests.faults.soak --schedules 10000`.

A schedule that went wrong is named by its seed, and replays: `python -m tests.faults.soak --seed N`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Final, get_args

from tests.faults.patience import lag
from tests.faults.schedule import draw
from tests.faults.world import LEFT_OUT, SettleOn, Verdict, play

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["main", "replays", "soak", "table"]

_AT_ONCE: Final = 40
_PER_BATCH: Final = 20
_PROCESSES_PER_CORE: Final = 2
"""While one of them waits for the last worlds of a batch, the other has work."""
_LATEST: Final = 0.2
"""No further schedule begins while the event loop is later than this, in seconds: a starved world proves nothing."""


async def soak(
    seeds: Iterable[int], at_once: int = _AT_ONCE, settle_on: SettleOn = "query", until: float = math.inf
) -> Verdict:
    """Play the schedules of these seeds, that many at once at most, and add up what they came to.

    Args:
        seeds: Which.
        at_once: How many at once.
        settle_on: Whose word settles an invoice.
        until: Begin none after this moment of the steady clock.

    """
    total, waiting, playing = Verdict(), iter(seeds), 0

    async def work() -> None:
        nonlocal playing
        for seed in waiting:
            if time.monotonic() >= until:
                return
            while await lag() > _LATEST and playing:
                pass
            playing += 1
            try:
                total.add(await play(draw(seed), settle_on))
            finally:
                playing -= 1

    before = asyncio.all_tasks()
    await asyncio.gather(*(work() for _ in range(at_once)))
    left = await _left_behind(before)
    total.leaks += len(left)
    total.notes += left
    return total


async def _left_behind(before: set[asyncio.Task[object]]) -> list[str]:
    """Name the tasks that are left when everything has been closed; those that are just ending may end."""
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=40)
    left = asyncio.all_tasks() - before
    return [f"left behind: {task!r}" for task in left if task.get_name().startswith("flash-driver")]


def table(verdict: Verdict, seconds: float | None = None, settle_on: SettleOn = "query") -> str:
    """Render what schedules came to."""
    rows: list[tuple[str, object]] = [("schedules", verdict.seeds)]
    rows += [(f"  {name}", count) for name, count in sorted(verdict.faults.items())]
    rows += [
        ("faults", verdict.faults.total() - verdict.faults[LEFT_OUT]),
        ("invoices", verdict.invoices),
        ("settled", verdict.settled),
        ("delivered", verdict.delivered),
        ("payments", verdict.payments),
        ("  left unknown", verdict.unknown),
        ("lost", verdict.lost),
        ("duplicated", verdict.duplicated),
        ("invented", verdict.invented),
        ("out of order", verdict.disordered),
        ("double payments", verdict.double_payments),
        ("tasks left behind", verdict.leaks),
    ]
    if seconds is not None:
        rows.append(("seconds", round(seconds)))
    if verdict.bad_seeds:
        rows.append(("failing seeds", " ".join(map(str, sorted(verdict.bad_seeds)))))
    return "\n".join(
        [*(f"{name:<34}{value:>10}" for name, value in rows), *verdict.notes, *replays(verdict, settle_on)]
    )


def replays(verdict: Verdict, settle_on: SettleOn = "query") -> list[str]:
    """Return the command that replays each schedule that went wrong."""
    how = "" if settle_on == "query" else f" --settle-on {settle_on}"
    return [f"replay: python -m tests.faults.soak --seed {seed}{how}" for seed in sorted(verdict.bad_seeds)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when nothing was lost, doubled or invented."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, help="how many to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one, and tell what happens")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further schedule after this time")
    parser.add_argument("--workers", type=int, default=_PROCESSES_PER_CORE * (os.cpu_count() or 1), help="processes")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="schedules at once in a process; many starve it")
    parser.add_argument("--settle-on", choices=get_args(SettleOn), default="query", help="see FLASH_SETTLE_ON")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    if chosen.seed is not None:
        logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6d %(message)s")
        logging.getLogger("flash_driver").setLevel(logging.DEBUG)
        schedule = draw(chosen.seed)
        print(schedule.sandbox, schedule.transports, *schedule.steps, sep="\n")  # noqa: T201 - a command
        total = _play_batch([chosen.seed], 1, chosen.settle_on, math.inf)
    else:
        seeds = range(chosen.first, chosen.first + chosen.schedules)
        total = _play_all(seeds, chosen.workers, chosen.at_once, chosen.settle_on, began + chosen.seconds)
    print(table(total, time.monotonic() - began, chosen.settle_on))  # noqa: T201 - a command
    return 0 if total.sound else 1


def _play_batch(seeds: Sequence[int], at_once: int, settle_on: SettleOn, until: float) -> Verdict:
    return asyncio.run(soak(seeds, at_once, settle_on, until))


def _play_all(seeds: range, workers: int, at_once: int, settle_on: SettleOn, until: float) -> Verdict:
    total, began = Verdict(), time.monotonic()
    size = max(1, min(_PER_BATCH, -(-len(seeds) // workers)))
    batches = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    with ProcessPoolExecutor(workers, initializer=_silence) as pool:
        for ended in as_completed([pool.submit(_play_batch, batch, at_once, settle_on, until) for batch in batches]):
            done = ended.result()
            total.add(done)
            seconds = time.monotonic() - began
            progress = [
                f"{total.seeds} schedules, {seconds:.0f} s, {len(total.bad_seeds)} failing",
                *replays(done, settle_on),
            ]
            print(*progress, sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - a command
    return total


def _silence() -> None:
    """Keep thousands of reports of the faults, which are the point here, out of sight."""
    for name in ("flash_driver", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
