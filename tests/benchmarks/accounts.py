"""What an account costs that listens and has nothing to do: memory and CPU of 1 to 1,000 of them in one process.

Each has its own token, so its own socket, subscription and watcher. The server is the responder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child
from tests.benchmarks.rounds import play_rounds, spread
from tests.benchmarks.servers import responder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ACCOUNTS", "measure"]

ACCOUNTS: Final = (1, 10, 100, 1000)


def measure(*, accounts: Sequence[int] = ACCOUNTS, rounds: int = 3, idle_seconds: float = 11.0) -> dict[str, Any]:
    """Measure each number in a fresh process; idle for longer than a socket goes without a ping."""
    with responder(1) as server:
        string = f"type=flash;server={server.server};allowinsecure=true"

        def one(number: int) -> Mapping[str, Any]:
            with Child("tests.benchmarks.accounts_worker", environment={"FLASH_JOURNAL_URL": "memory:"}) as worker:
                said = worker.ask(string=string, accounts=number, idle_seconds=idle_seconds)
                sockets = server.counts()["sockets"]
                worker.send()
                return {**said, "sockets": sockets}

        found = play_rounds(accounts, rounds, one)
    return {
        "rounds": rounds,
        "idle_seconds": idle_seconds,
        "rows": [{"accounts": number, **spread(samples)} for number, samples in found.items()],
    }
