from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from lightning_host.streams import STREAMS, EventStreams
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import open_checkout, stream

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

MANY = 1_000


async def test_a_thousand_open_streams(hosts: HostBench, node: FakeNode) -> None:
    """A thousand pages are open; each hears of the payment, and the host answers others meanwhile."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    request = f"GET /checkout/{checkout['id']}/events HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    async def hear(opened: asyncio.Semaphore) -> str:
        async with opened:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.settings.port)
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
    pages = [asyncio.create_task(hear(opened)) for _ in range(MANY)]

    async def all_open() -> bool:
        _, metrics = await host.get(f"/checkout/{checkout['id']}/state")
        return metrics["status"] == "New" and not opened.locked() and all(not page.done() for page in pages)

    async with stream(host, checkout["id"]) as page:
        await page.state()
        await eventually(all_open)
        await node.pay(checkout["paymentHash"])
        async with asyncio.timeout(30):
            assert set(await asyncio.gather(*pages)) == {"Settled"}


async def test_host_stops_with_open_streams(hosts: HostBench, node: FakeNode) -> None:
    """Open streams do not keep the host from stopping, and end at once."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    async with host.session.get(f"{host.url}/checkout/{checkout['id']}/events") as response:
        await response.content.readuntil(b"data: ")
        async with asyncio.timeout(4):  # less than a stop waits for requests that don't end
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


async def test_slow_client_is_cut_off() -> None:
    """A client that reads nothing is cut off, and holds neither memory nor a place."""
    streams = EventStreams(1, write_seconds=0.2)
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
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        client = socket.create_connection(runner.addresses[0])
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await ended.wait()
        client.close()
        assert streams.open_count == 0
    finally:
        await runner.cleanup()


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
