"""How long importing takes beyond starting Python: fresh processes, interleaved."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.rounds import play_rounds, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MODULES", "measure"]

BARE: Final = "bare Python"
MODULES: Final[Mapping[str, str]] = {
    BARE: "pass",
    "connection_strings": "import connection_strings",
    "flash_driver": "import flash_driver",
    "flash_driver.client": "import flash_driver.client",
    "a client made": "import connection_strings as c; c.LightningClientFactory().create('type=flash;token=ory_st_x')",
    "gql, aiohttp and httpx": "import gql, aiohttp, httpx",
}
"""What is imported, and for comparison what a host pays that uses gql itself."""
_REPORT: Final = (
    "; import sys, json; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules}"
    " & {'gql', 'httpx', 'aiohttp', 'websockets', 'pydantic', 'sqlalchemy', 'bolt11', 'msgspec'})))"
)
_ROOT: Final = Path(__file__).parents[2]


def measure(*, rounds: int = 11, names: Sequence[str] = tuple(MODULES)) -> dict[str, Any]:
    """Measure each in fresh processes, with compiled bytecode and warm file caches."""
    loaded = {name: json.loads(_run(MODULES[name] + _REPORT)) for name in names}
    found = play_rounds(names, rounds, lambda name: {"milliseconds": _time(MODULES[name])})
    figures = {name: spread(samples) for name, samples in found.items()}
    bare = figures[BARE]["milliseconds"]["median"]
    rows = [
        {"what": name, **figures[name], "beyond": figures[name]["milliseconds"]["median"] - bare, "loads": loaded[name]}
        for name in names
    ]
    return {"rounds": rounds, "rows": rows}


def _time(code: str) -> float:
    began = time.perf_counter()
    _run(code)
    return (time.perf_counter() - began) * 1000


def _run(code: str) -> bytes:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=_ROOT).stdout
