"""The host beside LNbits as a server: both make invoices for many at once, over wallets that ask the same responder.

Each server has a process, a SQLite file and a connection to the responder of its own; the client has another process.
Ours runs as it is meant to: the driver checks and journals each invoice, and the host writes what it is for before it
hands it out. The limits on how often strangers may ask are set so high on both sides that they stop nobody.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from tests.benchmarks.answers import MSAT
from tests.benchmarks.children import cpu_seconds, post
from tests.benchmarks.load import load
from tests.benchmarks.rounds import play_rounds, spread
from tests.benchmarks.servers import responder
from tests.lightning_host.lnbits import lnbits_program
from tests.lightning_host.programs import host_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.benchmarks.servers import Server
    from tests.lightning_host.programs import Program

__all__ = ["BEFORE", "LNBITS", "OURS", "WHAT", "measure"]

OURS: Final = "our host"
LNBITS: Final = "LNbits"
WHAT: Final = ("LNURL callback", "invoice by REST")
BEFORE: Final = 5
"""How many invoices are made in each cell before those that count."""

_KEY: Final = "the-key-of-the-shop-in-the-benchmark"
_EXPIRY_SECONDS: Final = 900
_SPARE: Final = 10


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, made again and again with another number.

    Attributes:
        answers: What the JSON of its answer must have.

    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None
    answers: str


def measure(*, lnbits: Path | None, rounds: int = 5, at_once: int = 16, invoices: int = 320) -> dict[str, Any]:
    """Measure each on both servers, interleaved; ours alone where LNbits' environment is not given."""
    names = (OURS, LNBITS) if lnbits else (OURS,)
    cells = list(itertools.product(WHAT, names))
    with ExitStack() as stack:
        cheap = stack.enter_context(responder(len(cells) * rounds * (invoices + BEFORE) + _SPARE))
        servers: dict[str, tuple[Program, Mapping[str, _Request]]] = {OURS: stack.enter_context(_ours(cheap))}
        if lnbits:
            servers[LNBITS] = stack.enter_context(_lnbits(cheap, lnbits))
        numbers = itertools.count()

        def one(cell: tuple[str, str]) -> Mapping[str, Any]:
            what, name = cell
            program, requests = servers[name]
            before = _creations(cheap)
            said = asyncio.run(_ask(requests[what], program, lambda: next(numbers), at_once, invoices))
            return {**said, "creations": _creations(cheap) - before}

        found = {cell: spread(samples) for cell, samples in play_rounds(cells, rounds, one).items()}
    rows = [{"what": what, "way": name, **figures} for (what, name), figures in found.items()]
    return {
        "rounds": rounds,
        "at_once": at_once,
        "invoices": invoices,
        "rows": [{**row, **_ratios(rows, row)} for row in rows],
    }


async def _ask(
    request: _Request, program: Program, number: Callable[[], int], at_once: int, invoices: int
) -> dict[str, Any]:
    """Make the request that often; the CPU is that of the server."""
    assert program.process is not None
    async with aiohttp.ClientSession(headers=request.headers) as session:

        async def ask() -> None:
            query = {} if request.body else {"comment": f"number {number()}"}
            async with session.request(request.method, request.url, json=request.body, params=query) as response:
                answer = await response.json()
            assert response.ok, answer
            assert request.answers in answer

        await load(ask, at_once, requests=BEFORE)
        before = cpu_seconds(program.process.pid)
        sample = await load(ask, at_once, requests=invoices)
        used = cpu_seconds(program.process.pid) - before
    return {**asdict(sample), "cpu": used * 1e6 / invoices, "busy": used * sample.per_second / invoices}


@contextmanager
def _ours(server: Server) -> Iterator[tuple[Program, Mapping[str, _Request]]]:
    """Run the host with the driver on the responder."""
    with TemporaryDirectory() as folder:
        program = host_program(
            Path(folder),
            server.connection_string(),
            FLASH_INVOICE_BUDGET="off",
            LIGHTNING_HOST_API_KEY=_KEY,
            LIGHTNING_HOST_LNURL_ALLOWANCE="999999/60",
            LIGHTNING_HOST_LNURL_CLIENT_ALLOWANCE="999999/60",
        )
        program.command.remove("--verbose")
        with program.running():
            body = {"amount": str(MSAT), "description": "coffee", "expiry": _EXPIRY_SECONDS}
            rest = f"{program.url}/api/v1/stores/shop/lightning/BTC/invoices"
            yield (
                program,
                {
                    WHAT[0]: _callback(f"{program.url}/lnurlp/shop/callback"),
                    WHAT[1]: _Request("POST", rest, {"Authorization": f"token {_KEY}"}, body, "BOLT11"),
                },
            )


@contextmanager
def _lnbits(server: Server, environment: Path) -> Iterator[tuple[Program, Mapping[str, _Request]]]:
    """Run LNbits with its BlinkWallet on the responder, and open an account."""
    with TemporaryDirectory() as folder:
        program = lnbits_program(environment, Path(folder), "", "")
        port = program.command[-1]
        program.command = [str(environment / "bin" / "python"), str(Path(__file__).with_name("lnbits_runner.py")), port]
        program.environment |= {
            "LNBITS_BACKEND_WALLET_CLASS": "BlinkWallet",
            "BLINK_API_ENDPOINT": server.server,
            "BLINK_WS_ENDPOINT": server.websocket,
            "BLINK_TOKEN": "blink_" + "b" * 32,
            "LOGURU_LEVEL": "WARNING",
        }
        with program.running():
            account = post(f"{program.url}/api/v1/account", {"name": "shop"})
            address = account["lightning_address"].partition("@")[0]
            body = {"out": False, "amount": MSAT // 1000, "memo": "coffee", "expiry": _EXPIRY_SECONDS}
            rest = f"{program.url}/api/v1/payments"
            yield (
                program,
                {
                    WHAT[0]: _callback(f"{program.url}/api/v1/lnurl/wallet/{address}/cb"),
                    WHAT[1]: _Request("POST", rest, {"X-Api-Key": account["inkey"]}, body, "bolt11"),
                },
            )


def _callback(url: str) -> _Request:
    return _Request("GET", f"{url}?amount={MSAT}", {}, None, "pr")


def _creations(server: Server) -> int:
    """Return how many invoices the responder has handed out."""
    return sum(
        count for name, count in server.counts()["operations"].items() if name.startswith("ln") and "Create" in name
    )


def _ratios(rows: list[dict[str, Any]], row: Mapping[str, Any]) -> dict[str, float]:
    """Compare with LNbits."""
    theirs = next((each for each in rows if each["way"] == LNBITS and each["what"] == row["what"]), None)
    if theirs is None:
        return {}
    return {f"{name}_of_lnbits": row[name]["median"] / theirs[name]["median"] for name in ("per_second", "p99", "cpu")}
