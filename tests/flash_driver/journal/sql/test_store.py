"""A database in trouble: nothing half written, nothing left open, and a clear word each time."""
# ruff: noqa: ASYNC240 - a test may block on its own files

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.util import await_only

from flash_driver.journal.errors import JournalError
from flash_driver.journal.sql import migrations, postgresql, sqlite
from flash_driver.journal.sql import store as store_module
from flash_driver.journal.sql.invoices import InvoiceRows
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.sql.transactions import WRITES
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import (
    a_payment,
    an_invoice,
    open_journal,
    postgresql_engine,
    set_patience,
    settle,
)
from tests.support.logs import recorded
from tests.support.postgres import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from sqlalchemy import Connection

    from flash_driver.journal.records import InvoiceRecord
    from tests.support.postgres import PostgresServer

NOBODY = 65534


@pytest.fixture
async def store(durable_url: JournalUrl) -> AsyncIterator[SqlStore]:
    """Give a store of each durable kind."""
    async with aclosing(SqlStore(durable_url)) as made:
        yield made


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be nobody for a while: root may write where nobody can."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """Give a folder that anybody may enter and only its owner may write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o700)


def in_folder(folder: Path) -> JournalUrl:
    """Return the URL of a journal in a folder."""
    return JournalUrl.parse(f"sqlite+aiosqlite:///{folder / 'journal.db'}")


# --- files ----------------------------------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_written_to(folder_for_all: Path) -> None:
    """Where no file can be made, that and the remedy are said before anything is handed out."""
    folder_for_all.chmod(0o555)
    async with aclosing(SqlStore(in_folder(folder_for_all))) as store:
        with without_privileges(), pytest.raises(JournalError, match=r"can't be used \(EACCES\); make its folder"):
            await open_journal(store, "fingerprint", "account")
        folder_for_all.chmod(0o755)
        assert await open_journal(store, "fingerprint", "account") is not None


async def test_a_file_that_cannot_be_written_to(folder_for_all: Path) -> None:
    """A journal that can be read only is refused when it is opened."""
    url = in_folder(folder_for_all)
    async with aclosing(SqlStore(url)) as store:
        await open_journal(store)
    assert url.path is not None
    url.path.chmod(0o444)
    folder_for_all.chmod(0o555)
    with without_privileges():
        async with aclosing(SqlStore(url)) as store:
            with pytest.raises(JournalError, match=r"can't be (written to|opened)"):
                await open_journal(store, "fingerprint", "account")


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """A path through something that is no folder is refused."""
    (tmp_path / "file").touch()
    async with aclosing(SqlStore(in_folder(tmp_path / "file"))) as store:
        with pytest.raises(JournalError, match=r"can't be used \((EEXIST|ENOTDIR)\)"):
            await open_journal(store, "fingerprint", "account")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another program's file is refused and left as it was."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"Dear diary, " * 1000)
    async with aclosing(SqlStore(in_folder(tmp_path))) as store:
        with pytest.raises(JournalError, match="is not a SQLite file; move that file away"):
            await open_journal(store, "fingerprint", "account")
    assert path.read_bytes() == b"Dear diary, " * 1000


async def test_a_damaged_file(tmp_path: Path) -> None:
    """Damage is called damage: no settlement, invoice or payment is made of it."""
    async with aclosing(SqlStore(in_folder(tmp_path))) as store:
        journal = await open_journal(store)
        for number in range(200):
            await journal.add_invoice(an_invoice(number))
    content = bytearray((tmp_path / "journal.db").read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    (tmp_path / "journal.db").write_bytes(content)
    async with aclosing(SqlStore(in_folder(tmp_path))) as store:
        with pytest.raises(JournalError, match="is damaged; put back a backup"):
            await open_journal(store, "fingerprint", "account")


async def test_a_full_disk(sqlite_url: JournalUrl) -> None:
    """What does not fit is refused whole, what was kept stays, and with room again it goes on."""

    async def limit(store: SqlStore, pages: int) -> None:
        await store.transactions.write(
            lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        )

    async with aclosing(SqlStore(sqlite_url)) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))
        pages = await store.transactions.read(
            lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        )
        await limit(store, pages)
        long = "x" * 10_000
        with pytest.raises(JournalError, match="has no room left; make room on its disk"):
            await journal.add_invoice(an_invoice(2, description=long))
        with pytest.raises(JournalError, match="has no room left"):
            await journal.begin_payment(a_payment(1, failure=long))
        assert await journal.list_invoices() == [an_invoice(1)]
        assert await journal.find_payment(a_payment(1).payment_hash) is None
        await limit(store, 2**30)
        await journal.add_invoice(an_invoice(2, description=long))
        assert len(await journal.list_invoices()) == 2


async def test_a_file_locked_by_another_process(sqlite_url: JournalUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long for another process's lock is told; reading goes on meanwhile."""
    monkeypatch.setattr(sqlite, "PATIENCE_SECONDS", 0.6)
    assert sqlite_url.path is not None
    async with aclosing(SqlStore(sqlite_url)) as store:
        journal = await open_journal(store)
        with closing(sqlite3.connect(sqlite_url.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="is locked by another process"):
                await journal.add_invoice(an_invoice(1))
            assert await journal.list_invoices() == []
            other.execute("ROLLBACK")
        await journal.add_invoice(an_invoice(1))


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_file_that_was_deleted_or_replaced_while_in_use(sqlite_url: JournalUrl, *, replaced: bool) -> None:
    """SQLite would go on writing where nobody will find it: that is refused."""
    assert sqlite_url.path is not None
    async with aclosing(SqlStore(sqlite_url)) as store:
        journal = await open_journal(store)
        sqlite_url.path.unlink()
        if replaced:
            sqlite_url.path.touch()
        with pytest.raises(JournalError, match="was moved away or replaced while in use"):
            await journal.add_invoice(an_invoice(1))


# --- servers --------------------------------------------------------------------------------------------------------


async def test_a_server_that_goes_away_and_comes_back(postgres: PostgresServer) -> None:
    """A lost connection is told; as soon as the server is back the next call works, with all that was kept."""
    async with aclosing(SqlStore(JournalUrl.parse(postgres.new_database()))) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))
        postgres.stop()
        try:
            for _ in range(2):
                with pytest.raises(JournalError, match="can't be reached; check that the database server runs"):
                    await journal.add_invoice(an_invoice(2))
        finally:
            postgres.start()
        assert await journal.list_invoices() == [an_invoice(1)]
        await journal.add_invoice(an_invoice(2))


async def test_a_connection_that_is_cut_in_the_middle_of_a_transaction(postgres: PostgresServer) -> None:
    """A settlement that was cut off before its commit has not happened, and can be made again."""
    async with aclosing(SqlStore(JournalUrl.parse(postgres.new_database()))) as store:
        journal = await open_journal(store)
        await journal.add_invoice(an_invoice(1))

        @event.listens_for(postgresql_engine(store).sync_engine, "commit", once=True)
        def cut(connection: Any) -> None:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(JournalError, match=r"(can't be reached|is shutting down)"):
            await settle(journal, 1)
        assert await journal.settled_after(0) == []
        settled = await settle(journal, 1)
        assert settled is not None
        assert settled.settle_index == 1


async def test_a_process_that_is_stopped_in_the_middle_of_a_transaction(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes the account's lock from who holds it and does nothing, so that the others go on."""
    url = JournalUrl.parse(postgres.new_database())
    async with aclosing(SqlStore(url)) as stopped, aclosing(SqlStore(url, patience=30)) as others:
        journal = await open_journal(others)
        await journal.add_invoice(an_invoice(1))
        with monkeypatch.context() as hasty:
            hasty.setattr(postgresql, "_IDLE_SECONDS", 0.3)
            holding = await postgresql_engine(stopped).execution_options(**{WRITES: True}).connect()
            await holding.execute(text("SELECT * FROM flash_accounts FOR UPDATE"))
        settled = await settle(journal, 1)
        assert settled is not None
        assert settled.settle_index == 1
        with pytest.raises(DBAPIError, match="idle-in-transaction timeout"):
            await holding.execute(text("SELECT 1"))
        await holding.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((PASSWORD, "not-the-password"), "refuses the user or password; correct FLASH_JOURNAL_URL"),
        (("/journal_", "/absent_"), "names a database that does not exist"),
        (("pg-", "pq-"), "can't be reached"),
    ],
)
async def test_a_wrong_url_shows_no_password(postgres: PostgresServer, wrong: tuple[str, str], said: str) -> None:
    """What is wrong is told, and no password is in the error, its causes, the variables of their frames or the log."""
    url = postgres.new_database().replace(*wrong)
    password = "not-the-password" if "not-the-password" in url else PASSWORD
    with recorded() as story, pytest.raises(JournalError, match=said) as raised:
        async with aclosing(SqlStore(JournalUrl.parse(url))) as store:
            await open_journal(store, "fingerprint", "account")
    told = [*traceback.TracebackException.from_exception(raised.value, capture_locals=True).format()]
    ours = [frame for frame in told if __file__ not in frame]
    assert [frame for frame in (*ours, repr(story.entries)) if password in frame] == []


async def test_a_server_that_does_not_answer(durable_url: JournalUrl) -> None:
    """A caller waits as long as its patience lasts; others go on, and nothing is left when the store is closed."""

    def hang(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            time.sleep(0.6)
        else:
            connection.execute(text("SELECT pg_sleep(60)"))

    store = SqlStore(durable_url)
    journal = await open_journal(store)

    with pytest.raises(JournalError, match=r"did not answer within 0\.3 s"):
        await store.transactions.write(hang, patience=0.3)
    assert await journal.last_settle_index() == 0
    await store.aclose()
    assert [each for each in asyncio.all_tasks() if each is not asyncio.current_task()] == []


async def test_who_comes_during_a_long_migration_is_told(
    durable_url: JournalUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration may take long and goes on by itself; a caller waits for it no longer than for anything else."""
    go_on, may_go_on = threading.Event(), asyncio.Event()
    migrate = migrations.migrate

    def slow(connection: Connection, journal: JournalUrl) -> int:
        if connection.dialect.name == "sqlite":
            go_on.wait(40)
        else:
            await_only(may_go_on.wait())
        return migrate(connection, journal)

    monkeypatch.setattr(store_module, "migrate", slow)
    monkeypatch.setattr(postgresql, "_IDLE_SECONDS", 60)
    async with aclosing(SqlStore(durable_url)) as store:
        store._patience = 0.3
        for _ in range(2):
            with pytest.raises(JournalError, match="is being brought up to date; try again in a moment"):
                await store.find("fingerprint", None)
        go_on.set()
        may_go_on.set()
        await store._preparing.result()
        assert await store.find("fingerprint", None) is None


async def test_connections_are_kept(postgres: PostgresServer) -> None:
    """Many who write at once keep their connections: a server starts a process for each that is made."""
    made: list[object] = []
    async with aclosing(SqlStore(JournalUrl.parse(postgres.new_database()), patience=30)) as store:
        event.listen(postgresql_engine(store).sync_engine, "connect", lambda wire, _: made.append(wire))
        for _ in range(3):
            writes = (store.transactions.write(lambda each: each.execute(text("SELECT 1"))) for _ in range(40))
            await asyncio.gather(*writes)
    assert 1 < len(made) <= 10


# --- cancellation and closing -----------------------------------------------------------------------------------------


@pytest.mark.many_cases
@pytest.mark.parametrize("turns", [1, 2, 4, 8])
def test_an_event_loop_that_ends_in_the_middle_of_closing_leaves_nothing_open(
    durable_url: JournalUrl, turns: int
) -> None:
    """Every task is cancelled then, the one that closes too; idle connections are closed, and threads end."""

    async def begin_to_close() -> None:
        store = SqlStore(durable_url)
        await store.find("fingerprint", None)
        under_way = [asyncio.create_task(store.transactions.read(slow)) for _ in range(2)]
        await store.transactions.read(lambda connection: connection.execute(text("SELECT 1")))
        closing = asyncio.create_task(store.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        in_a_file = durable_url.path is not None  # which is quick
        assert in_a_file or not (closing.done() or under_way[0].done())

    def slow(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_sleep(60)"))

    def threads() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if "flash-driver journal" in each.name}

    before = threads()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(begin_to_close())
        gc.collect()
    assert [str(each.message) for each in told if "still open" in str(each.message)] == []
    for thread in threads() - before:
        thread.join(40)
        assert not thread.is_alive()


@pytest.mark.many_cases
async def test_cancelled_at_any_moment_it_happens_whole_or_not_at_all(store: SqlStore) -> None:
    """One that is cancelled while it settles leaves an index without gaps, and the next call works."""
    journal = await open_journal(store)
    count = 25
    for number in range(count):
        await journal.add_invoice(an_invoice(number))
    for number in range(count):
        task = asyncio.create_task(settle(journal, number))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.transactions.ended(40)
    await settle(journal, 0)
    settled = await journal.settled_after(0)
    assert [row.settle_index for row in settled] == list(range(1, len(settled) + 1))
    paid = [row for row in await journal.list_invoices() if row.settle_index is not None]
    assert len(paid) == len(settled) == await journal.last_settle_index()


async def test_closing_waits_for_what_is_under_way(durable_url: JournalUrl) -> None:
    """A settlement that was begun before the journal was closed is kept, though nobody waits for it any more."""
    store = SqlStore(durable_url)
    journal = await open_journal(store)
    await journal.add_invoice(an_invoice(1))
    task = asyncio.create_task(settle(journal, 1))
    await asyncio.sleep(0)
    task.cancel()
    await store.aclose()
    async with aclosing(SqlStore(durable_url)) as again:
        assert await (await open_journal(again)).last_settle_index() == 1


async def told_that_it_was_closed(*asked: Coroutine[Any, Any, object]) -> bool:
    """Whether each of these comes too late, and hears it as an error of the journal."""
    results = await asyncio.gather(*asked, return_exceptions=True)
    return all(isinstance(result, JournalError) and result.reason == "was closed" for result in results)


async def test_what_comes_after_the_close_is_refused(durable_url: JournalUrl) -> None:
    """Who comes too late is told so: he is not cancelled, and nothing is opened again for him."""
    store = SqlStore(durable_url)
    journal = await open_journal(store)
    await store.aclose()
    assert await told_that_it_was_closed(journal.add_invoice(an_invoice(1)), journal.list_invoices())


async def test_what_comes_during_the_close_is_refused(sqlite_url: JournalUrl) -> None:
    """What was begun before comes to its end, what comes while that is waited for is not begun."""
    store = SqlStore(sqlite_url)
    journal = await open_journal(store)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_connection: Connection) -> bool:
        begun.set()
        return go_on.wait(20)

    under_way = asyncio.create_task(store.transactions.write(slow))
    await asyncio.to_thread(begun.wait, 20)
    closing_task = asyncio.create_task(store.aclose())
    while not store.transactions._closed:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert await told_that_it_was_closed(journal.add_invoice(an_invoice(1)), journal.list_invoices())
    assert await under_way
    await closing_task


async def test_who_is_cut_off_by_the_close_is_told(sqlite_url: JournalUrl) -> None:
    """Who may wait longer than the close does gets an error, not a cancellation that nobody asked for."""
    store = SqlStore(sqlite_url)
    await open_journal(store)
    set_patience(store, 0.2)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_connection: Connection) -> None:
        begun.set()
        go_on.wait(20)

    under_way = asyncio.create_task(store.transactions.write(slow, patience=20))
    await asyncio.to_thread(begun.wait, 20)
    closing_task = asyncio.create_task(store.aclose())
    assert await told_that_it_was_closed(asyncio.wait_for(under_way, 20))
    go_on.set()
    await closing_task


async def test_closing_leaves_nothing_behind(durable_url: JournalUrl) -> None:
    """No task, thread, socket or file is left of a journal that was closed, not even when closing was cancelled."""
    gc.collect()
    before, threads = set(open_files()), set(threading.enumerate())
    for cancelled in (False, True):
        store = SqlStore(durable_url)
        journal = await open_journal(store)
        with journal.news.settled.waiting():
            await asyncio.gather(*(journal.find_invoice("00" * 32) for _ in range(9)))
        closing_task = asyncio.create_task(store.aclose())
        await asyncio.sleep(0)
        if cancelled:
            closing_task.cancel()
        await asyncio.gather(closing_task, return_exceptions=True)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)
        for thread in set(threading.enumerate()) - threads:
            # A database's thread has answered that it ends, and ends an instant later.
            thread.join(20)
            assert not thread.is_alive()
        # What an earlier test left may be closed meanwhile.
        assert set(open_files()) <= before


def open_files() -> list[str]:
    """Return the journal's files and sockets that this process holds open."""
    names = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return sorted(name for name in names if "journal.db" in name or name.startswith("socket:"))


def test_one_event_loop_after_the_other(durable_url: JournalUrl) -> None:
    """A journal can be used from one `asyncio.run` after the other in the same process."""

    async def use(number: int) -> int:
        async with aclosing(SqlStore(durable_url)) as store:
            journal = await open_journal(store)
            await journal.add_invoice(an_invoice(number))
            return len(await journal.list_invoices())

    assert [asyncio.run(use(number)) for number in range(3)] == [1, 2, 3]


async def test_a_mistake_in_our_own_code_is_not_called_the_databases(store: SqlStore) -> None:
    """An error that no database made comes through as it is."""

    def wrong(_: object) -> None:
        raise ZeroDivisionError

    journal, naive = await open_journal(store), an_invoice(1).created_at.replace(tzinfo=None)
    with pytest.raises(ZeroDivisionError):
        await store.transactions.read(wrong)
    with pytest.raises(StatementError, match="aware datetimes only"):
        await journal.add_invoice(an_invoice(1, created_at=naive))


@asynccontextmanager
async def kept_slowly(record: InvoiceRecord, store: SqlStore) -> AsyncIterator[None]:
    """Have an invoice written by another process before the block, and committed after it."""
    keeping, keep = threading.Event(), threading.Event()

    def add_slowly(connection: Connection) -> None:
        InvoiceRows(1).insertion(record, store.transactions.dialect)(connection)
        keeping.set()
        keep.wait(30)

    slow = asyncio.create_task(asyncio.to_thread(asyncio.run, _apart(store, add_slowly)))
    await asyncio.to_thread(keeping.wait, 30)
    try:
        yield
    finally:
        keep.set()
        await slow


async def test_a_late_commit_falls_out_of_no_list(store: SqlStore) -> None:
    """Who goes on after the last invoice of a list gets all that was not in it, however slowly it was being kept."""
    journal = await open_journal(store)
    async with kept_slowly(an_invoice(1), store):
        quick = asyncio.create_task(journal.add_invoice(an_invoice(2)))
        await asyncio.wait([quick], timeout=0.5)  # long enough for it to overtake, if it can
        seen = await journal.list_invoices()
    await quick
    seen += await journal.list_invoices(after=seen[-1].payment_hash if seen else None)
    assert sorted(row.payment_hash for row in seen) == [an_invoice(number).payment_hash for number in (1, 2)]


async def test_a_late_commit_is_found_by_who_watches(store: SqlStore) -> None:
    """An invoice that is kept slowly is found from the place of before, though orphans were numbered after it."""
    journal = await open_journal(store)
    _, place = await journal.made_after(None)
    async with kept_slowly(an_invoice(1), store):
        orphans = asyncio.gather(*(journal.add_orphan(an_invoice(number)) for number in range(2, 5)))
        await asyncio.wait([orphans], timeout=0.5)  # long enough for them to overtake, if they can
        seen, place = await journal.made_after(place)
    await orphans
    more, _ = await journal.made_after(place)
    assert [row.payment_hash for row in (*seen, *more)] == [an_invoice(1).payment_hash]


async def _apart(store: SqlStore, work: Callable[[Connection], None]) -> None:
    """Write on an event loop of another thread, as another process does."""
    async with aclosing(SqlStore(store._journal)) as other:
        await other.transactions.write(work)


async def test_an_unknown_login_opens_nothing(store: SqlStore) -> None:
    """Asking for an unknown credential makes no account."""
    assert await store.find("fingerprint", None) is None
    count = await store.transactions.read(
        lambda connection: connection.execute(text("SELECT count(*) FROM flash_accounts")).scalar()
    )
    assert count == 0


async def test_text_that_no_database_takes(store: SqlStore) -> None:
    """A description with NUL or half a surrogate pair is kept with replacement marks."""
    journal = await open_journal(store)
    await journal.add_invoice(an_invoice(1, description="a\x00b\ud800c"))
    assert [row.description for row in await journal.list_invoices()] == ["a\ufffdb?c"]
