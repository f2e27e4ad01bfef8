"""A steady load for long, with faults, and whether anything grows: `python -m tests.benchmarks.soak --minutes 30`.

The shop, the sandbox and the network between them are three processes, so that what is sampled is the driver's. Exit
code 0 when each paid invoice was heard once; how steep a slope may be is for the reader to judge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.request import urlopen

from tests.benchmarks.children import Child, post
from tests.benchmarks.report import render
from tests.benchmarks.servers import sandbox
from tests.benchmarks.trend import slope
from tests.support.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.servers import Server

__all__ = ["FAULTS", "SHORT", "Course", "main", "measure"]

HELD: Final = ("resident_bytes", "descriptors", "tasks", "timers")
"""What must not grow."""
PER_SECOND: Final = 5.0
"""What the watcher keeps up with: it asks 20 questions a second, an unpaid invoice takes about three of them, and each
loss of the socket one more about all that are open. Flash itself allows an account one invoice in six seconds."""
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "close": {"kind": "close", "when": "now"},
    "reset": {"kind": "reset", "when": "now"},
    "silent": {"kind": "silent", "when": "now"},
    "garbage": {"kind": "garbage", "when": "now"},
    "close after execution": {"kind": "close", "when": "after_execute"},
    "delay": {"kind": "delay", "seconds": 1, "count": 5},
    "error": {"kind": "error", "code": "LIGHTNING_ERROR", "count": 3},
    "event dropped": {"kind": "drop_settlement", "count": 3},
    "network: cut": {},
    "network: reset": {},
    "network: half-open": {},
}
"""What goes wrong: in the sandbox as its control endpoint is told, or in the network between."""


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how hard; times in seconds.

    Attributes:
        seconds: How long invoices are made.
        per_second: How many of them.
        paid: Which share of them is paid.
        life: How long an invoice lives.
        fault_every: How often something goes wrong.
        sample_every: How often the process is looked at.
        warm_up: From when on samples count: caches are full, and as many invoices expire as are made.
        calm: How long to wait at the end until all has been heard.

    """

    seconds: float
    per_second: float = PER_SECOND
    paid: float = 0.8
    life: int = 60
    fault_every: float = 15.0
    sample_every: float = 10.0
    warm_up: float = 240.0
    calm: float = 120.0

    @classmethod
    def lasting(cls, minutes: float, per_second: float = PER_SECOND) -> Self:
        """Return one of that many minutes; a quarter of it is warm-up, four minutes at the most."""
        return cls(minutes * 60, per_second, warm_up=min(240.0, minutes * 15))


SHORT: Final = Course(6.0, 20.0, 0.5, life=3, fault_every=0.8, sample_every=0.25, warm_up=2.0, calm=45.0)
"""For the tests: it shows that the instrument works, and that nothing is lost; six seconds show no slope."""


@dataclass(slots=True)
class _Story:
    """What the shop has told."""

    samples: list[dict[str, float]] = field(default_factory=list)
    heard: Counter[str] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def measure(course: Course, faults: Sequence[str] = tuple(FAULTS)) -> dict[str, Any]:
    """Let it run, and compare what was heard with the ledger."""
    with TemporaryDirectory() as folder, sandbox("--invoice-expiry-seconds", str(course.life)) as server:
        environment = {
            "FLASH_JOURNAL_URL": f"sqlite+aiosqlite:///{folder}/journal.sqlite3",
            "FLASH_INVOICE_BUDGET": "off",
        }
        with Child("tests.benchmarks.soak_worker", environment=environment) as shop:
            story, struck = asyncio.run(_run(course, server, shop, faults))
        with urlopen(f"{server.direct}/control/ledger", timeout=60) as response:  # noqa: S310 - ours
            ledger = json.load(response)
        journal_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    paid = {each["payment_hash"] for each in ledger["invoices"] if each["status"] == "PAID"}
    return {
        "seconds": course.seconds,
        "per_second": course.per_second,
        "paid_share": course.paid,
        "warm_up": course.warm_up,
        "faults": dict(struck),
        "counts": story.counts,
        "paid": len(paid),
        "heard_once": sum(story.heard[each] == 1 for each in paid),
        "lost": sum(story.heard[each] == 0 for each in paid),
        "doubled": sum(count > 1 for count in story.heard.values()),
        "invented": len(story.heard.keys() - paid),
        "tasks_left": story.left,
        "sockets_opened": ledger["connections"]["opened"],
        "journal_bytes": journal_bytes,
        "per_hour": _slopes(story.samples, course),
        "samples": story.samples,
    }


async def _run(course: Course, server: Server, shop: Child, faults: Sequence[str]) -> tuple[_Story, Counter[str]]:
    async with FaultProxy(server.server) as proxy:
        shop.send(
            connection_string=f"type=flash;server={proxy.url};token={server.token};allowinsecure=true",
            control=f"{server.direct}/control",
            life=course.life,
            seconds=course.seconds,
            per_second=course.per_second,
            paid=course.paid,
            every=course.sample_every,
            calm=course.calm,
        )
        struck: Counter[str] = Counter()
        striking = asyncio.create_task(_strike(course, server, proxy, faults, struck))
        try:
            return await _hear(shop, striking), struck
        finally:
            striking.cancel()
            await asyncio.gather(striking, return_exceptions=True)


async def _hear(shop: Child, striking: asyncio.Task[None]) -> _Story:
    """Take down what the shop tells until it is done; nothing goes wrong any more once it has sold."""
    story = _Story()
    while True:
        said = await asyncio.to_thread(shop.hear)
        if "sample" in said:
            story.samples.append(said["sample"])
        elif "heard" in said:
            story.heard[said["heard"]] += 1
        elif "sold" in said:
            striking.cancel()
        else:
            story.counts, story.left = said["done"], said["left"]
            return story


async def _strike(
    course: Course, server: Server, proxy: FaultProxy, faults: Sequence[str], struck: Counter[str]
) -> None:
    """Let something go wrong now and then, for ever."""
    draw = random.Random(2)  # noqa: S311 - which fault comes next; the same in every run
    while True:
        await asyncio.sleep(course.fault_every)
        name = draw.choice(faults)
        struck[name] += 1
        match name:
            case "network: cut":
                proxy.cut()
            case "network: reset":
                proxy.reset()
            case "network: half-open":
                proxy.freeze()
            case _:
                await asyncio.to_thread(post, f"{server.direct}/control/fault", FAULTS[name])


def _slopes(samples: Sequence[Mapping[str, float]], course: Course) -> dict[str, float]:
    """Return by how much each thing grows in an hour, from the warm-up until the load ends."""
    kept = [sample for sample in samples if course.warm_up <= sample["seconds"] <= course.seconds]
    hours = [sample["seconds"] / 3600 for sample in kept]
    return {name: slope(hours, [sample[name] for sample in kept]) for name in HELD}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--per-second", type=float, default=PER_SECOND, help="invoices made in a second")
    chosen = parser.parse_args(arguments)
    figures = measure(Course.lasting(chosen.minutes, chosen.per_second))
    print(render("soak", figures))  # noqa: T201 - a command
    return 0 if figures["lost"] == figures["doubled"] == figures["invented"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
