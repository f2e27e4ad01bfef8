"""A host that is cut off from PostgreSQL while it records: others go on, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from connection_strings import CreateInvoiceParams, LightMoney, LightningClientFactory, Secret
from lightning_host.database import Database, is_away, take_numbers
from lightning_host.database.postgresql import _Connection
from lightning_host.host import open_host
from lightning_host.settings import HostSettings
from lightning_host.settlements import wallet_listener
from tests.lightning_host.fake_driver import FakeHandler, FakeNode
from tests.lightning_host.hosts import eventually
from tests.support.postgres import PASSWORD
from tests.support.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from lightning_host.host import Host
    from lightning_host.settlements.ledger import Settlement
    from tests.support.postgres import PostgresServer

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")


def behind(proxy: FaultProxy, near: str) -> Secret:
    """Return the URL of the same database by way of the proxy."""
    name, port = near.partition("@/")[2].partition("?")[0], proxy.url.split(":")[2].partition("/")[0]
    return Secret(f"postgresql://journal:{PASSWORD}@127.0.0.1:{port}/{name}")


def settings(node: FakeNode, url: Secret) -> HostSettings:
    """Return the settings of a host in front of a node."""
    return HostSettings(connection_string=Secret(f"type=fake;node={node.name}"), database_url=url)


def count(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Handle settlements by a row for each."""
    rows = [{"hash": settlement.payment_hash} for settlement in settlements]
    connection.execute(text("INSERT INTO handled VALUES (:hash)"), rows)


async def handled(host: Host) -> list[str]:
    """Return what was handled, as often as it was."""
    query = text("SELECT hash FROM handled ORDER BY hash")
    return await host.database.read(lambda connection: [row.hash for row in connection.execute(query)])


async def test_host_that_is_cut_off_holds_nobody_up(
    node: FakeNode, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between record and commit: another host records, and the first one tells of it once it is back."""
    monkeypatch.setattr(wallet_listener, "SOUND_SECONDS", 0.1)
    near, factory = postgres.new_database(), LightningClientFactory([FakeHandler])
    async with (
        FaultProxy(f"unix://{postgres.socket}") as proxy,
        open_host(settings(node, behind(proxy, near)), factory) as far,
        open_host(settings(node, Secret(near)), factory) as close,
    ):
        await close.database.write(lambda connection: connection.execute(text("CREATE TABLE handled (hash TEXT)")))
        cut_off = asyncio.Event()

        def freeze(*_: Any) -> None:
            if not cut_off.is_set():
                proxy.freeze()
                proxy.accept = "ignore"
                cut_off.set()

        for host in (far, close):
            host.settlements.on_settled(count)
        far.settlements.on_settled(freeze)
        await far.settlements.start()
        await eventually(lambda: _hears(far))
        (store,) = close.stores
        made = [await close.invoices.create(store, COFFEE, purpose="test") for _ in range(5)]
        for invoice in made:
            await node.pay(invoice.id)
        await cut_off.wait()
        await close.settlements.start()
        hashes = sorted(invoice.id for invoice in made)

        async def recorded() -> bool:
            return await handled(close) == hashes

        await eventually(recorded)
        proxy.heal()
        proxy.reset()
        await eventually(lambda: _hears(far))
        async with far.settlements.subscribe("shop", after=0) as told, asyncio.timeout(40):
            assert sorted([(await anext(told)).payment_hash for _ in made]) == hashes
        assert await handled(close) == hashes
        assert await close.settlements.count() == {("shop", "test"): (5, 5_000_000)}


async def _hears(host: Host) -> bool:
    """Whether a host hears of settlements and tells of them."""
    return host.settlements.deaf == {} and host.settlements.telling


async def test_silence_has_an_end(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing any more is away after a while, and used again once it can be reached."""
    near = postgres.new_database()
    async with FaultProxy(f"unix://{postgres.socket}") as proxy:
        database = await Database.open(behind(proxy, near))
        try:

            def freeze(connection: Connection) -> None:
                take_numbers(connection, "settlements")
                proxy.freeze()
                take_numbers(connection, "settlements")

            with monkeypatch.context() as hasty:
                hasty.setattr(_Connection, "silence_seconds", 0.5)
                with pytest.raises(DBAPIError) as silent:
                    await database.write(freeze)
            assert is_away(silent.value)
            assert await database.write(lambda connection: take_numbers(connection, "settlements")) == 1
        finally:
            await database.aclose()


async def test_who_gives_up_waits_no_longer(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is cancelled while the server is silent is gone at once; what it began is undone."""
    near = postgres.new_database()
    monkeypatch.setattr(_Connection, "silence_seconds", 300)
    async with FaultProxy(f"unix://{postgres.socket}") as proxy:
        database = await Database.open(behind(proxy, near))
        try:
            await database.prove("settlements")
            proxy.freeze()
            asking = asyncio.create_task(database.prove("settlements"))
            await asyncio.sleep(0.1)
            asking.cancel()
            async with asyncio.timeout(40):
                with pytest.raises(asyncio.CancelledError):
                    await asking
            await database.prove("settlements")
        finally:
            await database.aclose()
