"""How many statements an invoice and a settlement take: what is recorded together costs as many as one."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError

from connection_strings import CreateInvoiceParams, LightMoney, LightningClientFactory, Secret
from lightning_host.allowance import Allowance
from lightning_host.budgets import Budgets
from lightning_host.checkout.table import settle_checkouts
from lightning_host.database import Database
from lightning_host.database.database import _counters
from lightning_host.flashcards.table import settle_flashcards
from lightning_host.invoices import HostInvoices
from lightning_host.settings import StoreSettings
from lightning_host.settlements.recorder import Recorder
from lightning_host.stores import Store
from lightning_host.webhooks.table import Attempt, WebhookTable, queue_event, queue_for_webhooks
from tests.lightning_host.fake_driver import FakeHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from connection_strings import LightningInvoice
    from lightning_host.webhooks.records import Delivery
    from tests.lightning_host.fake_driver import FakeNode
    from tests.support.postgres import PostgresServer

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")


async def statements(database: Database, doing: Awaitable[object]) -> int:
    """Do something; return how many statements it took, those included that begin a transaction."""
    kind: Any = database._kind
    engine, seen = getattr(kind.engine, "sync_engine", kind.engine), []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    await doing
    event.remove(engine, "before_cursor_execute", note)
    return len(seen)


async def test_what_is_recorded_together_costs_as_one(url: Secret, node: FakeNode) -> None:
    """Fifty settlements, told to a webhook, take the statements of one; an invoice takes one and its transaction."""
    client = LightningClientFactory([FakeHandler]).create(f"type=fake;node={node.name}")
    store = Store("shop", client, StoreSettings(connection_string=Secret(f"type=fake;node={node.name}")))
    async with aclosing(await Database.open(url)) as database:
        await WebhookTable(database).add("shop", "https://shop.example", Secret("a secret"), (), enabled=True)
        invoices, recorder = HostInvoices(database), Recorder(database)
        for handler in (settle_checkouts, settle_flashcards, queue_for_webhooks):
            recorder.add_handler(handler)

        async def paid() -> LightningInvoice:
            return await node.pay((await invoices.create(store, COFFEE, purpose="greenfield")).id)

        await recorder.record("shop", [await paid()], cursor="0")  # makes the rows of counter, total and cursor
        one, many = await paid(), [await paid() for _ in range(50)]
        assert await statements(database, invoices.create(store, COFFEE, purpose="greenfield")) <= 2
        alone = await statements(database, recorder.record("shop", [one], cursor="1"))
        assert await statements(database, recorder.record("shop", many, cursor="2")) == alone <= 10


async def test_invoices_of_many_share_a_transaction(url: Secret, node: FakeNode) -> None:
    """Sixteen invoices that are made at once are one statement, and wait for the disk together."""
    client = LightningClientFactory([FakeHandler]).create(f"type=fake;node={node.name}")
    store = Store("shop", client, StoreSettings(connection_string=Secret(f"type=fake;node={node.name}")))
    async with aclosing(await Database.open(url)) as database:
        invoices = HostInvoices(database)
        making = [asyncio.create_task(invoices.create(store, COFFEE, purpose="greenfield")) for _ in range(16)]
        assert await statements(database, asyncio.gather(*making)) <= 2 + 2
        made = await invoices.newest("shop", purpose="greenfield", subject="", limit=50)
        assert {each.payment_hash for each in made} == {(await each).payment_hash for each in making}
        assert {each.amount for each in made} == {COFFEE.amount}


async def test_a_row_that_is_wrong_takes_no_other_along(url: Secret) -> None:
    """Of rows that are added at once, one that is there already and one without its key fail by themselves."""
    async with aclosing(await Database.open(url)) as database:
        rows = [{"name": name, "value": 1} for name in ("a", "b", "a", None, "c")]
        results = await asyncio.gather(*(database.add(_counters, row) for row in rows), return_exceptions=True)
        assert [type(result) for result in results] == [
            type(None),
            type(None),
            IntegrityError,
            IntegrityError,
            type(None),
        ]
        kept = await database.read(lambda connection: connection.execute(select(_counters.c.name)).scalars().all())
    assert sorted(kept) == ["a", "b", "c"]


async def test_connections_are_kept(postgres: PostgresServer) -> None:
    """Many who write at once keep their connections: a server starts a process for each that is made."""
    made: list[object] = []
    async with aclosing(await Database.open(Secret(postgres.new_database()))) as database:
        kind: Any = database._kind
        event.listen(kind.engine.sync_engine, "connect", lambda wire, _: made.append(wire))
        for _ in range(3):
            await asyncio.gather(*(database.write(lambda each: each.execute(text("SELECT 1"))) for _ in range(40)))
    assert 1 < len(made) <= 10


async def test_deliveries_of_a_webhook_are_claimed_and_ended_together(url: Secret) -> None:
    """Fifty deliveries are claimed, and written down as delivered, by the statements of one."""
    async with aclosing(await Database.open(url)) as database:
        rows = WebhookTable(database)
        await rows.add("shop", "https://shop.example", Secret("a secret"), (), enabled=True)
        counted: list[tuple[int, int]] = []
        for deliveries in (1, 50):
            for _ in range(deliveries):
                await database.write(lambda connection: queue_event(connection, "shop", "InvoiceSettled", {}))
            claimed: list[Delivery] = []

            async def claim(into: list[Delivery] = claimed) -> None:
                ((_, found),) = await rows.claim(60, most=1, most_of_one=50, but_for=())
                into += found

            claims = await statements(database, claim())
            assert len(claimed) == deliveries
            ends = await statements(database, rows.finish([Attempt(each, 200, None, None) for each in claimed]))
            counted.append((claims, ends))
        assert counted[0] == counted[1]
        claims, ends = counted[0]
        assert claims <= 4
        assert ends <= 2


async def test_what_is_taken_out_of_a_budget_at_once(url: Secret) -> None:
    """Sixteen at once get what the budget has and no more, by two transactions: the first one's, and the others'."""
    async with aclosing(await Database.open(url)) as database:
        budgets, allowance = Budgets(database), Allowance(times=5, seconds=60)
        await budgets.spend("lnurl shop", allowance)
        waits: list[int] = []

        async def spend() -> None:
            waits.append(await budgets.spend("lnurl shop", allowance))

        assert await statements(database, asyncio.gather(*(spend() for _ in range(16)))) <= 2 * 5
        assert sorted(waits)[:4] == [0] * 4
        assert all(0 < wait <= 60 for wait in sorted(waits)[4:])
