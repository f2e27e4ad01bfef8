"""All benchmarks but the long soak, one after the other: `python -m tests.benchmarks`.

Writes docs/performance.json, the drawings beside it, and the tables in docs/performance.md between their markers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.benchmarks import (
    accounts,
    aliasing,
    beside_lnbits,
    create,
    execute,
    growth,
    host,
    host_lists,
    imports,
    journal_size,
    latency,
    replicas,
    soak,
    told,
)
from tests.benchmarks.plots import draw
from tests.benchmarks.report import render
from tests.lightning_host.lnbits import install_lnbits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["BENCHMARKS", "QUICK", "fill_in", "main", "write"]

DOCS: Final = Path(__file__).parents[2] / "docs"
_PACKAGES: Final = ("gql", "websockets", "aiohttp", "httpx", "msgspec", "bolt11", "sqlalchemy", "psycopg", "uvloop")


def _create(**options: Any) -> dict[str, Any]:
    return create.measure(lnbits=_lnbits(), **options)


def _beside_lnbits(**options: Any) -> dict[str, Any]:
    return beside_lnbits.measure(lnbits=_lnbits(), **options)


def _lnbits() -> Path | None:
    """Return LNbits' environment, made first if need be; where it can't be made, the others are measured alone."""
    try:
        return install_lnbits()
    except pytest.skip.Exception as why:
        _say(f"without LNbits: {why}")
        return None


BENCHMARKS: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "execute": execute.measure,
    "create": _create,
    "latency": latency.measure,
    "accounts": accounts.measure,
    "pending": growth.measure,
    "told": told.measure_all,
    "aliasing": aliasing.measure,
    "imports": imports.measure,
    "journal": journal_size.measure,
    "host": host.measure,
    "lnbits": _beside_lnbits,
    "lists": host_lists.measure,
    "replicas": replicas.measure,
}
QUICK: Final[Mapping[str, Mapping[str, Any]]] = {
    "execute": {"rounds": 1, "seconds": 0.3},
    "create": {"rounds": 1, "at_once": {1: 30, 64: 128}},
    "latency": {"rounds": 1},
    "accounts": {"rounds": 1, "accounts": (1, 100), "idle_seconds": 2.0},
    "pending": {"rounds": 1, "pending": (1_000, 10_000)},
    "told": {"invoices": 12, "life_seconds": 10.0},
    "aliasing": {"rounds": 1, "counts": (2, 10)},
    "imports": {"rounds": 3},
    "journal": {"rounds": 3, "rows": (1_000, 20_000)},
    "host": {"rounds": 1, "invoices": 100},
    "lnbits": {"rounds": 1, "invoices": 96},
    "lists": {"rounds": 3, "rows": (2_000, 20_000)},
    "replicas": {"rounds": 1, "processes": (1, 2), "seconds": 0.5},
}
"""How each is measured with --quick: to see that it works, and about what it says."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=[*BENCHMARKS, "soak"], help="this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few rounds, and nothing is written unless --docs says so")
    parser.add_argument("--docs", type=Path, help="where to write; docs/ by default, nowhere with --quick")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long --only soak takes")
    chosen = parser.parse_args(arguments)
    folder = chosen.docs or (None if chosen.quick else DOCS)
    for name in chosen.only or BENCHMARKS:
        began = time.monotonic()
        if name == "soak":
            figures = soak.measure(soak.Course.lasting(chosen.minutes))
        else:
            figures = BENCHMARKS[name](**(QUICK[name] if chosen.quick else {}))
        took = time.monotonic() - began
        _say(f"\n{render(name, figures)}\n\n{name}: {took:.0f} s")
        if folder is not None:
            write(folder, {name: {**figures, "taken": _circumstances(took)}})
    return 0


def write(folder: Path, measured: Mapping[str, Any]) -> None:
    """Put figures into the JSON file, and draw and fill in again all that it has by now."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "performance.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known.update(measured)
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    for name, drawing in draw(known).items():
        (folder / name).write_text(drawing)
    page = folder / "performance.md"
    if page.exists():
        page.write_text(fill_in(page.read_text(), known))


def fill_in(page: str, figures: Mapping[str, Any]) -> str:
    """Replace what stands between the markers of each benchmark by its tables."""
    for section in figures:
        begin, end = f"<!-- begin {section} -->\n", f"<!-- end {section} -->"
        before, found, rest = page.partition(begin)
        if found:
            after = rest.partition(end)[2]
            taken = _sentence(figures[section]["taken"])
            page = f"{before}{begin}{render(section, figures[section])}\n\n{taken}\n{end}{after}"
    return page


def _sentence(taken: Mapping[str, Any]) -> str:
    return f"*{taken['date']}, Python {taken['python']}, {taken['cpus']} CPUs ({taken['cpu']}), load {taken['load']}.*"


def _circumstances(seconds: float) -> dict[str, Any]:
    """Tell when and where figures were taken; the load is that of the last minutes, of this and all else."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _say(words: str) -> None:
    print(words, file=sys.stdout, flush=True)  # noqa: T201 - a command
