"""What a person waits for at the host: an invoice while 16 others ask, a settlement among 400, its webhook.

The wallet is one in memory, so these are the host's own costs: HTTP, its rows, its database. Client, host and receiver
share one process and its event loop, uvloop's as for the command, and PostgreSQL one machine with them.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from lightning_host.allowance import Allowance
from lightning_host.server.event_loop import new_event_loop
from tests.lightning_host.fake_driver import FakeNode
from tests.lightning_host.hosts import API_KEY, PASSWORD, HostBench
from tests.support.postgres import PostgresServer, binaries
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.lightning_host.hosts import RunningHost

__all__ = ["measure", "measure_with"]

_AT_ONCE: Final = 16
_NO_LIMIT: Final = Allowance(times=1_000_000, seconds=1)
_KEY: Final = {"Authorization": f"token {API_KEY}"}


def measure(*, rounds: int = 5, invoices: int = 400) -> dict[str, Any]:
    """Measure each on both databases, interleaved, this many times; the figures are medians of the rounds."""
    if (folder := binaries()) is None:
        raise RuntimeError("PostgreSQL's binaries are not there (Debian: apt-get install postgresql)")
    with PostgresServer(folder) as server:
        return measure_with(server, rounds=rounds, invoices=invoices)


def measure_with(server: PostgresServer, *, rounds: int, invoices: int) -> dict[str, Any]:
    """Measure with a server that runs already."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for number, (database, on_server) in itertools.product(range(rounds), (("SQLite", False), ("PostgreSQL", True))):
        url = server.new_database() if on_server else None
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            measured = runner.run(_round(f"{database} {number}", url, invoices))
        for what, figures in measured.items():
            for figure, value in figures.items():
                found.setdefault((database, what), {}).setdefault(figure, []).append(value)
    rows = [
        {"database": database, "what": what, **{name: statistics.median(values) for name, values in figures.items()}}
        for (database, what), figures in found.items()
    ]
    return {"rounds": rounds, "at_once": _AT_ONCE, "invoices": invoices, "rows": rows}


async def _round(name: str, url: str | None, invoices: int) -> dict[str, dict[str, float]]:
    node = FakeNode.named(name)
    async with AsyncExitStack() as stack, Receiver.start() as receiver:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        host = await HostBench(stack, folder).host(
            node,
            database=url,
            lnurl_allowance=_NO_LIMIT,
            lnurl_client_allowance=None,
            webhook_private_addresses=True,
        )
        found = {
            "LNURL callback": await _many(lambda number: _callback(host, number), invoices),
            "Greenfield invoice": await _many(lambda number: _greenfield(host, number), invoices),
            "settlement told": await _settle(host, node, invoices),
            "webhook told": await _tell(host, node, receiver, invoices),
        }
    FakeNode.nodes.clear()
    return found


async def _callback(host: RunningHost, number: int) -> None:
    status, answer = await host.get(f"/lnurlp/shop/callback?amount={(number + 1) * 1_000}")
    assert (status, "pr" in answer) == (200, True), answer


async def _greenfield(host: RunningHost, number: int) -> None:
    status, _ = await host.greenfield("POST", "/invoices", {"amount": str((number + 1) * 1_000), "description": ""})
    assert status == 200


async def _many(ask: Callable[[int], Awaitable[None]], count: int) -> dict[str, float]:
    """Ask this often, this many at once; gives how many a second, the 99th of a hundred in s, and CPU s for one."""
    numbers, taken = iter(range(count)), list[float]()

    async def work() -> None:
        for number in numbers:
            began = time.perf_counter()
            await ask(number)
            taken.append(time.perf_counter() - began)

    await ask(count)
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    wall = time.perf_counter() - began
    used = time.process_time() - cpu
    return {"per_second": count / wall, "p99": statistics.quantiles(taken, n=100)[98], "cpu": used / count}


async def _make(host: RunningHost, count: int) -> list[str]:
    """Make invoices, and return their payment hashes."""
    form = {"amountSat": "21", "description": ""}
    return [(await host.phoenixd("POST", "/createinvoice", form))[1]["paymentHash"] for _ in range(count)]


async def _settle(host: RunningHost, node: FakeNode, count: int) -> dict[str, float]:
    """Pay many at once, until a client has been told of all."""
    made = await _make(host, count)
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    async with host.session.ws_connect(f"{host.url}/websocket", headers=auth) as socket:
        cpu, began = time.process_time(), time.perf_counter()
        for payment_hash in made:
            await node.pay(payment_hash)
        for _ in made:
            await socket.receive_json()
        wall = time.perf_counter() - began
        return {"per_second": count / wall, "cpu": (time.process_time() - cpu) / count}


async def _tell(host: RunningHost, node: FakeNode, receiver: Receiver, count: int) -> dict[str, float]:
    """Pay many at once, until one receiver of webhooks has been told of all."""
    body = {"url": receiver.url, "authorizedEvents": {"everything": True}}
    status, told = await host.request("POST", "/api/v1/stores/shop/webhooks", json=body, headers=_KEY)
    assert status == 200, told
    made = await _make(host, count)
    cpu, began = time.process_time(), time.perf_counter()
    for payment_hash in made:
        await node.pay(payment_hash)
    async with receiver.changed, asyncio.timeout(600):
        await receiver.changed.wait_for(lambda: len(receiver.received) >= count)
    wall = time.perf_counter() - began
    return {"per_second": count / wall, "cpu": (time.process_time() - cpu) / count}
