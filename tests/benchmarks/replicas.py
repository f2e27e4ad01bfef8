"""What several processes do on one PostgreSQL: invoices and settlements a second, notifications, connections.

Each process is a replica: it keeps invoices in the journal, settles them, and listens. They share one account, as the
replicas of a shop do, or have an account each, as hosts would among which the accounts are divided. No server of Flash
takes part, and no budget: the journal alone is measured, with PostgreSQL waiting for its disk.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child
from tests.benchmarks.rounds import play_rounds, spread
from tests.support.postgres import PostgresServer, binaries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PROCESSES", "measure", "measure_with"]

PROCESSES: Final = (1, 2, 4, 8)
_KINDS: Final = ("one account", "an account each")
_CONNECTIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'flash-driver'"


def measure(*, processes: Sequence[int] = PROCESSES, rounds: int = 3, seconds: float = 1.5) -> dict[str, Any]:
    """Measure each number of processes; `seconds` are those of making and of settling."""
    if (folder := binaries()) is None:
        raise RuntimeError("PostgreSQL's binaries are not there (Debian: apt-get install postgresql)")
    with PostgresServer(folder, durable=True) as server:
        return measure_with(server, processes=processes, rounds=rounds, seconds=seconds)


def measure_with(
    server: PostgresServer, *, processes: Sequence[int], rounds: int, seconds: float, at_once: int = 8
) -> dict[str, Any]:
    """Measure with a server that runs already."""
    ways = [(kind, number) for kind in _KINDS for number in processes]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Child("tests.benchmarks.replicas_worker")) for _ in range(max(processes, default=0))
        ]
        found = play_rounds(ways, rounds, lambda way: _one(server, workers[: way[1]], way[0], seconds, at_once))
    rows = [{"accounts": kind, "processes": number, **spread(samples)} for (kind, number), samples in found.items()]
    return {"rounds": rounds, "seconds": seconds, "at_once": at_once, "rows": rows}


def _one(
    server: PostgresServer, workers: Sequence[Child], kind: str, seconds: float, at_once: int
) -> Mapping[str, Any]:
    """Let some processes make invoices, then settle them, and wait until every listener was told."""
    url = server.new_database()
    for place, worker in enumerate(workers):
        account = "server shared" if kind == _KINDS[0] else f"server {place}"
        worker.send(url=url, account=account, at_once=at_once)
    for worker in workers:
        worker.hear()
    for worker in workers:
        worker.send(seconds=seconds)
    made = [worker.hear() for worker in workers]
    connections = int(server.sql(_CONNECTIONS.format(url.partition("@/")[2].partition("?")[0]), "postgres"))
    for worker in workers:
        worker.send(seconds=seconds)
    settled = [worker.hear() for worker in workers]
    in_all = sum(said["count"] for said in settled)
    for worker, said in zip(workers, settled, strict=True):
        worker.send(expected=in_all if kind == _KINDS[0] else said["count"])
    told = [worker.hear() for worker in workers]
    return {
        "made_per_second": sum(said["count"] / said["seconds"] for said in made),
        "settled_per_second": sum(said["count"] / said["seconds"] for said in settled),
        "told_after_seconds": max(said["seconds"] for said in told),
        "notifications_each": sum(said["notifications"] for said in told)
        / (in_all + sum(said["count"] for said in made)),
        "connections": float(connections),
    }
