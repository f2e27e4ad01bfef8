"""Settlements are heard, recorded once, and told to all who want to know."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Never

import pytest
from sqlalchemy import text

from connection_strings import (
    CreateInvoiceParams,
    CredentialRejected,
    InvalidReply,
    LightMoney,
    LightningClientFactory,
    LightningError,
    Secret,
)
from lightning_host.allowance import Allowance
from lightning_host.host import Host, open_host
from lightning_host.settings import HostSettings
from lightning_host.settlements import wallet_listener
from tests.lightning_host.fake_driver import FakeClient, FakeHandler, FakeListener, FakeNode
from tests.lightning_host.hosts import eventually
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Connection

    from connection_strings import LightningInvoice
    from lightning_host.settlements.ledger import Settlement
    from tests.lightning_host.hosts import HostBench

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")


@asynccontextmanager
async def opened(node: FakeNode, hosts: HostBench) -> AsyncIterator[Host]:
    """Open a host without a web server, whose handler counts settlements in a table."""
    settings = HostSettings(connection_string=Secret(f"type=fake;node={node.name}"), database_url=hosts.secret())

    def count(connection: Connection, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            connection.execute(text("INSERT INTO heard VALUES (:hash)"), {"hash": settlement.payment_hash})

    async with open_host(settings, LightningClientFactory([FakeHandler])) as host:
        await change(host, "CREATE TABLE IF NOT EXISTS heard (hash TEXT)")
        host.settlements.on_settled(count)
        yield host


async def change(host: Host, statement: str, values: Any = None) -> None:
    """Change the host's database by hand."""
    await host.database.write(lambda connection: connection.execute(text(statement), values))


async def heard(host: Host) -> list[str]:
    """Return what the handler has heard."""
    query = text("SELECT hash FROM heard ORDER BY hash")
    return await host.database.read(lambda connection: [row.hash for row in connection.execute(query)])


async def until_deaf(host: Host, expected: dict[str, str]) -> None:
    """Wait until these stores, and no others, are deaf."""

    async def so() -> bool:
        return host.settlements.deaf == expected

    await eventually(so)


async def invoice_for(host: Host, subject: str = "") -> LightningInvoice:
    """Make an invoice with a purpose."""
    store = host.stores.get("shop")
    assert store is not None
    return await host.invoices.create(store, COFFEE, purpose="test", subject=subject)


async def wait_until_heard(host: Host, invoice: LightningInvoice) -> Settlement:
    """Wait until a settlement is recorded."""
    async with asyncio.timeout(20), host.settlements.subscribe("shop", after=0) as settled:
        async for settlement in settled:
            if settlement.payment_hash == invoice.id:
                return settlement
    raise AssertionError(invoice.id)


async def test_settlement_reaches_handler_and_subscribers(node: FakeNode, hosts: HostBench) -> None:
    """A paid invoice is recorded with its purpose; the handler and each fitting subscriber hear of it once."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        await until_deaf(host, {})
        invoice = await invoice_for(host, "table 7")
        other = await invoice_for(host, "table 8")
        async with (
            host.settlements.subscribe("shop", purpose="test", subject="table 7") as seven,
            host.settlements.subscribe("shop") as every,
        ):
            await node.pay(other.id)
            await node.pay(invoice.id)
            async with asyncio.timeout(20):
                settlement = await anext(seven)
                assert [(await anext(every)).payment_hash for _ in range(2)] == [other.id, invoice.id]
        assert (settlement.payment_hash, settlement.subject, settlement.amount) == (
            invoice.id,
            "table 7",
            COFFEE.amount,
        )
        assert await heard(host) == sorted([invoice.id, other.id])
        assert await host.settlements.find("shop", invoice.id) == settlement


async def test_a_payment_waits_for_its_amount(node: FakeNode, hosts: HostBench) -> None:
    """A payment of any amount that the wallet can't measure yet is recorded once, with the amount, not as nothing."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        await until_deaf(host, {})
        store = host.stores.get("shop")
        assert store is not None
        invoice = await host.invoices.create(store, CreateInvoiceParams(LightMoney.ZERO), purpose="test", subject="")
        await node.pay(invoice.id)
        after = await invoice_for(host)
        await node.pay(after.id)
        assert (await wait_until_heard(host, after)).amount == COFFEE.amount
        assert await host.settlements.find("shop", invoice.id) is None
        await node.pay(invoice.id, LightMoney.from_sat(5), heard=False)
        assert (await wait_until_heard(host, invoice)).amount == LightMoney.from_sat(5)


async def test_what_was_paid_while_the_host_was_down_is_heard_once(node: FakeNode, hosts: HostBench) -> None:
    """The cursor is kept with the settlement: a restart misses nothing and repeats nothing."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        first, second = await invoice_for(host), await invoice_for(host)
        await node.pay(first.id)
        await wait_until_heard(host, first)
    await node.pay(second.id)
    async with opened(node, hosts) as host:
        await host.settlements.start()
        await wait_until_heard(host, second)
        assert await heard(host) == sorted([first.id, second.id])


async def test_refused_cursor_makes_the_host_ask_about_open_invoices(node: FakeNode, hosts: HostBench) -> None:
    """When the wallet has forgotten the cursor, what was paid meanwhile is found by asking."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        invoice = await invoice_for(host)
        await until_deaf(host, {})
    await node.pay(invoice.id)
    async with opened(node, hosts) as host:
        await change(host, "UPDATE host_cursors SET cursor = 'another node:0'")
        await host.settlements.start()
        await wait_until_heard(host, invoice)
        assert await heard(host) == [invoice.id]


async def test_failing_handler_undoes_the_record_and_gets_the_settlement_again(
    node: FakeNode, hosts: HostBench
) -> None:
    """What a handler wrote before it failed is undone; the settlement comes again and is handled once."""
    calls = 0

    def fail_once(connection: Connection, settlements: Sequence[Settlement]) -> None:
        nonlocal calls
        calls += 1
        del connection, settlements
        if calls == 1:
            raise RuntimeError("a fault in a group")

    async with opened(node, hosts) as host:
        host.settlements.on_settled(fail_once)
        await host.settlements.start()
        invoice = await invoice_for(host)
        await node.pay(invoice.id)
        await wait_until_heard(host, invoice)
        assert calls == 2
        assert await heard(host) == [invoice.id]


async def test_two_replicas_on_one_database_record_once_and_both_tell(node: FakeNode, hosts: HostBench) -> None:
    """Each replica hears the same settlement; one row, one handled settlement, one message in each process."""
    async with opened(node, hosts) as one, opened(node, hosts) as two:
        await one.settlements.start()
        await two.settlements.start()
        invoices = [await invoice_for(one) for _ in range(5)]
        async with one.settlements.subscribe("shop") as at_one, two.settlements.subscribe("shop") as at_two:
            for invoice in invoices:
                await node.pay(invoice.id)
            async with asyncio.timeout(20):
                told = [[(await anext(at)).payment_hash for _ in invoices] for at in (at_one, at_two)]
        assert sorted(told[0]) == sorted(told[1]) == sorted(invoice.id for invoice in invoices) == await heard(one)


async def test_wallet_that_fails_is_listened_to_again(
    node: FakeNode, hosts: HostBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a wallet can't be heard the store is called deaf, with the reason; afterwards nothing was missed."""
    monkeypatch.setattr(wallet_listener, "SOUND_SECONDS", 0.1)
    async with opened(node, hosts) as host:
        await host.settlements.start()
        invoice = await invoice_for(host)
        node.broken = LightningError("the backend is away")
        await node.ring()
        await until_deaf(host, {"shop": "LightningError: the backend is away"})
        node.broken = None
        await node.pay(invoice.id)
        await wait_until_heard(host, invoice)
        await until_deaf(host, {})


async def test_trouble_that_goes_on_is_logged_once(
    node: FakeNode, hosts: HostBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a wallet is listened to in vain, one line says so, and one says once it is heard again."""
    for name, seconds in (("_FIRST_PAUSE", 0.01), ("_LONGEST_PAUSE", 0.01), ("SOUND_SECONDS", 0.1)):
        monkeypatch.setattr(wallet_listener, name, seconds)
    attempts, listen = 0, FakeClient.listen

    async def count(self: FakeClient, *, after: str | None = None) -> FakeListener:
        nonlocal attempts
        attempts += 1
        return await listen(self, after=after)

    monkeypatch.setattr(FakeClient, "listen", count)
    async with opened(node, hosts) as host:
        await host.settlements.start()
        for times in (1, 2):
            before = attempts
            node.broken = CredentialRejected("the token is dead")
            await node.ring()
            await until(lambda before=before: attempts > before + 5)  # type: ignore[misc]  # a default binds it
            assert sum("is not heard" in line for line in caplog.messages) == times
            assert sum("is heard again" in line for line in caplog.messages) == times - 1
            node.broken = None
            await until_deaf(host, {})
            assert sum("is heard again" in line for line in caplog.messages) == times


async def test_a_refused_token_is_told_as_one(
    node: FakeNode, hosts: HostBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead token is told apart from other trouble, because only a person can do something about it."""
    monkeypatch.setattr(wallet_listener, "SOUND_SECONDS", 0.1)
    async with opened(node, hosts) as host:
        await host.settlements.start()
        assert host.settlements.refused == set()
        node.broken = CredentialRejected("the token is dead")
        await node.ring()
        await until_deaf(host, {"shop": "CredentialRejected: the token is dead"})
        assert host.settlements.refused == {"shop"}
        node.broken = None
        await until_deaf(host, {})
        assert host.settlements.refused == set()


async def test_invoices_of_other_hosts_do_not_count(node: FakeNode, hosts: HostBench) -> None:
    """A settlement of an invoice that this host never made is passed over."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        store = host.stores.get("shop")
        assert store is not None
        foreign = await store.client.create_invoice(COFFEE)
        ours = await invoice_for(host)
        await node.pay(foreign.id)
        await node.pay(ours.id)
        await wait_until_heard(host, ours)
        assert await host.settlements.find("shop", foreign.id) is None
        assert await heard(host) == [ours.id]


async def test_subscriber_resumes_after_a_number(node: FakeNode, hosts: HostBench) -> None:
    """A page that reconnects with the last number it had gets what came since, and not what it had."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        await until_deaf(host, {})
        invoices = [await invoice_for(host) for _ in range(3)]
        for invoice in invoices[:2]:
            await node.pay(invoice.id)
        first = await wait_until_heard(host, invoices[0])
        await wait_until_heard(host, invoices[1])
        async with asyncio.timeout(20), host.settlements.subscribe("shop", after=first.number) as settled:
            await node.pay(invoices[2].id)
            assert [(await anext(settled)).payment_hash for _ in range(2)] == [invoices[1].id, invoices[2].id]


async def record_many(host: Host, count: int, *, purpose: str) -> None:
    """Write settlements straight into the table, as many replicas over a long time would have."""
    row = "('shop', :hash, :number, :purpose, '', 1000, 0, 0)"
    columns = "store, payment_hash, number, purpose, subject, amount_msat, paid_at, recorded_at"
    last = await host.settlements.last_number()
    rows = [
        {"hash": f"{number:064x}", "number": number, "purpose": purpose} for number in range(last + 1, last + count + 1)
    ]
    await change(host, f"INSERT INTO host_settlements ({columns}) VALUES {row}", rows)  # noqa: S608 - constants of this test


async def test_subscriber_reads_all_that_is_older(node: FakeNode, hosts: HostBench) -> None:
    """However many settlements lie between, and whatever they were for, none that fits is missed."""
    async with opened(node, hosts) as host:
        await record_many(host, 1_100, purpose="lnurl")
        await record_many(host, 1_100, purpose="wanted")
        async with asyncio.timeout(20), host.settlements.subscribe("shop", purpose="wanted", after=0) as settled:
            assert [(await anext(settled)).number for _ in range(1_100)] == [*range(1_101, 2_201)]


async def test_slow_subscriber_misses_none(node: FakeNode, hosts: HostBench) -> None:
    """A subscriber that falls far behind fills no memory: it reads on from the table."""
    async with opened(node, hosts) as host, host.settlements.subscribe("shop") as settled:
        await host.settlements.start()
        await record_many(host, 1_300, purpose="test")

        async def told() -> bool:
            return settled.behind

        await eventually(told)
        async with asyncio.timeout(20):
            assert [(await anext(settled)).number for _ in range(1_300)] == [*range(1, 1_301)]


async def test_one_that_cannot_be_told_stops_no_other(
    node: FakeNode, hosts: HostBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a useless cursor the host listens at once and asks beside it; what was never told is asked later."""
    async with opened(node, hosts) as host:
        mute, late, new = [await invoice_for(host) for _ in range(3)]
    for invoice in (mute, late):
        await node.pay(invoice.id)
    get_invoice = FakeClient.get_invoice

    async def get(self: FakeClient, invoice_id: str) -> LightningInvoice | None:
        if invoice_id == mute.id:
            raise InvalidReply("nobody understands this one")
        return await get_invoice(self, invoice_id)

    monkeypatch.setattr(FakeClient, "get_invoice", get)
    async with opened(node, hosts) as host:
        await host.settlements.start()
        await until_deaf(host, {})
        await node.pay(new.id)
        await wait_until_heard(host, new)
        await wait_until_heard(host, late)
        assert await heard(host) == sorted([late.id, new.id])
    monkeypatch.undo()
    async with opened(node, hosts) as host:
        await host.settlements.start()
        await wait_until_heard(host, mute)
        assert await heard(host) == sorted([mute.id, late.id, new.id])


async def test_one_that_cannot_be_recorded_stops_no_other(node: FakeNode, hosts: HostBench) -> None:
    """A handler that fails at one settlement leaves the others to be recorded; that one comes again until it is."""
    async with opened(node, hosts) as host:
        odd, even = await invoice_for(host, "odd"), await invoice_for(host, "even")
        broken = True

        def fail_at_odd(_: Connection, settlements: Sequence[Settlement]) -> None:
            if broken and any(settlement.subject == "odd" for settlement in settlements):
                raise RuntimeError("a fault")

        host.settlements.on_settled(fail_at_odd)
        await host.settlements.start()
        await until_deaf(host, {})
        await node.pay(odd.id)
        await node.pay(even.id)
        await wait_until_heard(host, even)
        assert await heard(host) == [even.id]
        broken = False
        await wait_until_heard(host, odd)
        assert (host.settlements.deaf, await heard(host)) == ({}, sorted([odd.id, even.id]))


async def test_replica_that_cannot_read_ends_its_subscriptions(
    node: FakeNode, hosts: HostBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blind replica sends subscribers away, those that come too, and takes them again once it can read."""
    async with opened(node, hosts) as host:
        await host.settlements.start()
        async with host.settlements.subscribe("shop") as settled:
            with monkeypatch.context() as away:
                away.setattr(host.database, "read", unreachable)
                async with asyncio.timeout(20):
                    assert [each async for each in settled] == []
                assert not host.settlements.telling
                async with host.settlements.subscribe("shop") as another:
                    assert [each async for each in another] == []

            async def telling() -> bool:
                return host.settlements.telling

            await eventually(telling)


def unreachable(_: object) -> Never:
    """Stand for a database that can't be reached."""
    raise OSError("unreachable")


async def test_see_records_what_was_found_by_asking(node: FakeNode, hosts: HostBench) -> None:
    """A subject that finds an invoice paid records it the same way; a second time does nothing."""
    async with opened(node, hosts) as host:
        store = host.stores.get("shop")
        assert store is not None
        invoice = await invoice_for(host)
        await host.settlements.see(store, invoice)
        assert await heard(host) == []
        paid = await node.pay(invoice.id)
        await host.settlements.see(store, paid)
        await host.settlements.see(store, paid)
        assert await heard(host) == [invoice.id]
        assert await host.settlements.count() == {("shop", "test"): (1, 1_000_000)}


@pytest.mark.parametrize("times", [1, 3])
async def test_budget_is_shared_through_the_database(node: FakeNode, hosts: HostBench, times: int) -> None:
    """Two replicas together may do something only that many times; then they are told how long to wait."""
    allowance = Allowance(times=times, seconds=60)
    async with opened(node, hosts) as one, opened(node, hosts) as two:
        waits = await asyncio.gather(*((one, two)[turn % 2].budgets.spend("lnurl", allowance) for turn in range(6)))
        assert sorted(waits)[:times] == [0] * times
        assert all(1 <= wait <= 60 for wait in sorted(waits)[times:])
        assert await one.budgets.spend("another", allowance) == 0
        assert await one.budgets.spend("lnurl", None) == 0
