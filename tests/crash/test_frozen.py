"""Processes that are stopped or cut off in the middle of what they do: the others go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightMoney
from flash_driver.accounts.pool import Pool
from flash_driver.journal.attempt_rules import Begun
from flash_driver.journal.sql.postgresql import connect
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from flash_driver.settings.process import ProcessSettings
from tests.support.journals import a_payment, an_invoice, open_journal, set_patience, settle
from tests.support.postgres import PASSWORD
from tests.support.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.driver import Bench
    from tests.support.postgres import PostgresServer
    from tests.support.processes import Driver

pytestmark = pytest.mark.timeout(300)


@contextlib.asynccontextmanager
async def stopped(driver: Driver, **order: Any) -> AsyncIterator[None]:
    """Have a process carry an order out until it stops; it is let go on, and killed, afterwards."""
    events = driver.events(**order)
    async for event in events:
        if event["event"] == "stops":
            pid = int(event["pid"])
            break
    else:
        raise AssertionError("it did not come that far")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        async for _ in events:
            pass


@pytest.mark.parametrize("at", ["before ['UPDATE', 'flash_spent']", "before ['INSERT', 'INTO']", "before COMMIT"])
async def test_a_stopped_process_holds_nobody_up(
    bench: Bench, driver: Driver, postgres: PostgresServer, at: str
) -> None:
    """A process is stopped while it holds its account's lock; creating, looking up and paying work for the others.

    Each of these fails by itself where it has to wait for longer than 5 s.
    """
    sandbox, url = await bench.sandbox(), postgres.new_database()
    settings = ProcessSettings.model_validate({"journal_url": url})
    merchant = await bench.client(sandbox, Pool(), settings)
    before = await merchant.create_invoice(LightMoney.from_sat(1000))
    order = {"flow": "create", "string": sandbox.connection_string, "journal": url, "stop_at": at}
    async with stopped(driver, **order):
        invoice = await merchant.create_invoice(LightMoney.from_sat(1000))
        assert await merchant.get_invoice(before.id) is not None
        assert {row.id for row in await merchant.list_invoices()} == {before.id, invoice.id}


async def test_a_session_in_the_middle_of_a_statement_is_ended(postgres: PostgresServer) -> None:
    """A process of an older driver stopped between Parse and Sync is not idle for the server; who waits ends it."""
    url = JournalUrl.parse(postgres.new_database())
    async with aclosing(SqlStore(url)) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))
        holder = await connect(url)
        await holder.execute("BEGIN; SELECT * FROM flash_accounts FOR UPDATE")
        holder.pgconn.enter_pipeline_mode()
        holder.pgconn.send_prepare(b"", b"SELECT 1")
        holder.pgconn.send_flush_request()
        holder.pgconn.flush()
        assert postgres.sql("SELECT state FROM pg_stat_activity WHERE xact_start < now()", "postgres") == "active"
        settled = await settle(journal, 1)
        assert settled is not None
        mine = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {holder.pgconn.backend_pid}"  # noqa: S608 - a number of ours
        assert postgres.sql(mine, "postgres") == "0"
        await holder.close()


async def test_a_session_of_others_is_left_alone(postgres: PostgresServer) -> None:
    """Somebody else's transaction that holds the lock is waited for, and told of; it is not ended."""
    url = JournalUrl.parse(postgres.new_database())
    async with aclosing(SqlStore(url)) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))
        set_patience(store, 2.5)
        async with await connect(url) as holder:
            await holder.execute("SET application_name = 'psql'")
            await holder.execute("BEGIN; SELECT * FROM flash_accounts FOR UPDATE")
            with pytest.raises(Exception, match=r"did not answer|too busy"):
                await settle(journal, 1)
            await holder.execute("COMMIT")
        set_patience(store, 30)
        assert await settle(journal, 1) is not None


async def test_a_process_that_is_cut_off_holds_nobody_up(postgres: PostgresServer) -> None:
    """The way of one process to the server is cut in the middle of a transaction; the others, and later it, go on."""
    near = postgres.new_database()
    name = near.partition("@/")[2].partition("?")[0]
    async with FaultProxy(f"unix://{postgres.socket}") as proxy:
        port = proxy.url.rpartition(":")[2].partition("/")[0]
        far = JournalUrl.parse(f"postgresql://journal:{PASSWORD}@127.0.0.1:{port}/{name}")
        async with (
            aclosing(SqlStore(far)) as cut_off,
            aclosing(SqlStore(JournalUrl.parse(near), patience=30)) as others,
        ):
            here, there = await open_journal(cut_off), await open_journal(others)
            await there.add_invoice(an_invoice(1))
            loop = asyncio.get_running_loop()

            def hold(connection: Any) -> None:
                connection.exec_driver_sql("SELECT * FROM flash_accounts FOR UPDATE")
                loop.call_soon(proxy.freeze)
                connection.exec_driver_sql("SELECT pg_sleep(0)")
                connection.exec_driver_sql("SELECT pg_sleep(0)")

            with pytest.raises(Exception, match="did not answer"):
                await cut_off.transactions.write(hold, patience=1)
            assert await settle(there, 1) is not None
            mine = a_payment(1)
            assert await there.begin_payment(mine) == Begun(mine)
            proxy.heal()
            assert await here.last_settle_index() == 1
