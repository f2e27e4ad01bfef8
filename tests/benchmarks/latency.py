"""How long a host waits over a link with a round trip of 100 ms, told in round trips.

A worker process lives for one round. Its first invoice is *cold, first*: what is loaded with the first request is
loaded meanwhile. The next client begins without a connection, too, and that is *cold*. A *next process*
finds the journal of one before it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child
from tests.benchmarks.rounds import play_rounds, spread
from tests.benchmarks.servers import delayed, responder, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.benchmarks.servers import Server

__all__ = ["BELIEVE", "MANY", "NEXT", "ONE_WAY_SECONDS", "SETTLE", "STEPS", "measure"]

ONE_WAY_SECONDS: Final = 0.05
MANY: Final = 100
STEPS: Final = ("cold, first", "cold", "warm", "many")
SETTLE: Final = "settle"
NEXT: Final = "next process"
BELIEVE: Final = "settle, believed"
_PROCESSES: Final[tuple[tuple[tuple[str, ...], dict[str, str]], ...]] = (
    (STEPS, {}),
    ((SETTLE,), {}),
    ((BELIEVE,), {"FLASH_SETTLE_ON": "event"}),
)
"""The steps that a process takes, and its settings."""
_WITH_SANDBOX: Final = ("warm", "many")
_SPARE: Final = 20


def measure(
    *, rounds: int = 5, one_way_seconds: float = ONE_WAY_SECONDS, many: int = MANY, sandboxed: bool = True
) -> dict[str, Any]:
    """Measure against the responder; against the sandbox as well, which has to sign each invoice first."""
    with ExitStack() as stack:
        near = {"responder": stack.enter_context(responder(many + _SPARE))}
        if sandboxed:
            near["sandbox"] = stack.enter_context(sandbox())
        far = {name: stack.enter_context(delayed(server, one_way_seconds)) for name, server in near.items()}
        runs = play_rounds(list(far), rounds, lambda name: _round(far[name], name, many))
    round_trip = 2 * one_way_seconds
    rows = [
        {
            "server": name,
            "what": what,
            **spread([{"round_trips": sample[what]["seconds"] / round_trip} for sample in samples]),
            "seen": samples[0][what]["seen"],
        }
        for name, samples in runs.items()
        for what in samples[0]
    ]
    return {"rounds": rounds, "round_trip_seconds": round_trip, "many": many, "rows": rows}


def _round(server: Server, name: str, many: int) -> dict[str, Any]:
    """Take every step once; those that belong together in one process, with one journal."""
    if name == "sandbox":
        with _worker() as worker:
            return {what: {"seconds": _take(worker, server, what, many), "seen": None} for what in _WITH_SANDBOX}
    server.rewind()
    found: dict[str, Any] = {}
    for whats, environment in _PROCESSES:
        with _worker(environment) as worker:
            for what in whats:
                found[what] = _observed(worker, server, what, many)
    with TemporaryDirectory() as folder:
        with _process(folder) as worker:
            _take(worker, server, "cold", many)
        with _process(folder) as worker:
            found[NEXT] = _observed(worker, server, "cold", many)
    return found


def _observed(worker: Child, server: Server, what: str, many: int) -> dict[str, Any]:
    """Take a step, and note what reached the server meanwhile."""
    ready = worker.ask(**_order(server, what, many))
    before = _seen(server)
    seconds = _finish(worker, server, ready)
    return {"seconds": seconds, "seen": dict(_seen(server) - before)}


@contextmanager
def _worker(settings: Mapping[str, str] | None = None) -> Iterator[Child]:
    with TemporaryDirectory() as folder, _process(folder, settings) as worker:
        yield worker


@contextmanager
def _process(folder: str, settings: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Begin a process with the journal in a folder."""
    url = f"sqlite+aiosqlite:///{folder}/journal.sqlite3"
    environment = {"FLASH_JOURNAL_URL": url, "FLASH_INVOICE_BUDGET": "off", **(settings or {})}
    with Child("tests.benchmarks.latency_worker", environment=environment) as worker:
        yield worker


def _order(server: Server, what: str, many: int) -> dict[str, Any]:
    return {"connection_string": server.connection_string(), "what": what.partition(",")[0], "count": many}


def _take(worker: Child, server: Server, what: str, many: int) -> float:
    return _finish(worker, server, worker.ask(**_order(server, what, many)))


def _finish(worker: Child, server: Server, ready: Mapping[str, Any]) -> float:
    """Give the word, and return how many seconds it took."""
    if "payment_hash" not in ready:
        return float(worker.ask()["seconds"])
    told_at = server.settle(ready["payment_hash"])
    heard = worker.hear()
    if heard["payment_hash"] != ready["payment_hash"]:
        raise AssertionError("another invoice was heard to be paid")
    return float(heard["at"]) - told_at


def _seen(server: Server) -> Counter[str]:
    counts = server.counts()
    return Counter({**counts["operations"], "connections": counts["connections"], "posts": counts["posts"]})
