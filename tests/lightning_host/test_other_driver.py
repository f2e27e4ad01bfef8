"""The host works with any driver: one that it has never heard of, installed as any distribution is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from connection_strings import LightningClientFactory
from tests.lightning_host.hosts import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

METADATA = "Metadata-Version: 2.1\nName: another-driver\nVersion: 7.0\n"
ENTRY_POINTS = "[connection_strings.handlers]\nfake = tests.lightning_host.fake_driver:FakeHandler\n"


async def test_driver_found_by_entry_point(
    hosts: HostBench, node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution that announces a driver for another type is all it takes: invoice, payment, settlement."""
    installed = tmp_path / "another_driver-7.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(METADATA)
    (installed / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert {"fake", "flash"} <= set(LightningClientFactory().types)

    host = await hosts.host_of(f"type=fake;node={node.name}")
    status, link = await host.get("/lnurlp/shop/callback?amount=21000")
    assert status == 200
    (invoice,) = node.invoices.values()
    assert link["pr"] == invoice.bolt11
    await node.pay(invoice.id)

    async def settled() -> bool:
        return bool((await host.get(f"/lnurlp/verify/shop/{invoice.id}"))[1]["settled"])

    await eventually(settled)
