"""How far one call goes through the code: calls, modules, and changes of module of the three ways that matter.

`python -m tests.benchmarks.call_paths` prints the counts of one warm `create_invoice`, of one settlement on its way to
the listener, and of one `pay`. Only functions of the driver and of the contract count, in the thread of the event loop.
A reader who follows such a call with a debugger enters as many functions, and turns to another file as often.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightMoney, LightningClientFactory, PayResult
from tests.benchmarks.answers import MSAT
from tests.benchmarks.children import post
from tests.benchmarks.servers import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["CallPath", "measure", "recording"]

_ROOT: Final = Path(__file__).parents[2]
_COUNTED: Final = (str(_ROOT / "flash_driver"), str(_ROOT / "connection_strings"))
_AMOUNT: Final = LightMoney.from_msat(MSAT)
_EXPIRY: Final = timedelta(minutes=1)
_WARM: Final = 3
"""How many come first and are not counted: they learn the wallet, the rate, and what the server can do."""
_COUNTED_TIMES: Final = 4
"""How often each way is counted; the shortest is told, beside which nothing else ran."""
_SETTLED_SECONDS: Final = 10.0


@dataclass(slots=True)
class CallPath:
    """What was entered.

    Attributes:
        calls: Functions that were entered; a coroutine counts once for each time that it goes on.
        changes: How often a function of another module was entered than the one before.
        modules: The modules that were entered, in the order of the first time.

    """

    calls: int = 0
    changes: int = 0
    modules: dict[str, int] = field(default_factory=dict)
    _last: str = ""

    def enter(self, filename: str) -> None:
        """Count a function of a file."""
        name = str(Path(filename).relative_to(_ROOT))
        self.calls += 1
        self.changes += name != self._last
        self.modules[name] = self.modules.get(name, 0) + 1
        self._last = name


@contextmanager
def recording() -> Iterator[CallPath]:
    """Record what this thread enters while the block runs."""
    path = CallPath()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_COUNTED):
            path.enter(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield path
    finally:
        sys.setprofile(before)


def measure() -> dict[str, Any]:
    """Count the three ways on a sandbox that executes on the socket, with a journal in a file of its own."""
    with sandbox("--ws-mutations", "accept") as server:
        found = asyncio.run(_record(server.connection_string(), f"{server.direct}/control"))
    return {
        way: {"calls": path.calls, "modules": len(path.modules), "changes": path.changes, "entered": [*path.modules]}
        for way, path in found.items()
    }


async def _record(connection_string: str, control: str) -> dict[str, CallPath]:
    paths: dict[str, list[CallPath]] = {"create_invoice": [], "settlement": [], "pay": []}
    async with LightningClientFactory().create(connection_string) as client:
        async with await client.listen() as listener:
            for _ in range(_WARM + _COUNTED_TIMES):
                with _counted_into(paths["create_invoice"]):
                    invoice = await client.create_invoice(_AMOUNT, "coffee", _EXPIRY)
                await asyncio.sleep(0.2)  # what follows a creation is over
                paid_by = asyncio.to_thread(post, f"{control}/pay", {"payment_request": invoice.bolt11})
                paying = asyncio.create_task(paid_by)
                with _counted_into(paths["settlement"]):
                    heard = await asyncio.wait_for(listener.wait_invoice(), _SETTLED_SECONDS)
                await paying
                assert heard.payment_hash == invoice.payment_hash, "another invoice was settled"
        for _ in range(_WARM + _COUNTED_TIMES):
            foreign = await asyncio.to_thread(post, f"{control}/foreign_invoice", {"msat": MSAT})
            with _counted_into(paths["pay"]):
                paid = await client.pay(foreign["payment_request"])
            assert paid.result is PayResult.OK, "the sandbox pays"
    return {way: min(taken[_WARM:], key=lambda path: path.calls) for way, taken in paths.items()}


@contextmanager
def _counted_into(paths: list[CallPath]) -> Iterator[None]:
    """Record one time that a way is gone; what happened to run beside it is left out by taking the shortest."""
    with recording() as path:
        yield
    paths.append(path)


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    print()  # noqa: T201 - the program's output
