from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, TCPConnector, web

from lightning_host.client_address import read_networks
from lightning_host.web.concurrency_limit import ConcurrencyLimit
from lightning_host.web.streams import STREAMS, EventStreams
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import open_checkout, stream
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

MANY = 1_000


@asynccontextmanager
async def page_at(host: RunningHost, checkout_id: str, address: str, **headers: str) -> AsyncIterator[ClientResponse]:
    """Open the stream of a checkout from an address while the block runs."""
    connector = TCPConnector(local_addr=(address, 0))
    url = f"{host.url}/checkout/{checkout_id}/events"
    async with ClientSession(connector=connector, headers=headers) as session, session.get(url) as response:
        yield response


async def test_a_thousand_open_streams(hosts: HostBench, node: FakeNode) -> None:
    """A thousand pages of many clients are open; each hears of the payment, and the host answers others meanwhile."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    request = f"GET /checkout/{checkout['id']}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    async def hear(opened: asyncio.Semaphore, number: int) -> str:
        address = f"127.0.0.{10 + number % 20}"
        async with opened:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.settings.port, local_addr=(address, 0))
            writer.write(request)
            await reader.readuntil(b"data: ")
        try:
            told = await reader.readuntil(b"\n\n")
            while b'"Settled"' not in told:
                told = await reader.readuntil(b"\n\n")
            return "Settled"
        finally:
            writer.close()

    opened = asyncio.Semaphore(50)
    pages = [asyncio.create_task(hear(opened, number)) for number in range(MANY)]

    async def all_open() -> bool:
        _, metrics = await host.get(f"/checkout/{checkout['id']}/state")
        return metrics["status"] == "New" and not opened.locked() and all(not page.done() for page in pages)

    async with stream(host, checkout["id"]) as page:
        await page.state()
        await eventually(all_open)
        await node.pay(checkout["paymentHash"])
        async with asyncio.timeout(30):
            assert set(await asyncio.gather(*pages)) == {"Settled"}


async def test_host_stops_with_open_streams(hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open streams do not keep the host from stopping, and end at once."""
    monkeypatch.setattr("lightning_host.server.serve._SHUTDOWN_SECONDS", 600)
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    async with host.session.get(f"{host.url}/checkout/{checkout['id']}/events") as response:
        await response.content.readuntil(b"data: ")
        async with asyncio.timeout(40):  # less than a stop waits for requests that don't end
            await asyncio.gather(host.stop(), return_exceptions=True)


async def test_closed_pages_are_forgotten(hosts: HostBench, node: FakeNode) -> None:
    """A page that closes gives its place to another one."""
    host = await hosts.host(node, most_streams=1)
    checkout = await open_checkout(host)

    async def has_place() -> bool:
        async with host.session.get(f"{host.url}/checkout/{checkout['id']}/events") as response:
            return response.status == 200

    for _ in range(3):
        await eventually(has_place)


async def test_streams_of_one_address_are_bounded(hosts: HostBench, node: FakeNode) -> None:
    """One address has a bound for its pages (429); pages of others open, and the state can be asked for still."""
    host = await hosts.host(node, most_streams_per_address=2)
    checkout = (await open_checkout(host))["id"]
    async with page_at(host, checkout, "127.0.0.2") as first, page_at(host, checkout, "127.0.0.2") as second:
        assert (first.status, second.status) == (200, 200)
        async with page_at(host, checkout, "127.0.0.2") as third:
            assert (third.status, third.headers["Retry-After"]) == (429, "10")
        async with page_at(host, checkout, "127.0.0.3") as other:
            assert other.status == 200
        assert (await host.get(f"/checkout/{checkout}/state"))[0] == 200


async def test_streams_of_all_are_bounded(hosts: HostBench, node: FakeNode) -> None:
    """When the process has all the pages it takes, one more is told to come back (503), wherever it is opened."""
    host = await hosts.host(node, most_streams=1)
    checkout = (await open_checkout(host))["id"]
    async with page_at(host, checkout, "127.0.0.2"), page_at(host, checkout, "127.0.0.3") as refused:
        assert (refused.status, refused.headers["Retry-After"]) == (503, "10")


@pytest.mark.parametrize(("proxies", "status"), [("127.0.0.2", 200), ("", 429)])
async def test_clients_behind_a_proxy_are_told_apart(
    hosts: HostBench, node: FakeNode, proxies: str, status: int
) -> None:
    """A proxy that is trusted tells whose page it is; else all pages are its own, whatever the header says."""
    host = await hosts.host(node, most_streams_per_address=1, trusted_proxies=read_networks(proxies))
    checkout = (await open_checkout(host))["id"]
    one, two = ({"X-Forwarded-For": f"203.0.113.9, 192.0.2.{number}"} for number in (1, 2))
    async with (
        page_at(host, checkout, "127.0.0.2", **one) as first,
        page_at(host, checkout, "127.0.0.2", **two) as next_,
    ):
        assert (first.status, next_.status) == (200, status)
        async with page_at(host, checkout, "127.0.0.2", **one) as again:
            assert again.status == 429


async def test_slow_client_is_cut_off() -> None:
    """A client that reads nothing is cut off, and holds neither memory nor a place."""
    streams = EventStreams(ConcurrencyLimit("pages", most=1, most_per_client=1), write_seconds=0.2)
    ended = asyncio.Event()

    async def flood(request: web.Request) -> web.StreamResponse:
        try:
            async with streams.open(request) as opened:
                while True:
                    await opened.send("state", {"filler": "x" * 100_000})
        finally:
            ended.set()

    app = web.Application()
    app[STREAMS] = streams
    app.router.add_get("/", flood)
    async with serving(app) as port:
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await ended.wait()
        client.close()
        assert streams.open_count == 0


async def test_events_are_one_line_each(hosts: HostBench, node: FakeNode) -> None:
    """A state is one line of JSON: no text in it can begin an event of its own."""
    host = await hosts.host(node)
    checkout = await open_checkout(host, description="x\n\ndata: {}\n\nevent: state")
    async with host.session.get(f"{host.url}/checkout/{checkout['id']}/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        lines = [(await response.content.readline()).decode() for _ in range(4)]
    assert lines[0].startswith("retry: ")
    assert lines[2] == "event: state\n"
    assert json.loads(lines[3].removeprefix("data: "))["status"] == "New"
