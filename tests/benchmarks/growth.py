"""What 1,000 to 100,000 pending invoices cost one watcher, each number in a fresh process; see `pending.py`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child, obey, tell
from tests.benchmarks.pending import measure as measure_pending
from tests.benchmarks.rounds import play_rounds, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PENDING", "measure"]

PENDING: Final = (1_000, 10_000, 100_000)
_WATCH_SECONDS: Final = 1.0


def measure(*, pending: Sequence[int] = PENDING, rounds: int = 3) -> dict[str, Any]:
    """Measure each number that many times."""

    def one(number: int) -> Mapping[str, Any]:
        with Child("tests.benchmarks.growth") as worker:
            return worker.ask(invoices=number)

    found = play_rounds(pending, rounds, one)
    return {"rounds": rounds, "rows": [{"pending": number, **spread(samples)} for number, samples in found.items()]}


async def _carry_out(order: Mapping[str, Any]) -> None:
    tell(**asdict(await measure_pending(order["invoices"], _WATCH_SECONDS)))


if __name__ == "__main__":
    obey(_carry_out)
