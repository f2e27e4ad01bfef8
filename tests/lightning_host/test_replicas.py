"""Many replicas on one PostgreSQL: each hears of what any of them made, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningClientFactory, Secret
from lightning_host.allowance import Allowance
from lightning_host.host import open_host
from lightning_host.settings import HostSettings
from tests.lightning_host.hosts import PASSWORD, eventually
from tests.lightning_host.programs import host_program, sandbox_program, wait_until
from tests.support import asking

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lightning_host.settlements.ledger import Settlement
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench
    from tests.support.driver import Bench
    from tests.support.postgres import PostgresServer

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")

FORM = {"amountSat": "21", "description": ""}


async def test_settlement_is_recorded_once_and_told_in_each_replica(
    bench: Bench, hosts: HostBench, postgres: PostgresServer
) -> None:
    """Invoices made through either replica, paid in the sandbox: one row each, one message each in both processes."""
    sandbox = await bench.sandbox()
    del hosts
    settings = HostSettings(
        connection_string=Secret(sandbox.connection_string), database_url=Secret(postgres.new_database())
    )
    async with (
        open_host(settings, LightningClientFactory()) as one,
        open_host(settings, LightningClientFactory()) as two,
    ):
        handled: list[str] = []

        def handle(_: object, settlements: Sequence[Settlement]) -> None:
            handled.extend(settlement.payment_hash for settlement in settlements)

        for replica in (one, two):
            replica.settlements.on_settled(handle)
            await replica.settlements.start()
        async with one.settlements.subscribe("shop") as at_one, two.settlements.subscribe("shop") as at_two:
            invoices = []
            for turn in range(4):
                replica = (one, two)[turn % 2]
                (store,) = replica.stores
                invoices.append(await replica.invoices.create(store, COFFEE, purpose="test"))
            for invoice in invoices:
                sandbox.pay(invoice.bolt11)
            async with asyncio.timeout(30):
                told = [[(await anext(at)).payment_hash for _ in invoices] for at in (at_one, at_two)]
        expected = sorted(invoice.id for invoice in invoices)
        assert sorted(told[0]) == sorted(told[1]) == sorted(handled) == expected
        assert await one.settlements.count() == await two.settlements.count()


async def test_replicas_that_start_together_make_the_tables_once(
    hosts: HostBench, node: FakeNode, postgres: PostgresServer
) -> None:
    """Four replicas at once on an empty database: each of them serves."""
    database = postgres.new_database()
    replicas = await asyncio.gather(*(hosts.host(node, database=database) for _ in range(4)))
    assert [(await replica.get("/health"))[0] for replica in replicas] == [200] * 4


async def test_made_through_one_and_heard_through_the_other(
    hosts: HostBench, node: FakeNode, postgres: PostgresServer
) -> None:
    """A phoenixd client of one replica hears of an invoice that the other made, also when that one has died."""
    database = postgres.new_database()
    one, two = [await hosts.host(node, database=database) for _ in range(2)]
    made = [(await one.phoenixd("POST", "/createinvoice", FORM))[1]["paymentHash"] for _ in range(2)]
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    async with two.session.ws_connect(f"{two.url}/websocket", headers=auth) as socket:
        async with asyncio.timeout(20):
            await node.pay(made[0])
            assert (await socket.receive_json())["paymentHash"] == made[0]
            await one.stop()
            await node.pay(made[1])
            assert (await socket.receive_json())["paymentHash"] == made[1]


async def test_budget_holds_across_replicas(hosts: HostBench, node: FakeNode, postgres: PostgresServer) -> None:
    """A flood that is spread over replicas gets no more invoices than one at a single replica."""
    database = postgres.new_database()
    allowance = Allowance(times=5, seconds=60)
    replicas = [
        await hosts.host(node, database=database, lnurl_allowance=allowance, lnurl_client_allowance=None)
        for _ in range(2)
    ]
    path = "/lnurlp/shop/callback?amount="
    answers = await asyncio.gather(*(replicas[turn % 2].get(f"{path}{1000 + turn}") for turn in range(20)))
    assert sum("pr" in answer for _, answer in answers) == len(node.created) == 5


async def test_database_that_comes_back_is_used_again(
    hosts: HostBench, node: FakeNode, postgres: PostgresServer
) -> None:
    """While PostgreSQL is away the host says so; what was paid meanwhile is recorded and told once it is back."""
    host = await hosts.host(node, database=postgres.new_database())
    made = (await host.phoenixd("POST", "/createinvoice", FORM))[1]["paymentHash"]
    postgres.stop()
    try:
        assert (await host.get("/health"))[0] == 503
        status, answer = await host.get("/lnurlp/shop/callback?amount=1000")
        assert (status, answer["status"]) == (200, "ERROR")
        assert "can't reach its database right now" in answer["reason"]
        await node.pay(made)
    finally:
        postgres.start()
    await host.healthy()

    async def paid() -> bool:
        status, answer = await host.phoenixd("GET", f"/payments/incoming/{made}")
        return status == 200 and bool(answer["isPaid"])

    await eventually(paid)


@pytest.mark.timeout(500)  # two hosts and a sandbox as programs
def test_two_processes_share_wallet_journal_and_database(postgres: PostgresServer, tmp_path: Path) -> None:
    """Made through one process, paid, and settled at the other, with one of them killed in between."""
    database = postgres.new_database()
    shared = {
        "LIGHTNING_HOST_DATABASE_URL": database,
        "FLASH_JOURNAL_URL": database,
        "LIGHTNING_HOST_PHOENIXD_PASSWORD": PASSWORD,
    }
    auth = ("", PASSWORD)
    with sandbox_program(tmp_path) as ready:
        one, two = (host_program(tmp_path, ready["connection_string"], **shared) for _ in range(2))
        with one.running(), two.running():
            form = {"amountSat": "21000", "description": "shared"}
            made = asking.post(f"{one.url}/createinvoice", data=form, auth=auth, timeout=40).json()
            path = f"/payments/incoming/{made['paymentHash']}"
            assert asking.get(f"{two.url}{path}", auth=auth, timeout=40).json()["isPaid"] is False
            one.kill()
            asking.post(
                f"{ready['control']}/pay", json={"payment_request": made["serialized"]}, timeout=40
            ).raise_for_status()
            wait_until(
                lambda: bool(asking.get(f"{two.url}{path}", auth=auth, timeout=40).json()["isPaid"]),
                "the other has heard",
            )
