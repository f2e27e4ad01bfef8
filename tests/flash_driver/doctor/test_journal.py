"""The doctor and the journal."""

from __future__ import annotations

import os
import sqlite3
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

import pytest

from flash_driver.doctor.findings import Examination, Result
from flash_driver.doctor.journal import check_journal
from flash_driver.journal.sql.migrations import NEWEST
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.flash_driver.doctor.examining import examined
from tests.support.journals import open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.doctor.findings import Check
    from tests.flash_driver.conftest import StartSandbox
    from tests.support.postgres import PostgresServer


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JournalUrl:
    """Give a journal that has been used, and let the environment name it."""
    text = f"sqlite+aiosqlite:///{tmp_path / 'a journal?.db'}".replace("?", "%")
    monkeypatch.setenv("FLASH_JOURNAL_URL", text)
    made = JournalUrl.parse(text)
    async with aclosing(SqlStore(made)) as store:
        await open_journal(store, "fingerprint", "account")
    return made


async def row() -> Check:
    """Let the doctor look at the journal."""
    examination = Examination(10.0)
    usable = await check_journal(examination)
    (check,) = examination.checks
    assert usable is check.passed
    assert check.passed or check.advice
    return check


async def test_journal_that_works(url: JournalUrl) -> None:
    """Where it is and its schema version are told."""
    assert (await row()).found == f"the journal {url.path}: schema version {NEWEST}"


async def test_journal_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new user's journal is no trouble, and the doctor does not make it."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite+aiosqlite:///{tmp_path}/folder/journal.db")
    assert (await row()).found.endswith("nothing there yet, made when it is first needed")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's way is forbidden in a coroutine


async def test_journal_without_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path through something that is no folder is told before the first invoice."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite+aiosqlite:///{tmp_path}/file/journal.db")
    found = await row()
    assert (found.result, "can't be used (ENOTDIR)" in found.found) == (Result.FAIL, True)


async def test_folder_that_can_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is closed to this user is told as such."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", f"sqlite+aiosqlite:///{tmp_path}/journal.db")
    monkeypatch.setattr("flash_driver.journal.sql.inspection.os.access", lambda *_, **__: False)
    found = await row()
    assert (found.result, "can't be used (EACCES)" in found.found) == (Result.FAIL, True)
    assert "make its folder writable" in found.advice


async def test_older_journal(url: JournalUrl) -> None:
    """An older journal is brought up to date by its next use, not by the doctor."""
    assert url.path is not None
    with closing(sqlite3.connect(url.path)) as database, database:
        database.execute("UPDATE flash_journal SET version = 1")
    for _ in range(2):
        assert (await row()).found.endswith(f"schema version 1, {NEWEST} from its next use on")


async def test_newer_journal(url: JournalUrl) -> None:
    """A journal of a newer driver is no use to this one."""
    assert url.path is not None
    with closing(sqlite3.connect(url.path)) as database, database:
        database.execute("UPDATE flash_journal SET version = 99")
    found = await row()
    assert (found.result, "has schema version 99" in found.found) == (Result.FAIL, True)
    assert "update flash-driver" in found.advice


async def test_damaged_journal(url: JournalUrl) -> None:
    """Damage is called damage."""
    assert url.path is not None
    content = bytearray(url.path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    url.path.write_bytes(content)
    found = await row()
    assert (found.result, "is damaged" in found.found) == (Result.FAIL, True)
    assert "put back a backup" in found.advice


async def test_file_that_is_no_journal(url: JournalUrl) -> None:
    """Another program's file is left as it was."""
    assert url.path is not None
    url.path.write_bytes(b"Dear diary, " * 1000)
    found = await row()
    assert (found.result, "is not a SQLite file" in found.found) == (Result.FAIL, True)
    assert url.path.read_bytes() == b"Dear diary, " * 1000


async def test_read_only_journal(url: JournalUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that can only be read is of no use, and that is told."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        "flash_driver.journal.sql.inspection.sqlite3.connect",
        lambda database, **options: connect(database.replace("mode=rw", "mode=ro"), **options),
    )
    found = await row()
    assert (found.result, f"{url.path} can't be written to" in found.found) == (Result.FAIL, True)
    assert "make file and folder writable" in found.advice


async def test_locked_journal(url: JournalUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that another process holds is told as such."""
    monkeypatch.setattr("flash_driver.journal.sql.inspection._LOCKED_SECONDS", 0.1)
    assert url.path is not None
    with closing(sqlite3.connect(url.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "is locked by another process" in (await row()).found


async def test_postgresql(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database is told without user and password: empty, in use, and read-only."""
    text = postgres.new_database()
    monkeypatch.setenv("FLASH_JOURNAL_URL", text)
    url = JournalUrl.parse(text)
    assert (await row()).found == f"{url}: nothing there yet, made when it is first needed"
    async with aclosing(SqlStore(url)) as store:
        await open_journal(store, "fingerprint", "account")
        assert (await row()).found == f"{url}: schema version {NEWEST}"
    name = text.partition("?")[0].rpartition("/")[2]
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on", "postgres")
    found = await row()
    assert (found.result, "is read-only" in found.found) == (Result.FAIL, True)


async def test_postgresql_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that can't be reached is told, and its password is not."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", "postgresql+asyncpg://me:hunter2@127.0.0.1:1/shop")
    found = await row()
    assert (found.result, "can't be reached" in found.found) == (Result.FAIL, True)
    assert "hunter2" not in found.found + found.advice


async def test_without_a_journal_no_invoices(sandbox: StartSandbox, url: JournalUrl) -> None:
    """A server where all works is of no use while nothing can be journalled."""
    assert url.path is not None
    url.path.write_bytes(b"Dear diary, " * 1000)
    seen = await examined((await sandbox()).connection_string)
    assert seen.failed == ["journal"]
    assert seen.examination.creates == []


async def test_memory_is_told(sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that forgets is right for tests and no failure, with a word of advice."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", "memory:")
    seen = await examined((await sandbox()).connection_string)
    assert seen["journal"].passed
    assert "forgets" in seen["journal"].found
    assert "FLASH_JOURNAL_URL" in seen["journal"].advice
