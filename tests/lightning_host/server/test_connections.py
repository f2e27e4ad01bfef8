"""Bounds on connections, with real sockets from several addresses of the loopback network."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from lightning_host.client_address import read_networks
from lightning_host.server.app import SECURITY_HEADERS
from tests.lightning_host.hosts import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

REQUEST = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn away at once, and give all the time to read why, in tests that are not about waiting."""
    monkeypatch.setattr("lightning_host.server.connections._WAIT_SECONDS", 0)
    monkeypatch.setattr("lightning_host.server.connections._PATIENCE_SECONDS", 600)


@asynccontextmanager
async def connection(
    host: RunningHost, address: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect from an address while the block runs."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host.settings.port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(host: RunningHost, address: str) -> bytes:
    """Make a request over a connection of its own; gives all that is answered."""
    async with connection(host, address) as (reader, writer), asyncio.timeout(20):
        writer.write(REQUEST)
        return await reader.read()


async def test_one_address_can_not_take_all(hosts: HostBench, node: FakeNode) -> None:
    """Idle connections of one address are bounded: one more is told to wait (429), others are served as ever."""
    host = await hosts.host(node, wait=False, most_connections_per_address=3)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(connection(host, "127.0.0.2"))
        refused = await ask(host, "127.0.0.2")
        assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 10\r\n" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2]) == {
            "code": "too-many-connections",
            "message": "too many connections from this address; try again soon",
        }
        for name, value in SECURITY_HEADERS.items():
            assert f"{name}: {value}".encode() in refused
        assert (await ask(host, "127.0.0.3")).startswith(b"HTTP/1.1 200 ")

    async def served_again() -> bool:
        return (await ask(host, "127.0.0.2")).startswith(b"HTTP/1.1 200 ")

    await eventually(served_again)


async def test_one_too_many_waits_for_another_to_end(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients open as many connections as they have requests: all of these are served, one after the other."""
    monkeypatch.setattr("lightning_host.server.connections._WAIT_SECONDS", 600)
    host = await hosts.host(node, wait=False, most_connections_per_address=2)
    answers = await asyncio.gather(*(ask(host, "127.0.0.2") for _ in range(20)))
    assert {answer[:13] for answer in answers} == {b"HTTP/1.1 200 "}


async def test_body_of_one_that_is_turned_away_does_not_hide_the_answer(hosts: HostBench, node: FakeNode) -> None:
    """A request with a body that nobody reads to its end still gets its answer, and no reset."""
    host = await hosts.host(node, wait=False, most_connections_per_address=1)
    async with connection(host, "127.0.0.2"), connection(host, "127.0.0.2") as (reader, writer), asyncio.timeout(20):
        writer.write(b"POST /createinvoice HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b'"code": "too-many-connections"' in answer


async def test_all_together_are_bounded(hosts: HostBench, node: FakeNode) -> None:
    """When the process has all it takes, one more is told to come back (503), from wherever it comes."""
    host = await hosts.host(node, wait=False, most_connections=3)
    async with AsyncExitStack() as stack:
        for number in range(3):
            await stack.enter_async_context(connection(host, f"127.0.1.{number + 1}"))
        refused = await ask(host, "127.0.0.9")
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 10\r\n" in refused


@pytest.mark.parametrize("agent", ["", "User-Agent: LNbits/1.6.2\r\n"])
async def test_question_of_btcpay_is_not_answered_with_a_refusal(hosts: HostBench, node: FakeNode, agent: str) -> None:
    """BTCPay, which sends no User-Agent, forgets an invoice for any error: it is hung up on; others are told."""
    host = await hosts.host(node, wait=False, most_connections=1)
    async with connection(host, "127.0.0.2"), connection(host, "127.0.0.3") as (reader, writer), asyncio.timeout(40):
        writer.write(f"GET /payments/incoming/{'ab' * 32} HTTP/1.1\r\nHost: x\r\n{agent}\r\n".encode())
        with contextlib.suppress(ConnectionError):
            answer = b""
            answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ") is bool(agent)
    assert bool(answer) is bool(agent)


async def test_trusted_proxy_brings_many_clients(hosts: HostBench, node: FakeNode) -> None:
    """Connections of a trusted proxy are not counted by address."""
    host = await hosts.host(
        node, wait=False, most_connections_per_address=1, trusted_proxies=read_networks("127.0.0.2")
    )
    async with connection(host, "127.0.0.2"), connection(host, "127.0.0.2"):
        assert (await ask(host, "127.0.0.2")).startswith(b"HTTP/1.1 200 ")
    async with connection(host, "127.0.0.3"):
        assert (await ask(host, "127.0.0.3")).startswith(b"HTTP/1.1 429 ")


async def test_those_turned_away_are_bounded_too(hosts: HostBench, node: FakeNode) -> None:
    """Three hundred may wait or be told why; those beyond are cut off without an answer, whatever they ask."""
    host = await hosts.host(node, wait=False, most_connections_per_address=1)
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connection(host, "127.0.0.2")) for _ in range(1 + 300 + 1)]
        answers = []
        for reader, writer in (held[300], held[301]):
            async with asyncio.timeout(20):
                with contextlib.suppress(ConnectionError):
                    writer.write(REQUEST)
                    answers.append((await reader.read())[:12])
    assert answers[0] == b"HTTP/1.1 429"
    assert answers[1:] in ([], [b""])


async def test_stop_waits_for_nobody_who_is_turned_away(hosts: HostBench, node: FakeNode) -> None:
    """A host that stops cuts off those who were turned away and has not asked anything yet."""
    host = await hosts.host(node, wait=False, most_connections_per_address=1)
    async with connection(host, "127.0.0.2"), connection(host, "127.0.0.2") as (reader, _), asyncio.timeout(20):
        assert (await ask(host, "127.0.0.2")).startswith(b"HTTP/1.1 429 ")
        await host.stop()
        assert await reader.read() == b""


async def test_whoever_is_turned_away_and_silent_is_cut_off(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection that asks nothing is closed after a moment."""
    monkeypatch.setattr("lightning_host.server.connections._PATIENCE_SECONDS", 0.1)
    host = await hosts.host(node, wait=False, most_connections_per_address=1)
    async with connection(host, "127.0.0.2"), connection(host, "127.0.0.2") as (reader, _), asyncio.timeout(20):
        assert await reader.read() == b""
