"""Whose journal it is, and what happens when it can't be used."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from connection_strings import (
    BackendUnavailable,
    ConnectionStringError,
    InvalidRequest,
    LightMoney,
    LightningInvoiceStatus,
    PayResult,
    RateLimited,
)
from flash_driver.accounts.account import Calls
from flash_driver.accounts.pool import Pool
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.journal.errors import JournalError, KnownElsewhere
from flash_driver.journal.sql.store import SqlStore
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.usefixtures("unhurried")

SAT = LightMoney.from_sat(1000)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> ProcessSettings:
    """Give settings with a journal of each kind."""
    url = "memory:" if request.param == "memory" else f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
    return ProcessSettings.model_validate({"journal_url": url, "invoice_budget": None})


@pytest.fixture
def in_file(tmp_path: Path) -> ProcessSettings:
    """Give settings with a journal in a file."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'folder' / 'journal.db'}"
    return ProcessSettings.model_validate({"journal_url": url, "invoice_budget": None})


def with_token(sandbox: Sandbox, token: str) -> str:
    """Return the sandbox's connection string with another token."""
    return sandbox.connection_string.replace(sandbox.token, token)


async def ids(client: FlashLightningClient) -> list[str]:
    """Return the ids of the invoices that a client lists."""
    return [invoice.id for invoice in await client.list_invoices()]


async def test_a_merchant_who_logs_in_again_finds_his_invoices(bench: Bench, process: ProcessSettings) -> None:
    """A new credential of the same account opens the same journal: invoices, payments and cursors are all there."""
    pool, sandbox = Pool(), await bench.sandbox()
    before = await bench.client(sandbox, pool, process)
    invoice = await before.create_invoice(SAT)
    payment = await before.pay(sandbox.foreign_invoice(1_000_000).payment_request)
    assert payment.result is PayResult.OK
    async with await before.listen() as listener:
        cursor = listener.cursor
    await before.aclose()
    after = await bench.client(with_token(sandbox, sandbox.api_key), pool, process)
    assert await ids(after) == [invoice.id]
    assert len(await after.list_payments()) == 1
    sandbox.pay(invoice.bolt11)
    async with await after.listen(after=cursor) as listener, asyncio.timeout(20):
        assert (await listener.wait_invoice()).id == invoice.id


async def test_two_accounts_on_one_journal_see_nothing_of_each_other(bench: Bench, process: ProcessSettings) -> None:
    """Another account is told nothing of this one's but that they are another's, and its cursor is not taken."""
    pool, sandbox = Pool(), await bench.sandbox()
    mine = await bench.client(sandbox, pool, process)
    yours = await bench.client(with_token(sandbox, sandbox.stranger_token), pool, process)
    invoice = await mine.create_invoice(SAT)
    other = await yours.create_invoice(SAT)
    with pytest.raises(KnownElsewhere):
        await yours.get_invoice(invoice.id)
    assert (await ids(mine), await ids(yours)) == ([invoice.id], [other.id])
    async with await mine.listen() as hears, await yours.listen() as deaf:
        sandbox.pay(invoice.bolt11)
        async with asyncio.timeout(20):
            assert (await hears.wait_invoice()).id == invoice.id
        sandbox.pay(other.bolt11)
        async with asyncio.timeout(20):
            assert (await deaf.wait_invoice()).id == other.id
        with pytest.raises(InvalidRequest, match="belongs to another journal"):
            await yours.listen(after=hears.cursor)


async def test_what_one_account_pays_no_other_account_pays(bench: Bench, process: ProcessSettings) -> None:
    """After the string has moved to another account the same BOLT11 is not paid again, nor is its payment unknown."""
    pool, sandbox = Pool(), await bench.sandbox()
    mine = await bench.client(sandbox, pool, process)
    moved = await bench.client(with_token(sandbox, sandbox.stranger_token), pool, process)
    signed = sandbox.foreign_invoice(5000)
    assert (await mine.pay(signed.payment_request)).result is PayResult.OK
    with pytest.raises(KnownElsewhere):
        await moved.pay(signed.payment_request)
    with pytest.raises(KnownElsewhere):
        await moved.get_payment(signed.payment_hash)
    assert [row["times_executed"] for row in sandbox.ledger_snapshot()["payments"]] == [1]


async def test_the_same_account_on_another_server_is_another_account(bench: Bench, in_file: ProcessSettings) -> None:
    """Test and live server never mix, though one journal serves both."""
    pool = Pool()
    live, test = [await bench.sandbox(token="ory_st_same", username=name) for name in ("live", "test")]
    await (await bench.client(live, pool, in_file)).create_invoice(SAT)
    assert await ids(await bench.client(test, pool, in_file)) == []


async def test_a_server_that_was_renamed(bench: Bench, in_file: ProcessSettings) -> None:
    """Under another name a server is another one; what is known is said to be; renamed, it has its accounts again."""
    sandbox = await bench.sandbox()
    invoice = await (await bench.client(sandbox, Pool(), in_file)).create_invoice(SAT)
    renamed = sandbox.connection_string.replace("127.0.0.1", "localhost")
    with pytest.raises(KnownElsewhere, match=r"of 127\.0\.0\.1:\d+/graphql; .* run flash-driver journal rename-server"):
        await (await bench.client(renamed, Pool(), in_file)).get_invoice(invoice.id)
    port = urlsplit(sandbox.server).port
    names = f"127.0.0.1:{port}/graphql", f"localhost:{port}/graphql"
    async with aclosing(SqlStore(in_file.journal_url)) as store:
        assert await store.rename_server(*names) == 1
    again = await bench.client(renamed, Pool(), in_file)
    assert await ids(again) == [invoice.id]
    await (await bench.client(sandbox, Pool(), in_file)).create_invoice(SAT)
    async with aclosing(SqlStore(in_file.journal_url)) as store:
        with pytest.raises(JournalError, match="has an account under localhost"):
            await store.rename_server(*names)


async def test_each_client_keeps_the_budget_it_is_given(bench: Bench) -> None:
    """The limit of the process settings that came first does not win for those that come later."""
    pool, sandbox = Pool(), await bench.sandbox()
    free = await bench.client(sandbox, pool, ProcessSettings(invoice_budget=None))
    bound = await bench.client(sandbox, pool, ProcessSettings(invoice_budget=InvoiceBudget(1, 60)))
    await free.create_invoice(SAT)
    await bound.create_invoice(SAT)
    with pytest.raises(RateLimited):
        await bound.create_invoice(SAT)
    await free.create_invoice(SAT)


async def test_once_known_the_journal_is_read_without_the_server(bench: Bench, in_file: ProcessSettings) -> None:
    """After a restart with the server down, what is journalled can be listed; what needs the server says so."""
    sandbox = await bench.sandbox()
    first = await bench.client(sandbox, Pool(), in_file)
    invoice = await first.create_invoice(SAT)
    await first.aclose()
    string, stranger = sandbox.connection_string, with_token(sandbox, sandbox.stranger_token)
    await sandbox.aclose()
    restarted = await bench.client(string, Pool(), in_file)
    assert await ids(restarted) == [invoice.id]
    assert await restarted.list_payments() == []
    with pytest.raises(BackendUnavailable):
        await restarted.get_invoice(invoice.id)
    unknown = await bench.client(stranger, Pool(), in_file)
    with pytest.raises(BackendUnavailable):
        await unknown.list_invoices()


async def test_a_restart_forgets_nothing(bench: Bench, in_file: ProcessSettings) -> None:
    """What was paid while no process ran is heard of after the cursor, once, and looked up as paid."""
    sandbox = await bench.sandbox()
    first = await bench.client(sandbox, Pool(), in_file)
    async with await first.listen() as listener:
        cursor = listener.cursor
    invoices = [await first.create_invoice(SAT) for _ in range(3)]
    await first.aclose()
    for invoice in invoices:
        sandbox.pay(invoice.bolt11)
    second = await bench.client(sandbox, Pool(), in_file)
    async with await second.listen(after=cursor) as listener, asyncio.timeout(20):
        heard = {(await listener.wait_invoice()).id for _ in range(3)}
        cursor = listener.cursor
    assert heard == {invoice.id for invoice in invoices}
    await second.aclose()
    third = await bench.client(sandbox, Pool(), in_file)
    again = await third.get_invoice(invoices[0].id)
    assert again is not None
    assert again.status is LightningInvoiceStatus.PAID
    async with await third.listen(after=cursor) as listener:
        assert listener.cursor == cursor


@pytest.mark.parametrize(
    ("cursor", "said"),
    [
        ("0123456789ab:0", "belongs to another journal"),
        ("{own}:7", "points beyond the last settlement"),
        ("{own}", "is not a cursor"),
        ("", "is not a cursor"),
    ],
)
async def test_cursors_that_cannot_be_followed(bench: Bench, process: ProcessSettings, cursor: str, said: str) -> None:
    """A cursor from another journal, from the future, or that is none, is refused by name."""
    client = await bench.client(await bench.sandbox(), Pool(), process)
    async with await client.listen() as listener:
        own = listener.cursor.partition(":")[0]
    with pytest.raises(InvalidRequest, match=said):
        await client.listen(after=cursor.replace("{own}", own))


async def test_no_invoice_is_handed_out_that_could_not_be_journalled(bench: Bench, in_file: ProcessSettings) -> None:
    """While the journal can't be written, creating an invoice is an error that says what to do; afterwards it works."""
    path = in_file.journal_url.path
    assert path is not None
    path.parent.write_text("a file where the folder should be")
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, Pool(), in_file)
    with pytest.raises(JournalError, match=r"can't be used .* set FLASH_JOURNAL_URL"):
        await client.create_invoice(SAT)
    foreign = sandbox.foreign_invoice(1_000_000).payment_request
    with pytest.raises(JournalError):
        await client.pay(foreign)
    ledger = sandbox.ledger_snapshot()
    assert (ledger["invoices"], ledger["payments"]) == ([], [])
    path.parent.unlink()
    invoice = await client.create_invoice(SAT)
    assert await ids(client) == [invoice.id]


async def test_a_wallet_that_does_not_exist_is_told(bench: Bench, in_file: ProcessSettings) -> None:
    """A wallet that the account has not is told by what needs it; the account's invoices can be read all the same."""
    client = await bench.client(
        await bench.sandbox(), Pool(), in_file, wallet_id="00000000-0000-0000-0000-000000000000"
    )
    for needs_it in (client.validate(), client.create_invoice(SAT), client.get_balance()):
        with pytest.raises(ConnectionStringError, match="names no wallet of this account"):
            await needs_it
    assert await client.list_invoices() == []


async def test_a_listener_outlives_what_is_learnt_of_the_account(bench: Bench, in_file: ProcessSettings) -> None:
    """After a restart the first call that asks the server whose account it is disturbs no listener that waits."""
    sandbox = await bench.sandbox()
    first = await bench.client(sandbox, Pool(), in_file)
    await first.create_invoice(SAT)
    await first.aclose()
    restarted = await bench.client(sandbox, Pool(), in_file)
    listener = await restarted.listen()
    cursor = listener.cursor
    await restarted.warm_up()
    assert listener.cursor == cursor
    invoice = await restarted.create_invoice(SAT)
    sandbox.pay(invoice.bolt11)
    async with asyncio.timeout(20):
        assert (await listener.wait_invoice()).id == invoice.id
    await listener.aclose()


async def test_closing_goes_on_when_a_part_of_it_fails(
    bench: Bench, in_file: ProcessSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails to close, everything else is closed all the same, and the failure is told."""
    client = await bench.client(await bench.sandbox(), Pool(), in_file)
    listener = await client.listen()
    account = client._account()
    assert account.socket is not None

    async def fail() -> None:
        raise OSError("it does not close")

    with monkeypatch.context() as patch:
        patch.setattr(account.payments, "aclose", fail)
        with pytest.raises(OSError, match="it does not"):
            await client.aclose()
    assert account.health.listening is Listening.OFF
    assert not account.socket.connected
    with pytest.raises(asyncio.CancelledError):
        await listener.wait_invoice()


async def test_waits_for_the_last_call() -> None:
    """Those who wait are let go when no call is under way any more, however they overlap."""
    calls = Calls()
    await calls.ended(20)
    with calls.one():
        with calls.one():
            waiting = asyncio.create_task(calls.ended(20))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(20):
        await waiting


async def test_waits_no_longer_than_told() -> None:
    """A call that never ends holds nobody for ever."""
    calls = Calls()
    with calls.one():
        async with asyncio.timeout(20):
            await calls.ended(0.01)


async def test_a_call_that_fails_is_over() -> None:
    """A call that raises does not count any longer."""
    calls = Calls()
    with pytest.raises(ZeroDivisionError), calls.one():
        _ = 1 // 0
    async with asyncio.timeout(20):
        await calls.ended(20)
