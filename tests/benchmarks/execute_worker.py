"""Measures one way to move an operation, in a process of its own; see `execute.py`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import obey, tell
from tests.benchmarks.load import load
from tests.benchmarks.ways import WAYS, Address

if TYPE_CHECKING:
    from collections.abc import Mapping

_WARM_UP: Final = 0.15


async def carry_out(order: Mapping[str, Any]) -> None:
    """Measure one way with that many in flight for that many seconds, after a short warm-up."""
    address = Address(order["server"], order["websocket"], order["token"])
    async with WAYS[order["way"]](address) as call:
        await load(call, order["in_flight"], seconds=_WARM_UP)
        sample = await load(call, order["in_flight"], seconds=order["seconds"])
    tell(**asdict(sample))


if __name__ == "__main__":
    obey(carry_out)
