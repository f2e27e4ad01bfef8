"""Where the time of one warm `create_invoice` goes.

`python -m tests.benchmarks.create_breakdown` prints, for a server that executes on the socket and for one that
declines: how long one takes with a journal in a file and a budget, how much of that the journal and the budget add (by
comparison with the same without them), and which part of the code keeps the processor busy meanwhile (by `cProfile`, in
the thread of the event loop). "waiting" is what the loop sleeps: for the server, and for the journal's own thread.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import os
import pstats
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from connection_strings import LightMoney, LightningClientFactory
from tests.benchmarks.answers import MSAT
from tests.benchmarks.servers import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.benchmarks.servers import Server

__all__ = ["KINDS", "PARTS", "measure"]

KINDS: Final = ("accept", "decline")
"""What the server does with mutations on the socket."""

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "waiting": ("<method 'poll' of 'select.epoll'", "<built-in method select.", "<method 'control' of 'select.kqueue'"),
    "journal": ("/flash_driver/journal/", "/sqlalchemy/", "/aiosqlite/", "/sqlite3/", "sqlite3."),
    "budget": ("/flash_driver/invoices/budget",),
    "BOLT11": ("/bolt11/", "/coincurve/"),
    "socket": ("/flash_driver/transports/", "/websockets/", "/aiohttp/", "/ssl.py", "/gql/", "/graphql/", "/httpx/"),
    "loop": ("/asyncio/", "/selectors.py"),
    "the driver's other code": ("/flash_driver/", "/connection_strings/"),
}
"""The first part that fits counts; what fits none is counted for its caller, at last as "other"."""

_WARM: Final = 5
_EXPIRY: Final = timedelta(minutes=1)
_AMOUNT: Final = LightMoney.from_msat(MSAT)


def measure(*, kinds: Iterable[str] = KINDS, number: int = 40) -> dict[str, Any]:
    """Measure some kinds of server; times are milliseconds for one invoice."""
    found: dict[str, Any] = {}
    for kind in kinds:
        with sandbox("--ws-mutations", kind) as server, TemporaryDirectory() as folder:
            file = f"sqlite+aiosqlite:///{folder}/journal.sqlite3"
            full, profile = _run(server, file, "9999/120", number, profiled=True)
            without_budget, _ = _run(server, f"{file}2", "off", number)
            bare, _ = _run(server, "memory:", "off", number)
        found[kind] = {
            "whole": round(full, 2),
            "of which the budget": round(full - without_budget, 2),
            "of which the journal": round(without_budget - bare, 2),
            "profile": profile,
        }
    return found


def _run(
    server: Server, journal: str, budget: str, number: int, *, profiled: bool = False
) -> tuple[float, dict[str, float]]:
    with _settings(FLASH_JOURNAL_URL=journal, FLASH_INVOICE_BUDGET=budget):
        return asyncio.run(_create(server.connection_string(), number, profiled=profiled))


async def _create(connection_string: str, number: int, *, profiled: bool) -> tuple[float, dict[str, float]]:
    """Return the median of as many, in ms, and perhaps where the same number spent its time."""
    async with LightningClientFactory().create(connection_string) as client:
        for _ in range(_WARM):
            await client.create_invoice(_AMOUNT, "coffee", _EXPIRY)
        taken = []
        for _ in range(number):
            begun = perf_counter()
            await client.create_invoice(_AMOUNT, "coffee", _EXPIRY)
            taken.append((perf_counter() - begun) * 1000)
        if not profiled:
            return median(taken), {}
        with cProfile.Profile() as profile:
            for _ in range(number):
                await client.create_invoice(_AMOUNT, "coffee", _EXPIRY)
    return median(taken), {part: round(seconds * 1000 / number, 3) for part, seconds in _shares(profile).items()}


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    """Sum up what each part of the code took itself, in seconds; a function of none counts for its callers."""
    functions = cast("Any", pstats.Stats(profile)).stats
    shares: Counter[str] = Counter()
    for function, (_, _, own, _, callers) in functions.items():
        part = _part(function)
        if part is not None:
            shares[part] += own
            continue
        for caller, (_, _, seconds, _) in callers.items():
            shares[_part(caller) or "other"] += seconds
    return {part: shares[part] for part in (*PARTS, "other")}


def _part(function: tuple[str, int, str]) -> str | None:
    name = function[2] if function[0] == "~" else function[0]
    return next((part for part, words in PARTS.items() if any(word in name for word in words)), None)


@contextmanager
def _settings(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    print()  # noqa: T201 - the program's output
