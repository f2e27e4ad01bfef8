"""What moving one GraphQL operation costs, by each way there is: throughput, latency, CPU.

The operation is the driver's own `lnUsdInvoiceCreate`; the server is the responder, in a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child
from tests.benchmarks.rounds import play_rounds, spread
from tests.benchmarks.servers import responder
from tests.benchmarks.ways import FLOOR, WAYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["IN_FLIGHT", "STOCK", "measure"]

IN_FLIGHT: Final = (1, 64, 512)
_INVOICES: Final = 8
STOCK: Final = "gql websockets"


def measure(
    *, rounds: int = 5, seconds: float = 0.7, ways: Sequence[str] = tuple(WAYS), in_flight: Sequence[int] = IN_FLIGHT
) -> dict[str, Any]:
    """Measure each way in a fresh process per round, at each number in flight."""
    with responder(_INVOICES, cycle=True) as server:
        where = {"server": server.server, "websocket": server.websocket, "token": server.token}

        def one_way(way: str) -> Mapping[str, Any]:
            figures: dict[str, Any] = {}
            with Child("tests.benchmarks.execute_worker") as worker:
                for number in in_flight:
                    server.rewind()
                    before = server.process.cpu_seconds
                    said = worker.ask(way=way, in_flight=number, seconds=seconds, **where)
                    said["server_cpu"] = (server.process.cpu_seconds - before) / said["requests"] * 1e6
                    said["asked"] = server.counts()["operations"]["lnUsdInvoiceCreate"]
                    figures |= {f"{name} {number}": value for name, value in said.items()}
            return figures

        found = {way: spread(samples) for way, samples in play_rounds(ways, rounds, one_way).items()}
    rows = [
        {"way": way, "in_flight": number, **_of(figures, number), **_ratios(found, way, number)}
        for number in in_flight
        for way, figures in found.items()
    ]
    return {"rounds": rounds, "seconds": seconds, "rows": rows}


def _of(figures: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the figures at one number in flight, under their own names."""
    return {name.rpartition(" ")[0]: value for name, value in figures.items() if name.endswith(f" {number}")}


def _ratios(found: Mapping[str, Any], way: str, number: int) -> dict[str, float]:
    """Compare with the floor and with what is commonly used."""
    mine, ratios = _of(found[way], number), {}
    for name, other in (("floor", FLOOR), ("stock", STOCK)):
        if other in found:
            theirs = _of(found[other], number)
            ratios[f"throughput_of_{name}"] = mine["per_second"]["median"] / theirs["per_second"]["median"]
            ratios[f"cpu_of_{name}"] = mine["cpu"]["median"] / theirs["cpu"]["median"]
    return ratios
