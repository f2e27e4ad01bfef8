"""Where a journal may be, and what its URL shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from connection_strings import ConnectionStringError
from flash_driver.journal.urls import JournalKind, JournalUrl
from flash_driver.settings.process import ProcessSettings

PASSWORD = "never-shown"


@pytest.mark.parametrize("text", ["memory", "memory:", " Memory: "])
def test_memory(text: str) -> None:
    """A journal may be in memory, and then it forgets."""
    url = JournalUrl.parse(text)
    assert (url.kind, url.path, url.forgets, str(url)) == (JournalKind.MEMORY, None, True, "the journal in memory")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite+aiosqlite:////var/lib/shop/journal.db", Path("/var/lib/shop/journal.db")),
        ("sqlite+aiosqlite:///journal.db", Path.cwd() / "journal.db"),
        ("sqlite+aiosqlite:////srv/with blank/50%/j#1.db", Path("/srv/with blank/50%/j#1.db")),
    ],
)
def test_sqlite(text: str, path: Path) -> None:
    """A journal may be a file: three slashes and a relative path, or four and an absolute one."""
    url = JournalUrl.parse(text)
    assert (url.kind, url.path, url.forgets) == (JournalKind.SQLITE, path, False)
    assert str(url) == f"the journal {path}"
    assert JournalUrl.parse(url) is url


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        ("shop:never-shown@db.example:5433/journal", "'journal' at db.example:5433"),
        ("shop:never-shown@/journal?host=/run/postgresql", "'journal' at /run/postgresql"),
        ("/journal?user=shop&password=never-shown", "'journal' at localhost"),
    ],
)
def test_postgresql_shows_no_password(rest: str, shown: str) -> None:
    """A journal may be a PostgreSQL database; where it is can be shown, the password can't."""
    url = JournalUrl.parse(f"postgresql+asyncpg://{rest}")
    assert (url.kind, url.path, url.forgets) == (JournalKind.POSTGRESQL, None, False)
    assert str(url) == f"the PostgreSQL journal {shown}"
    assert PASSWORD not in repr(url)
    assert PASSWORD in url.text.reveal()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/srv/j.db", "must be memory:, sqlite+aiosqlite:///path or postgresql+asyncpg://user:password@host/name"),
        ("sqlite:///journal.db", "for sqlite write sqlite+aiosqlite://"),
        ("postgres://u:never-shown@h/n", "for postgres write postgresql+asyncpg://"),
        ("mysql://u:never-shown@h/n", "must be memory:"),
        ("sqlite+aiosqlite:journal.db", "must be memory:"),
        ("sqlite+aiosqlite://", "must name a file"),
        ("sqlite+aiosqlite:///", "must name a file"),
        ("sqlite+aiosqlite:///:memory:", "or be memory:"),
        ("sqlite+aiosqlite:///journal.db?mode=ro", "nothing behind it"),
        ("postgresql+asyncpg://u:never-shown@host", "must name a host and a database"),
        ("postgresql+asyncpg://u:never-shown@host:port/n", "must name a host and a database"),
        ("postgresql+asyncpg://u:never-shown@[::1/n", "must name a host and a database"),
    ],
)
def test_other_urls_are_refused(monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    """What is no journal's URL is refused when the client is made, with the variable's name and what would be right."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", text)
    with pytest.raises(ConnectionStringError) as raised:
        ProcessSettings.from_environment()
    assert str(raised.value).startswith("the environment variable FLASH_JOURNAL_URL must ")
    assert said in str(raised.value)
    assert PASSWORD not in repr(raised.value)


def test_postgresql_needs_asyncpg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra that PostgreSQL needs, its name is told."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # noqa: ARG005 - as the original has it
    with pytest.raises(ValueError, match=r"pip install 'flash-driver\[postgresql\]'"):
        JournalUrl.parse("postgresql+asyncpg://u@h/n")


@pytest.mark.parametrize("empty", [True, False])
def test_default_is_a_file_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: bool) -> None:  # noqa: FBT001 - a case
    """Without a setting, or an empty one, the journal is in the user's data folder; asking where makes nothing."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", "")
    if not empty:
        monkeypatch.delenv("FLASH_JOURNAL_URL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert ProcessSettings.from_environment().journal_url.path == tmp_path / "data" / "flash-driver" / "journal.db"
    assert list(tmp_path.iterdir()) == []


def test_user_without_a_home_has_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as in some containers, is told to set the variable."""
    monkeypatch.delenv("FLASH_JOURNAL_URL")
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: Path("~/.local/share/flash-driver"))
    with pytest.raises(ConnectionStringError, match="FLASH_JOURNAL_URL must be set"):
        ProcessSettings.from_environment()
