"""Bad input and abuse: each has a clear answer, shows no stack trace, and takes nothing from anybody else."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from lightning_host.server.app import SECURITY_HEADERS
from tests.lightning_host.hosts import API_KEY

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

INVOICES = "/api/v1/stores/shop/lightning/BTC/invoices"
AUTH = {"Authorization": f"token {API_KEY}"}


async def raw(host: RunningHost, request: bytes) -> bytes:
    """Send bytes as they are, and read all that comes back until the host closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host.settings.port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


# --- what every answer carries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/nothing", "/.well-known/lnurlp/shop", "/getinfo", INVOICES])
async def test_security_headers_are_everywhere(hosts: HostBench, node: FakeNode, path: str) -> None:
    """Every answer, also of an error, forbids inline script, framing and sniffing, and names no versions."""
    host = await hosts.host(node)
    async with host.session.get(f"{host.url}{path}") as response:
        assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert response.headers["Server"] == "lightning-host"
        assert "unsafe" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", [INVOICES, "/.well-known/lnurlp/shop", "/getinfo", "/health"])
async def test_fault_of_the_host_shows_no_stack_trace(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """An error that nobody foresaw is 500 in the group's own shape, and says nothing of what happened."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret detail")

    host = await hosts.host(node)
    for name in ("by_key", "by_address", "by_password", "__len__"):
        monkeypatch.setattr(f"lightning_host.stores.Stores.{name}", fail)
    auth = {"Authorization": aiohttp.encode_basic_auth("", "x")} if path == "/getinfo" else AUTH
    status, answer = await host.get(path, headers=auth)
    assert status == 500
    assert "something went wrong in this host" in json.dumps(answer)
    assert "secret" not in json.dumps(answer)
    assert "Traceback" not in json.dumps(answer)


async def test_host_header_changes_no_url(hosts: HostBench, node: FakeNode) -> None:
    """URLs that are handed out come from the configuration, whatever a request calls this host."""
    host = await hosts.host(node, public_url="https://pay.example.com")
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    for path in ("/.well-known/lnurlp/shop", "/lnurlp/shop/links", "/lnurlp/shop/callback?amount=1000"):
        _, answer = await host.get(path, headers=evil)
        assert "https://pay.example.com" in json.dumps(answer)
        assert "evil" not in json.dumps(answer)


# --- what is too large or too slow ----------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [True, False])
async def test_huge_body_is_refused(hosts: HostBench, node: FakeNode, declared: bool) -> None:  # noqa: FBT001 - a case
    """A body beyond the limit is 413, whether it says its length or not."""
    host = await hosts.host(node)
    body = b"x" * 200_000

    async def chunks() -> object:
        yield body

    status, answer = await host.request("POST", INVOICES, data=body if declared else chunks(), headers=AUTH)
    assert (status, answer["code"]) == (413, "too-large")
    assert (await host.greenfield("GET", "/info"))[0] == 200


async def test_body_that_does_not_come_is_given_up(hosts: HostBench, node: FakeNode) -> None:
    """A client that promises a body and sends none gets 408, and its connection is closed."""
    host = await hosts.host(node, request_seconds=0.2)
    head = f"POST {INVOICES} HTTP/1.1\r\nHost: x\r\nAuthorization: token {API_KEY}\r\nContent-Length: 50\r\n\r\n"
    answer = await raw(host, f"{head}{{".encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request-timeout"' in answer


async def test_headers_that_do_not_come_are_given_up(hosts: HostBench, node: FakeNode) -> None:
    """A client that never ends its headers is cut off, and keeps nobody else waiting."""
    host = await hosts.host(node, idle_seconds=0.3)
    slow = [asyncio.create_task(raw(host, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")) for _ in range(50)]
    assert (await host.get("/health"))[0] == 200
    async with asyncio.timeout(20):
        assert {await each for each in slow} == {b""}


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
        b"POST /createinvoice HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /createinvoice HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(hosts: HostBench, node: FakeNode, request_bytes: bytes) -> None:
    """Garbage gets a 400, no stack trace, and the host serves on."""
    host = await hosts.host(node)
    answer = await raw(host, request_bytes)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"Traceback" not in answer
    assert b"site-packages" not in answer
    assert (await host.get("/live"))[0] == 200


async def test_text_of_a_request_can_not_add_a_header(hosts: HostBench, node: FakeNode) -> None:
    """Line ends in paths and queries stay text."""
    host = await hosts.host(node)
    for path in ("/lnurlp/shop%0d%0aX-Evil:%201/links", "/.well-known/lnurlp/shop?x=%0d%0aX-Evil:%201"):
        async with host.session.get(f"{host.url}{path}") as response:
            assert "X-Evil" not in response.headers


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../settings.py", "/static/%2e%2e/settings.py", "//etc"],
)
async def test_paths_lead_nowhere_else(hosts: HostBench, node: FakeNode, path: str) -> None:
    """No path reads a file that is not meant to be read."""
    host = await hosts.host(node)
    answer = await raw(host, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] in (b"400", b"403", b"404")
    assert b"root:" not in answer
    assert b"ENV_PREFIX" not in answer


# --- secrets --------------------------------------------------------------------------------------------------------


async def test_no_answer_or_log_holds_a_secret(
    hosts: HostBench, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither keys nor passwords nor the connection string show up in what the host says or logs."""
    caplog.set_level("DEBUG")
    host = await hosts.host(node)
    said = [
        await host.greenfield("GET", "/info"),
        await host.greenfield("GET", "/info", key="wrong-key"),
        await host.phoenixd("GET", "/getinfo"),
        await host.get("/health"),
        await host.get("/metrics"),
    ]
    text = f"{said} {caplog.text} {host.settings!r} {host.settings}"
    for secret in (API_KEY, "password-of-phoenixd", f"node={node.name}", "wrong-key"):
        assert secret not in text
