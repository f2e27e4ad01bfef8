from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.checkouts import KEY, open_checkout

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

CONTROL = "http://127.0.0.1:9/control"
BAD_PATHS = (
    "/static/../settings.py",
    "/static/%2e%2e/settings.py",
    "/static/..%2fsettings.py",
    "/static//etc/passwd",
    "/static/",
    "/static/%00",
)


async def raw(host: RunningHost, request: bytes) -> bytes:
    """Send bytes as they are and read until the host closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", host.settings.port)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_huge_forms(hosts: HostBench, node: FakeNode) -> None:
    """A form that is too large is refused on a page, and nothing of it is kept."""
    host = await hosts.host(node, sandbox_control=CONTROL)
    checkout = await open_checkout(host)
    _, card = await host.request("POST", "/api/v1/stores/shop/flashcards", json={}, headers=KEY)
    for path in (f"/checkout/{checkout['id']}/pay", f"/flashcards/{card['id']}/topup", "/demo/buy"):
        status, html = await host.request("POST", path, data={"form_token": "x" * 200_000})
        assert status == 413
        assert "too large" in html


async def test_slow_forms(hosts: HostBench, node: FakeNode) -> None:
    """A client that does not send its form in time is told so, and the connection closed."""
    host = await hosts.host(node, sandbox_control=CONTROL, request_seconds=0.2)
    checkout = await open_checkout(host)
    head = (
        f"POST /checkout/{checkout['id']}/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\nform_token="
    )
    answer = await raw(host, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Traceback" not in answer


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_static_files_only(hosts: HostBench, node: FakeNode, path: str) -> None:
    """No path leads out of the folder of static files, nor lists it."""
    host = await hosts.host(node)
    answer = await raw(host, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"400", b"403", b"404")
    assert b"HostSettings" not in answer
    assert b"root:" not in answer


async def test_host_header_in_redirects(hosts: HostBench, node: FakeNode) -> None:
    """Redirects name a path and no host: a made-up host header leads nobody away."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    request = f"GET /checkout/{checkout['id']} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert b"evil.example" not in await raw(host, request.encode())


@pytest.mark.parametrize(
    "path", ["/static/host.css", "/static/checkout.js", "/static/flashcard.js", "/static/icon.svg"]
)
async def test_every_answer_has_its_headers(hosts: HostBench, node: FakeNode, path: str) -> None:
    """Files are served with the headers that forbid everything else, and as what they are."""
    host = await hosts.host(node)
    async with host.session.get(host.url + path) as response:
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.content_type in ("text/css", "text/javascript", "application/javascript", "image/svg+xml")
        assert "https://" not in (await response.text()).replace("// where the page is not on https", "")
