"""Transactions on a SQLite file: together where several write at once, and each by itself where one fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, event, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError, OperationalError

from flash_driver.journal.sql import sqlite
from flash_driver.journal.sql.invoices import InvoiceRows
from flash_driver.journal.sql.sqlite import SqliteDatabase
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.sql.transactions import Insertion
from tests.support.journals import an_invoice, open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from flash_driver.journal.urls import JournalUrl


NUMBERS = Table("numbers", MetaData(), Column("n", Integer, unique=True))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """Give a database with one table of different numbers."""
    async with aclosing(SqliteDatabase(tmp_path / "numbers.db")) as opened:
        await opened.write(lambda connection: connection.execute(text("CREATE TABLE numbers (n INTEGER UNIQUE)")))
        yield opened


def add(number: int) -> Callable[[Connection], int]:
    """Return work that adds a number, and tells how many there are."""

    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})
        return int(connection.execute(text("SELECT count(*) FROM numbers")).scalar_one())

    return work


async def numbers(database: SqliteDatabase) -> list[int]:
    """Return the numbers that are kept."""
    query = text("SELECT n FROM numbers ORDER BY n")
    return await database.read(lambda connection: list(connection.execute(query).scalars()))


def commits(database: SqliteDatabase) -> list[None]:
    """Count the commits from now on."""
    seen: list[None] = []
    event.listen(database._to_write, "commit", lambda _connection: seen.append(None))
    return seen


async def test_those_who_write_at_once_share_a_transaction(database: SqliteDatabase) -> None:
    """A hundred writers wait for the disk a few times, each gets his own result, and all is kept in order."""
    seen = commits(database)
    counts = await asyncio.gather(*(database.write(add(number)) for number in range(100)))
    assert counts == list(range(1, 101))
    assert await numbers(database) == list(range(100))
    assert len(seen) <= 3


async def test_a_write_makes_no_task_and_takes_no_connection_from_the_pool(database: SqliteDatabase) -> None:
    """What is written one after the other goes to the writer's thread and back, and to a connection that is kept."""
    taken: list[object] = []
    event.listen(database._to_write, "checkout", lambda *_: taken.append("a connection"))

    def make_task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        taken.append(work)
        return asyncio.Task(work, loop=loop, **more)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)
    try:
        counts = [await database.write(add(number)) for number in range(5)]
    finally:
        loop.set_task_factory(None)
    assert (counts, taken) == ([1, 2, 3, 4, 5], [])


async def test_each_transaction_waits_for_the_disk_or_not_as_it_was_asked(database: SqliteDatabase) -> None:
    """On the one connection that is kept a lasting write is FULL also after one that is not, and with one together."""

    def synchronous(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    one_by_one = [await database.write(synchronous, durable=durable) for durable in (True, False, True, False)]
    together = await asyncio.gather(*(database.write(synchronous, durable=durable) for durable in (False, True)))
    assert (one_by_one, together) == ([2, 1, 2, 1], [2, 2])


async def test_after_a_failure_the_next_write_finds_a_connection(database: SqliteDatabase) -> None:
    """The connection on which something failed is given back; what comes next is written as ever."""
    for number in range(3):
        assert await database.write(add(number)) == number + 1
        with pytest.raises(IntegrityError):
            await database.write(add(number))
    assert await numbers(database) == [0, 1, 2]


async def test_one_who_fails_takes_nobody_along(database: SqliteDatabase) -> None:
    """A piece that breaks a rule of the database or of its own fails alone, and leaves nothing behind."""

    def wrong(connection: Connection) -> None:
        connection.execute(text("INSERT INTO numbers VALUES (77)"))
        raise ZeroDivisionError

    works: list[Callable[[Connection], Any]] = [add(1), add(2), add(1), wrong, add(3)]
    results = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    assert [type(result) for result in results] == [int, int, IntegrityError, ZeroDivisionError, int]
    assert await numbers(database) == [1, 2, 3]


async def test_rows_added_at_once_are_one_call(database: SqliteDatabase) -> None:
    """Rows for the same statement go to the database together, in their place among what else is written."""
    calls: list[bool] = []

    @event.listens_for(database._to_write, "before_cursor_execute")
    def note(*arguments: Any) -> None:
        calls.append(arguments[-1])

    insertion = insert(NUMBERS).on_conflict_do_nothing()
    works: list[Callable[[Connection], Any]] = [Insertion(insertion, {"n": n}) for n in (1, 2, 3, 3, 2)]
    results = await asyncio.gather(*(database.write(work) for work in (*works, add(4), *works)))
    assert results == [None] * 5 + [4] + [None] * 5
    assert calls.count(True) == 2
    assert await numbers(database) == [1, 2, 3, 4]


async def test_a_row_that_breaks_a_rule_takes_no_other_along(database: SqliteDatabase) -> None:
    """Of rows that were to be added together each is added by itself when one of them can't be."""
    works = [Insertion(insert(NUMBERS), {"n": n}) for n in (1, 1, 2)]
    results = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), IntegrityError, type(None)]
    assert await numbers(database) == [1, 2]


async def test_trouble_of_the_file_is_everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file itself can't be written, all are told after one wait, not one after the other."""
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.6)
    async with aclosing(SqliteDatabase(tmp_path / "numbers.db")) as database:
        await database.write(lambda connection: connection.execute(text("CREATE TABLE numbers (n INTEGER UNIQUE)")))
        attempts: list[None] = []
        event.listen(database._to_write, "begin", lambda _connection: attempts.append(None))
        with closing(sqlite3.connect(tmp_path / "numbers.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asked = (database.write(add(number)) for number in range(20))
            results = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(result) for result in results] == [OperationalError] * 20
        assert len(attempts) <= 3
        assert await database.write(add(1)) == 1


async def test_who_gives_up_is_written_all_the_same(database: SqliteDatabase) -> None:
    """A writer that is cancelled spoils nothing for the others in his transaction."""
    tasks = [database.write(add(number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [int, asyncio.CancelledError, int, asyncio.CancelledError]
    assert {0, 2} <= set(await numbers(database))
    assert await database.write(add(9)) >= 3


async def test_reading_goes_on_while_something_is_written(database: SqliteDatabase) -> None:
    """Readers see what was kept before, and wait for no writer."""
    await database.write(add(1))
    begun, read = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: Connection) -> None:
        add(2)(connection)
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(read.wait(), loop).result(20)

    writing = database.write(slow)
    async with asyncio.timeout(20):
        await begun.wait()
        assert await numbers(database) == [1]
        read.set()
        await writing
    assert await numbers(database) == [1, 2]


async def test_closing_gives_up_what_is_queued(tmp_path: Path) -> None:
    """Who still waits when the database is closed does not wait for ever."""
    database = SqliteDatabase(tmp_path / "numbers.db")
    await database.write(lambda connection: connection.execute(text("CREATE TABLE numbers (n INTEGER UNIQUE)")))
    waiting = [database.write(add(number)) for number in range(3)]
    await asyncio.sleep(0)
    await database.aclose()
    async with asyncio.timeout(20):
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} <= {int, asyncio.CancelledError}


async def test_long_lists_keep_nobody_from_a_short_look(
    sqlite_url: JournalUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many long lists are read at once, a single invoice is found meanwhile."""
    go_on = threading.Event()
    monkeypatch.setattr(InvoiceRows, "listed", lambda *_, **__: go_on.wait(30))
    async with aclosing(SqlStore(sqlite_url, patience=40)) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))
        lists = [asyncio.create_task(journal.list_invoices()) for _ in range(5)]
        try:
            await asyncio.sleep(0.1)  # lets them begin
            assert await journal.find_invoice(an_invoice(1).payment_hash) == an_invoice(1)
        finally:
            go_on.set()
            await asyncio.gather(*lists)
