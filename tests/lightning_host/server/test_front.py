"""What somebody sees who types the address, or one that leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_address_alone_leads_somewhere(hosts: HostBench, node: FakeNode) -> None:
    """In front of a sandbox to the demo shop, else to the page of the one shop; of many shops it tells none."""
    sandboxed = await hosts.host(node, sandbox_control="http://127.0.0.1:9/control")
    real = await hosts.host(node, database=hosts.sqlite("other"))
    other = {"connection_string": f"type=fake;node={node.name}"}
    many = await hosts.host(node, database=hosts.sqlite("third"), stores={"bakery": other})
    for host, path in ((sandboxed, "/demo"), (real, "/pay/shop")):
        async with host.session.get(f"{host.url}/", headers=PAGE) as response:
            assert (response.status, response.url.path) == (200, path)
    status, html = await many.get("/", headers=PAGE)
    assert status == 404
    assert "Not found" in html
    assert "bakery" not in html


@pytest.mark.parametrize("path", ["/nothing", "/%3Cscript%3E"])
async def test_address_that_leads_nowhere(hosts: HostBench, node: FakeNode, path: str) -> None:
    """A browser gets a page, a program JSON; neither shows what was asked for."""
    host = await hosts.host(node)
    status, html = await host.get(path, headers=PAGE)
    assert (status, "there is nothing at this address" in html.lower()) == (404, True)
    assert "script" not in html
    assert await host.get(path) == (404, {"code": "not-found", "message": "there is nothing at this address"})
