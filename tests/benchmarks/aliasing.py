"""Several invoices by one document with aliases, or by as many messages: which is faster, where both are allowed.

Flash allows one: a Lightning mutation costs 120 of a document's 200 (flash-server.md 1.4). The sandbox is told to allow
more. It signs each invoice while its client waits, which is most of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child
from tests.benchmarks.rounds import play_rounds, spread
from tests.benchmarks.servers import delayed, sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["COUNTS", "WAYS", "measure"]

COUNTS: Final = (2, 10, 50)
WAYS: Final = ("aliasing", "pipelining")
_COST: Final = 126
"""What one mutation of the document costs: 120, and a point for each field of its answer."""

_TIMES: Final = 4


def measure(*, rounds: int = 5, counts: Sequence[int] = COUNTS, one_way_seconds: float = 0.025) -> dict[str, Any]:
    """Measure both ways on a link that takes its time, so that a round trip more would show."""
    with (
        sandbox("--max-complexity", str(_COST * max(counts))) as near,
        delayed(near, one_way_seconds) as server,
    ):
        where = {"server": server.server, "websocket": server.websocket, "token": server.token}

        def one(cell: tuple[str, int]) -> Mapping[str, Any]:
            way, count = cell
            before = near.process.cpu_seconds
            with Child("tests.benchmarks.aliasing_worker") as worker:
                said = worker.ask(way=way, count=count, times=_TIMES, wallet_id=near.wallet_id, **where)
            server_cpu = (near.process.cpu_seconds - before) * 1e3 / (_TIMES + 1)
            return {**said, "server_cpu": server_cpu}

        found = play_rounds([(way, count) for count in counts for way in WAYS], rounds, one)
    figures = {cell: spread(samples) for cell, samples in found.items()}
    fastest = {min((figures[way, count]["milliseconds"]["median"], way, count) for way in WAYS)[1:] for count in counts}
    return {
        "rounds": rounds,
        "round_trip_seconds": 2 * one_way_seconds,
        "rows": [
            {"way": way, "count": count, **each, "fastest": (way, count) in fastest}
            for (way, count), each in figures.items()
        ],
    }
