"""A journal behind pgbouncer in transaction mode, where no session is ours."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from flash_driver.journal.attempt_rules import Begun
from flash_driver.journal.sql import notify
from flash_driver.journal.sql.schema import CHANNELS
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from flash_driver.journal.wakeup import Topic
from tests.support.journals import a_payment, an_invoice, open_journal, settle
from tests.support.logs import recorded
from tests.support.pgbouncer import BOUNCER_MISSING, bouncer_binary, transaction_pooler
from tests.support.postgres import PASSWORD
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer


@pytest.fixture
def pooled(postgres: PostgresServer) -> Iterator[JournalUrl]:
    """Give the URL of an empty database behind a pooler; without pgbouncer the test is skipped, in CI it fails."""
    if bouncer_binary() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(BOUNCER_MISSING)
    name = postgres.new_database().partition("/journal_")[2].partition("?")[0]
    with transaction_pooler(postgres) as port:
        yield JournalUrl.parse(f"postgresql://journal:{PASSWORD}@127.0.0.1:{port}/journal_{name}")


async def test_everything_works_behind_a_pooler(pooled: JournalUrl) -> None:
    """More callers than the pooler has connections make, settle and pay at once, and nothing is lost or doubled."""
    async with aclosing(SqlStore(pooled, 40)) as one, aclosing(SqlStore(pooled, 40)) as two:
        journals = [await open_journal(store) for store in (one, two)]
        await asyncio.gather(*(journals[n % 2].add_invoice(an_invoice(n)) for n in range(20)))
        await asyncio.gather(*(settle(journal, n) for n in range(20) for journal in journals))
        payments = [a_payment(n) for n in range(20) for _ in journals]
        begun = await asyncio.gather(
            *(journals[n % 2].begin_payment(payment) for n, payment in enumerate(payments)),
        )
        settled = await journals[0].settled_after(0)
    assert [row.settle_index for row in settled] == list(range(1, 21))
    assert sum(isinstance(decision, Begun) for decision in begun) == 20


async def test_settlements_of_other_processes_are_noticed_behind_a_pooler(
    pooled: JournalUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler passes no notifications on: that is found out, and the database is asked every second."""
    monkeypatch.setattr(notify, "_SAFETY_SECONDS", 1000.0)
    monkeypatch.setattr(notify, "_TRIAL_SECONDS", 0.2)
    monkeypatch.setattr(notify, "_PAUSE_SECONDS", 0.05)
    async with aclosing(SqlStore(pooled, 40)) as one, aclosing(SqlStore(pooled, 40)) as two:
        listening, settling = await open_journal(one), await open_journal(two)
        for number in (1, 2, 3):
            await settling.add_invoice(an_invoice(number))
            with listening.news.settled.waiting() as woken:
                await settle(settling, number)
                async with asyncio.timeout(20):
                    await woken
                    while not await listening.settled_after(number - 1):  # noqa: ASYNC110 - woken by what came before
                        await asyncio.sleep(0.05)


async def test_a_notification_that_came_by_chance_proves_nothing(
    pooled: JournalUrl, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' notifications, of which a pooler passes some on, are not taken for a sign that all of them come."""
    monkeypatch.setattr(notify, "_SAFETY_SECONDS", 1000.0)
    monkeypatch.setattr(notify, "_TRIAL_SECONDS", 0.2)
    assert pooled.parameters is not None
    name = json.loads(pooled.parameters.reveal())["dbname"]
    folder = str(Path(postgres.socket).parent)

    async def chatter() -> None:
        """Tell without a pause that account 1 was paid, past the pooler."""
        async with await psycopg.AsyncConnection.connect(
            host=folder, user="journal", password=PASSWORD, dbname=name, autocommit=True
        ) as other:
            while True:
                await other.execute("SELECT pg_notify(%s, '1')", (CHANNELS[Topic.SETTLED],))

    async with aclosing(SqlStore(pooled, 40)) as store:
        journal = await open_journal(store)
        chattering = asyncio.create_task(chatter())
        with recorded() as story, journal.news.settled.waiting():
            await until(lambda: any("looking every second" in entry["event"] for entry in story.entries))
        chattering.cancel()
        await asyncio.gather(chattering, return_exceptions=True)
