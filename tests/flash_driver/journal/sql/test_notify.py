"""Hearing of settlements that another process made."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.journal.sql import notify
from flash_driver.journal.sql.schema import accounts, invoices
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from flash_driver.journal.wakeup import Topic
from tests.support.journals import an_invoice, open_journal, settle
from tests.support.logs import recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from flash_driver.journal.journal import Journal
    from tests.support.postgres import PostgresServer


@pytest.fixture(autouse=True)
def _no_safety_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody be woken but by what is heard."""
    monkeypatch.setattr(notify, "_SAFETY_SECONDS", 1000.0)


@pytest.fixture
async def mine(durable_url: JournalUrl) -> AsyncIterator[SqlStore]:
    """Give the store of one process."""
    async with aclosing(SqlStore(durable_url)) as store:
        yield store


@pytest.fixture
async def yours(durable_url: JournalUrl) -> AsyncIterator[SqlStore]:
    """Give the store that another process would have on the same database."""
    async with aclosing(SqlStore(durable_url)) as store:
        yield store


async def hear(journal: Journal, after: int) -> list[int]:
    """Wait for settlements as a listener does: begin to wait, look, wait."""
    async with asyncio.timeout(20):
        while True:
            with journal.news.settled.waiting() as ring:
                if settled := await journal.settled_after(after):
                    return [row.settle_index or 0 for row in settled]
                await ring


async def until(true: Callable[[], object]) -> None:
    """Let the event loop turn until something is so, for a bounded time."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_another_process_is_heard(mine: SqlStore, yours: SqlStore) -> None:
    """What one process settles wakes who waits in another, at once and each time."""
    listening, settling = await open_journal(mine), await open_journal(yours)
    for number in (1, 2, 3):
        await settling.add_invoice(an_invoice(number))
        heard, _ = await asyncio.gather(hear(listening, number - 1), settle(settling, number))
        assert heard == [number]


async def test_what_is_made_in_another_process_is_heard(mine: SqlStore, yours: SqlStore) -> None:
    """An invoice that one process makes wakes who waits for new ones in another."""
    listening, making = await open_journal(mine), await open_journal(yours)
    _, place = await listening.made_after(None)
    with listening.news.made.waiting() as first_look:
        await first_look
    made = asyncio.create_task(making.add_invoice(an_invoice(1)))
    async with asyncio.timeout(40):
        while True:
            with listening.news.made.waiting() as woken:
                found, _ = await listening.made_after(place)
                if found:
                    break
                await woken
    await made
    assert found == [an_invoice(1)]


async def test_what_a_process_writes_itself_is_news_only_to_those_it_concerns(sqlite_url: JournalUrl) -> None:
    """A new invoice wakes who waits for those, a settlement who waits for that; the file then tells nobody again."""
    async with aclosing(SqlStore(sqlite_url)) as store, aclosing(SqlStore(sqlite_url)) as other:
        journal, elsewhere = await open_journal(store), await open_journal(other)
        with journal.news.made.waiting() as first_look:
            await first_look
        with journal.news.made.waiting() as made, journal.news.settled.waiting() as settled:
            await journal.add_invoice(an_invoice(1))
            await made
            with journal.news.made.waiting() as made_again:
                await asyncio.sleep(5 * notify._LOOK_SECONDS)
                assert not settled.done()
                await settle(journal, 1)
                await settled
                await asyncio.sleep(5 * notify._LOOK_SECONDS)
                assert not made_again.done()
                await elsewhere.add_orphan(an_invoice(2))
                async with asyncio.timeout(40):
                    await made_again


async def test_postgresql_names_account_and_topic(postgres: PostgresServer) -> None:
    """A notification says whose invoice was made or settled, so that nobody else has to look."""
    url = JournalUrl.parse(postgres.new_database())
    heard: list[tuple[int | None, Topic | None]] = []

    def wake(account: int | None = None, topic: Topic | None = None) -> None:
        heard.append((account, topic))

    async with aclosing(SqlStore(url)) as store:
        one, another = (
            await open_journal(store, "one", "server one"),
            await open_journal(store, "another", "server another"),
        )
        for journal in (one, another):
            await journal.add_invoice(an_invoice(1))
        listening = asyncio.create_task(notify.PostgresNotifications(url).listen(wake))
        await until(lambda: heard == [(None, None)])
        await settle(one, 1)
        await another.add_invoice(an_invoice(2))
        await settle(another, 1)
        await until(lambda: len(heard) == 4)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert heard[1:] == [(1, Topic.SETTLED), (2, Topic.MADE), (2, Topic.SETTLED)]


def settle_silently(connection: Connection) -> None:
    """Settle an invoice as a process would whose notification was lost."""
    facts = {"status": LightningInvoiceStatus.PAID, "settle_index": 1, "amount_received_msat": 1}
    connection.execute(update(invoices).values(facts))
    connection.execute(update(accounts).values(last_settle_index=1))


async def test_a_lost_notification_is_made_up_for(
    mine: SqlStore, yours: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing was heard, everybody looks every few seconds."""
    monkeypatch.setattr(notify, "_SAFETY_SECONDS", 0.05)
    listening = await open_journal(mine)
    await listening.add_invoice(an_invoice(1))
    with listening.news.settled.waiting() as first_look:
        await first_look
    await open_journal(yours, "fingerprint", None)
    heard, _ = await asyncio.gather(hear(listening, 0), yours.transactions.write(settle_silently))
    assert heard == [1]


async def test_nothing_is_missed_before_hearing_begins(mine: SqlStore, yours: SqlStore) -> None:
    """A settlement between a listener's look and the beginning of hearing wakes him all the same."""
    listening, settling = await open_journal(mine), await open_journal(yours)
    await settling.add_invoice(an_invoice(1))
    with listening.news.settled.waiting() as ring:
        assert await listening.settled_after(0) == []
        await settle(settling, 1)
        async with asyncio.timeout(20):
            await ring
    assert len(await listening.settled_after(0)) == 1


async def test_a_connection_that_breaks_is_made_anew(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server cuts the listening connection that is logged once, and hearing begins again."""
    monkeypatch.setattr(notify, "_PAUSE_SECONDS", 0.01)
    url = JournalUrl.parse(postgres.new_database())
    async with aclosing(SqlStore(url)) as mine, aclosing(SqlStore(url)) as yours:
        listening, settling = await open_journal(mine), await open_journal(yours)
        await settling.add_invoice(an_invoice(1))
        with listening.news.settled.waiting() as first_look:
            await first_look
        with recorded() as story, listening.news.settled.waiting() as ring:
            postgres.stop()
            await until(lambda: any("are not heard of now" in entry["event"] for entry in story.entries))
            postgres.start()
            async with asyncio.timeout(20):
                await ring
        heard, _ = await asyncio.gather(hear(listening, 0), settle(settling, 1))
        assert heard == [1]
    told = [entry for entry in story.entries if "are not heard of now" in entry["event"]]
    assert len(told) == 1


async def test_a_mistake_of_our_own_is_not_hidden(durable_url: JournalUrl) -> None:
    """An error that no database made is logged, and ends hearing instead of being tried again for ever."""

    class Broken:
        async def listen(self, wake: Callable[[], None]) -> None:
            wake()
            raise ZeroDivisionError

    def wake(account: int | None = None, topic: Topic | None = None) -> None:
        assert (account, topic) == (None, None)

    notifier = notify.Notifier(durable_url, Broken(), wake)
    with recorded() as story:
        notifier.start()
        notifier.start()
        assert await notifier._tasks.ended(40)
        notifier.start()
        await notifier.aclose()
    (told,) = [entry for entry in story.entries if entry["log_level"] == "error"]
    assert told["error"] == "ZeroDivisionError"
    assert not notifier._tasks
