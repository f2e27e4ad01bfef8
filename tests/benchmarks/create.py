"""What a complete invoice costs: asked for, checked, journalled; and what LNbits' BlinkWallet takes for the same.

All talk to the responder, which hands out BOLT11s that were signed before, so that their own work shows; the driver
does its work against the sandbox as well, which signs each invoice while its client waits.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.children import Child
from tests.benchmarks.rounds import play_rounds, spread
from tests.benchmarks.servers import responder, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.benchmarks.servers import Server

__all__ = ["AT_ONCE", "BLINK", "OURS", "measure"]

AT_ONCE: Final[Mapping[int, int]] = {1: 100, 16: 320, 64: 512}
"""How many at once, and how many in all."""
OURS: Final[Mapping[str, str]] = {"our socket": "websocket", "our http": "http", "our graphql": "graphql"}
BLINK: Final = "LNbits BlinkWallet"
BLINK_DECODING: Final = "LNbits BlinkWallet, and decoding"
"""The same with what LNbits does next; without it the wallet hands on whatever the server sent."""
SANDBOX: Final = "our socket, sandbox"
_BLINK_FIELD: Final = "lnInvoiceCreateOnBehalfOfRecipient"
_BUDGET: Final = "9999/120"
"""Counted as the default of 20 in 120 s is; a run makes more than 20."""
_SANDBOX_PART: Final = 4
_SPARE: Final = 20


def measure(
    *,
    rounds: int = 5,
    lnbits: Path | None = None,
    at_once: Mapping[int, int] = AT_ONCE,
    ways: Sequence[str] = (*OURS, SANDBOX),
) -> dict[str, Any]:
    """Measure in a fresh process each; with LNbits if its environment is given."""
    names = [*ways, *([BLINK, BLINK_DECODING] if lnbits else [])]
    cells = [(name, number) for name in names for number in at_once]
    with ExitStack() as stack:
        cheap = stack.enter_context(responder(max(at_once.values()) + _SPARE))
        real = stack.enter_context(sandbox()) if SANDBOX in ways else cheap

        def one(cell: tuple[str, int]) -> Mapping[str, Any]:
            name, number = cell
            if name == SANDBOX:
                return _ours(real, "websocket", number, max(number, at_once[number] // _SANDBOX_PART))
            cheap.rewind()
            if lnbits is not None and name in (BLINK, BLINK_DECODING):
                said = _blink(lnbits, cheap, number, at_once[number], *(["decode"] if name == BLINK_DECODING else []))
            else:
                said = _ours(cheap, OURS[name], number, at_once[number])
            asked = cheap.counts()["operations"]
            return {**said, "creations": asked.get("lnUsdInvoiceCreate", asked.get(_BLINK_FIELD, 0))}

        found = {cell: spread(samples) for cell, samples in play_rounds(cells, rounds, one).items()}
    rows = [{"way": name, "at_once": number, **figures} for (name, number), figures in found.items()]
    return {"rounds": rounds, "invoices": dict(at_once), "rows": [{**row, **_ratios(rows, row)} for row in rows]}


def _ours(server: Server, transport: str, at_once: int, invoices: int) -> dict[str, Any]:
    """Create with the driver: journal in a fresh SQLite file, all checks on, a budget of invoices that refuses none."""
    with TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/journal.sqlite3"
        environment = {"FLASH_JOURNAL_URL": url, "FLASH_INVOICE_BUDGET": _BUDGET}
        with Child("tests.benchmarks.create_worker", environment=environment) as worker:
            string = server.connection_string(transports=transport)
            return worker.ask(connection_string=string, at_once=at_once, invoices=invoices)


def _blink(lnbits: Path, server: Server, at_once: int, invoices: int, *more: str) -> dict[str, Any]:
    with _blink_settings(server) as environment:
        script = str(Path(__file__).with_name("blink_runner.py"))
        python = lnbits / "bin" / "python"
        with Child(script, str(invoices), str(at_once), *more, environment=environment, program=python) as runner:
            return {**runner.hear(), "journalled": 0}


@contextmanager
def _blink_settings(server: Server) -> Iterator[dict[str, str]]:
    with TemporaryDirectory() as folder:
        yield {
            "LNBITS_DATA_FOLDER": folder,
            "BLINK_API_ENDPOINT": server.server,
            "BLINK_WS_ENDPOINT": server.websocket,
            "BLINK_TOKEN": "blink_" + "b" * 32,
            "LNBITS_ADMIN_UI": "false",
            "LOGURU_LEVEL": "WARNING",  # else it begins with a line for each of its settings
        }


def _ratios(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> dict[str, float]:
    """Compare with BlinkWallet at the same number at once."""
    theirs = next((each for each in rows if each["way"] == BLINK and each["at_once"] == row["at_once"]), None)
    if theirs is None:
        return {}
    return {
        "throughput_of_blink": row["per_second"]["median"] / theirs["per_second"]["median"],
        "cpu_of_blink": row["cpu"]["median"] / theirs["cpu"]["median"],
    }
