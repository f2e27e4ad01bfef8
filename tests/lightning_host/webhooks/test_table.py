"""What is remembered of webhooks, on both databases: deliveries that are over go after a while, others stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from connection_strings import LightMoney, Secret
from lightning_host.database import Database, now_ms
from lightning_host.settlements.ledger import Settlement
from lightning_host.webhooks.records import DeliveryStatus
from lightning_host.webhooks.table import Attempt, WebhookTable, queue_for_webhooks
from tests.lightning_host.hosts import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lightning_host.webhooks.records import Delivery
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

MONTH = timedelta(days=30)
NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, hosts: HostBench) -> AsyncIterator[Database]:
    """Give an empty database, of each kind."""
    on_server = request.param == "postgresql"
    url = request.getfixturevalue("postgres").new_database() if on_server else hosts.sqlite()
    opened = await Database.open(Secret(url))
    yield opened
    await opened.aclose()


async def queue(database: Database, count: int) -> list[str]:
    """Queue deliveries to one webhook; gives their ids."""
    rows = WebhookTable(database)
    webhook = await rows.add("shop", "https://shop.example/hook", Secret("a secret"), (), enabled=True)
    for number in range(count):
        settlement = Settlement(
            store="shop",
            payment_hash=f"{number:064x}",
            number=number,
            purpose="greenfield",
            subject="",
            external_id=None,
            amount=LightMoney.from_sat(1),
            preimage=None,
            paid_at=NOW,
            recorded_at=NOW,
        )
        await database.write(partial(queue_for_webhooks, settlements=[settlement]))
    return [delivery.id for delivery in await rows.deliveries(webhook, offset=0, limit=count)]


async def alter(database: Database, delivery_id: str, status: DeliveryStatus, days: int) -> None:
    """Let a delivery have come to this status that many days ago."""
    due = now_ms() - timedelta(days=days) // timedelta(milliseconds=1)
    values = {"id": delivery_id, "status": status, "due": due}
    change = text("UPDATE host_webhook_deliveries SET status = :status, due_at = :due WHERE id = :id")
    await database.write(lambda connection: connection.execute(change, values))


async def left(database: Database) -> set[str]:
    """Return the ids of the deliveries that are there."""
    query = text("SELECT id FROM host_webhook_deliveries")
    return await database.read(lambda connection: {row.id for row in connection.execute(query)})


async def test_old_deliveries_are_deleted(database: Database) -> None:
    """Delivered and given up for a month they go; younger ones stay, and what is still to be sent, however old."""
    made = await queue(database, 5)
    states: list[tuple[DeliveryStatus, int]] = [
        (DeliveryStatus.DELIVERED, 31),
        (DeliveryStatus.GAVE_UP, 31),
        (DeliveryStatus.DELIVERED, 29),
        (DeliveryStatus.GAVE_UP, 29),
        (DeliveryStatus.PENDING, 365),
    ]
    for delivery_id, (status, days) in zip(made, states, strict=True):
        await alter(database, delivery_id, status, days)
    assert await WebhookTable(database).prune(MONTH, limit=100) == 2
    assert await left(database) == set(made[2:])


async def test_a_sweep_is_bounded(database: Database) -> None:
    """One sweep deletes that many and no more; the next goes on, until nothing is left."""
    for delivery_id in await queue(database, 5):
        await alter(database, delivery_id, DeliveryStatus.DELIVERED, 31)
    assert [await WebhookTable(database).prune(MONTH, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_host_sweeps_by_itself(hosts: HostBench, node: FakeNode) -> None:
    """A host deletes what is older than it is set to keep, and nothing else."""
    database = await Database.open(hosts.secret())
    old, young = await queue(database, 2)
    await alter(database, old, DeliveryStatus.DELIVERED, 8)
    await alter(database, young, DeliveryStatus.DELIVERED, 6)
    await hosts.host(node, webhook_keep_days=7)

    async def swept() -> bool:
        return await left(database) == {young}

    await eventually(swept)
    await database.aclose()


async def test_delivery_of_a_webhook_that_is_gone_is_given_up(hosts: HostBench, node: FakeNode) -> None:
    """A webhook that was removed while a settlement was being recorded leaves nothing behind that is tried for ever."""
    database = await Database.open(hosts.secret())
    (orphan,) = await queue(database, 1)
    await database.write(lambda connection: connection.execute(text("DELETE FROM host_webhooks")))
    await hosts.host(node)

    async def given_up() -> bool:
        delivery: Any = await WebhookTable(database).find_delivery(orphan)
        return bool(delivery.status is DeliveryStatus.GAVE_UP)

    await eventually(given_up)
    await database.aclose()


async def test_late_replica_changes_nothing_that_another_one_has_done(database: Database) -> None:
    """A claim that is over neither gives back nor lets be sent again; that something arrived counts however late."""
    rows = WebhookTable(database)
    made = set(await queue(database, 4))

    async def claim(seconds: float) -> list[Delivery]:
        return [each for _, of_one in await rows.claim(seconds, most=1, most_of_one=9, but_for=()) for each in of_one]

    def ended(delivery: Delivery, problem: str | None) -> Attempt:
        return Attempt(delivery, 500 if problem else 200, problem, 0 if problem else None)

    async def statuses() -> dict[str, DeliveryStatus]:
        found = {name: await rows.find_delivery(name) for name in made}
        return {name: delivery.status for name, delivery in found.items() if delivery is not None}

    late = await claim(-1)
    current = {each.id: each for each in await claim(3600)}
    assert {each.id for each in late} == set(current) == made
    failed, arrived, given_back, twice = late
    await rows.finish([ended(failed, "did not answer"), ended(arrived, None)])
    await rows.release([given_back])
    assert await claim(3600) == []
    assert await statuses() == dict.fromkeys(made, DeliveryStatus.PENDING) | {arrived.id: DeliveryStatus.DELIVERED}
    await rows.finish([ended(current[name], None) for name in (failed.id, twice.id)])
    await rows.finish([ended(current[arrived.id], "did not answer"), ended(twice, "did not answer")])
    await rows.release([current[given_back.id]])
    assert [each.id for each in await claim(3600)] == [given_back.id]
    assert await statuses() == dict.fromkeys(made, DeliveryStatus.DELIVERED) | {given_back.id: DeliveryStatus.PENDING}
