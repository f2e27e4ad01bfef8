"""Plays random schedules of faults and prints what they came to: `python -m tests.faults.soak --schedules 10000`.

A schedule that went wrong is named by its seed, and replays: `python -m tests.faults.soak --seed N`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Final

from tests.faults.schedule import draw
from tests.faults.world import Verdict, play

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["main", "soak", "table"]

_AT_ONCE: Final = 24
_PER_BATCH: Final = 200


async def soak(seeds: Iterable[int], at_once: int = _AT_ONCE) -> Verdict:
    """Play the schedules of these seeds, so many at once, and add up what they came to."""
    total, waiting = Verdict(), iter(seeds)

    async def work() -> None:
        for seed in waiting:
            total.add(await play(draw(seed)))

    before = asyncio.all_tasks()
    await asyncio.gather(*(work() for _ in range(at_once)))
    total.leaks += await _leaks(before)
    return total


async def _leaks(before: set[asyncio.Task[object]]) -> int:
    """Count the tasks that are left when everything has been closed; those that are just ending may end."""
    left = asyncio.all_tasks() - before
    if left:
        await asyncio.wait(left, timeout=2)
    names = [task.get_name() for task in asyncio.all_tasks() - before]
    return sum(name.startswith("flash-driver") for name in names)


def table(verdict: Verdict, seconds: float | None = None) -> str:
    """Render what schedules came to."""
    rows: list[tuple[str, object]] = [("schedules", verdict.seeds)]
    rows += [(f"  {name}", count) for name, count in sorted(verdict.faults.items())]
    rows += [
        ("faults", sum(verdict.faults.values())),
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
    return "\n".join([*(f"{name:<34}{value:>10}" for name, value in rows), *verdict.notes])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 when nothing was lost, doubled or invented."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, help="how many to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one, and tell what happens")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes to use")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="schedules at once in a process; many starve it")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    if chosen.seed is not None:
        logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6d %(message)s")
        logging.getLogger("flash_driver").setLevel(logging.DEBUG)
        schedule = draw(chosen.seed)
        print(schedule.sandbox, schedule.transports, *schedule.steps, sep="\n")  # noqa: T201 - a command
        total = _play_batch([chosen.seed], 1)
    else:
        logging.getLogger("flash_driver").setLevel(logging.CRITICAL)
        total = _play_all(range(chosen.first, chosen.first + chosen.schedules), chosen.workers, chosen.at_once)
    print(table(total, time.monotonic() - began))  # noqa: T201 - a command
    return 0 if total.sound else 1


def _play_batch(seeds: Sequence[int], at_once: int) -> Verdict:
    return asyncio.run(soak(seeds, at_once))


def _play_all(seeds: range, workers: int, at_once: int) -> Verdict:
    total = Verdict()
    batches = [seeds[start : start + _PER_BATCH] for start in range(0, len(seeds), _PER_BATCH)]
    with ProcessPoolExecutor(workers, initializer=_silence) as pool:
        for done in pool.map(_play_batch, batches, repeat(at_once)):
            total.add(done)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{total.seeds} schedules, {len(total.bad_seeds)} failing")
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return total


def _silence() -> None:
    logging.getLogger("flash_driver").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    sys.exit(main())
