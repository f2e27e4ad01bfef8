"""Files that only their owner can read."""

from __future__ import annotations

import stat
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flash_driver.journal.sql.files import identity, prepare_file
from flash_driver.journal.sql.store import SqlStore
from tests.support.journals import an_invoice, open_journal
from tests.support.logs import recorded

if TYPE_CHECKING:
    from flash_driver.journal.urls import JournalUrl


def mode(path: Path) -> str:
    """Tell who may do what with a file."""
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


async def test_nobody_else_can_read_a_journal(sqlite_url: JournalUrl) -> None:
    """Folder, file and SQLite's side files are the owner's alone."""
    assert sqlite_url.path is not None
    async with aclosing(SqlStore(sqlite_url)) as store:
        journal = await open_journal(store, "fingerprint", "account")
        await journal.add_invoice(an_invoice(1))
        found = {path.name: mode(path) for path in sqlite_url.path.parent.iterdir()}
        assert found == {"journal.db": "600", "journal.db-wal": "600", "journal.db-shm": "600"}
        assert mode(sqlite_url.path.parent) == "700"
    assert [path.name for path in sqlite_url.path.parent.iterdir()] == ["journal.db"]


async def test_what_is_committed_is_on_disk(sqlite_url: JournalUrl) -> None:
    """SQLite writes ahead and syncs at each commit, and refuses rows of accounts that are not there."""
    async with aclosing(SqlStore(sqlite_url)) as store:
        await open_journal(store, "fingerprint", "account")
        settings = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = await store.transactions.read(
            lambda connection: {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in settings}
        )
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 3500}


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    """A journal with too wide a mode is narrowed, and that is told; a folder that was there keeps its own."""
    tmp_path.chmod(0o755)
    path = tmp_path / "journal.db"
    path.touch(0o644)
    with recorded() as story:
        prepare_file(path)
        prepare_file(path)
    assert (mode(path), mode(tmp_path)) == ("600", "755")
    assert story.entry("the journal could be read by others, now it can't")["mode"] == "644"


def test_a_file_of_another_user_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mode can't be narrowed the journal works, with a warning."""
    path = tmp_path / "journal.db"
    path.touch(0o644)

    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with recorded() as story:
        prepare_file(path)
    assert story.entry("the journal can be read by others, and belongs to another user")["file"] == path


def test_only_a_journal_of_ours_is_touched(tmp_path: Path) -> None:
    """A device is refused, a file of another kind keeps its mode, and a link is followed first."""
    with pytest.raises(OSError, match="not a regular file"):
        prepare_file(Path("/dev/null"))
    assert mode(Path("/dev/null")) != "600"
    diary = tmp_path / "diary"
    diary.write_text("Dear diary")
    diary.chmod(0o644)
    prepare_file(diary)
    assert mode(diary) == "644"
    real, link = tmp_path / "real.db", tmp_path / "link.db"
    real.touch(0o644)
    link.symlink_to(real)
    prepare_file(link)
    assert mode(real) == "600"


def test_identity_tells_files_of_the_same_name_apart(tmp_path: Path) -> None:
    """A file that took another's place is not the same; one that is gone is nobody."""
    path = tmp_path / "journal.db"
    assert identity(path) is None
    path.touch()
    first = identity(path)
    assert identity(path) == first
    other = tmp_path / "other.db"
    other.touch()
    other.rename(path)
    assert identity(path) not in (None, first)
