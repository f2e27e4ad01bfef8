"""The host on both kinds of event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
import pytest

from lightning_host.cli import main
from tests.lightning_host.hosts import API_KEY, PASSWORD
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_host.settings import HostSettings
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

STRING = "type=flash;server=http://127.0.0.1:9/graphql;token=ory_st_secret;allowinsecure=true"
KEY = {"Authorization": f"token {API_KEY}"}


@pytest.mark.parametrize("on_server", [False, True], ids=["sqlite", "postgresql"])
async def test_from_invoice_to_those_who_are_told(
    hosts: HostBench, node: FakeNode, request: pytest.FixtureRequest, *, on_server: bool
) -> None:
    """An invoice by LNURL, its payment, the news of it over a socket and a webhook, and a stop with both still open."""
    database = request.getfixturevalue("postgres").new_database() if on_server else None
    async with AsyncExitStack() as stack, asyncio.timeout(40):
        receiver = await stack.enter_async_context(Receiver.start())
        host = await hosts.host(node, database=database, webhook_private_addresses=True)
        webhook = {"url": receiver.url}
        assert (await host.request("POST", "/api/v1/stores/shop/webhooks", json=webhook, headers=KEY))[0] == 200
        auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
        socket = await stack.enter_async_context(host.session.ws_connect(f"{host.url}/websocket", headers=auth))
        form = {"amountSat": "21", "description": "coffee"}
        payment_hash = (await host.phoenixd("POST", "/createinvoice", form))[1]["paymentHash"]
        assert "pr" in (await host.get("/lnurlp/shop/callback?amount=21000"))[1]
        await node.pay(payment_hash)
        assert (await socket.receive_json())["paymentHash"] == payment_hash
        assert (await receiver.until(1))[0].body["paymentHash"] == payment_hash
        await host.stop()


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "not-installed"])
def test_uvloop_is_taken_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, installed: bool
) -> None:
    """The command serves on uvloop, or on asyncio's loop without the extra; its log says which, and SIGTERM ends it."""
    if not installed:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    served_on: list[str] = []

    def ready(_: HostSettings) -> None:
        served_on.append(type(asyncio.get_running_loop()).__module__)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("lightning_host.cli._ready_words", ready)
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", STRING)
    monkeypatch.setenv("FLASH_JOURNAL_URL", "memory:")
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", f"sqlite:///{tmp_path}/host.sqlite3")
    with caplog.at_level(logging.INFO, "lightning_host"):
        assert main(["--port", "0", "--verbose"]) == 0
    assert [name.startswith("uvloop") for name in served_on] == [installed]
    assert f"the event loop is that of {'uvloop' if installed else 'asyncio'}" in caplog.text
