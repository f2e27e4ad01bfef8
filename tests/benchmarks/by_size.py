"""Takes one measurement in both kinds of database, at several sizes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.support.postgres import PostgresServer, binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["measure_by_size"]


def measure_by_size(
    one: Callable[[str, int, int], Mapping[str, float]],
    *,
    rows: Sequence[int],
    rounds: int,
    server: PostgresServer | None = None,
) -> dict[str, Any]:
    """Return the milliseconds of each call, by kind of database, in the order of the sizes.

    Args:
        one: Fills the empty database of a URL with this number of rows, and measures each call this many times.
        rows: The sizes.
        rounds: How often each call is made.
        server: A PostgreSQL that runs already; one is started otherwise.

    Raises:
        RuntimeError: PostgreSQL is not installed.

    """
    if server is None:
        if (folder := binaries()) is None:
            raise RuntimeError("PostgreSQL's binaries are not there (Debian: apt-get install postgresql)")
        with PostgresServer(folder) as started:
            return measure_by_size(one, rows=rows, rounds=rounds, server=started)
    found: dict[str, dict[str, list[float]]] = {}
    with TemporaryDirectory() as files:
        for size in rows:
            places = {"SQLite": f"sqlite:///{Path(files) / str(size)}", "PostgreSQL": server.new_database()}
            for database, url in places.items():
                for call, taken in one(url, size, rounds).items():
                    found.setdefault(call, {}).setdefault(database, []).append(taken)
    calls = [{"call": call, "milliseconds": taken} for call, taken in found.items()]
    return {"rounds": rounds, "sizes": list(rows), "rows": calls}
