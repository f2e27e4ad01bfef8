"""Where a journal may be, and what its URL shows."""

from __future__ import annotations

import json
import sys
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


def parameters(text: str) -> dict[str, str]:
    """Return what libpq is told."""
    told = JournalUrl.parse(text).parameters
    assert told is not None
    found: dict[str, str] = json.loads(told.reveal())
    return found


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        ("shop:never-shown@db.example:5433/journal", "'journal' at db.example:5433"),
        ("shop:never-shown@/journal?host=/run/postgresql", "'journal' at /run/postgresql"),
        ("/journal?user=shop&password=never-shown", "'journal' at the local socket"),
        ("shop:never-shown@[2001:db8::1]:6432/journal", "'journal' at 2001:db8::1:6432"),
        ("shop:never-shown@one.example:1,two.example:2/journal", "'journal' at one.example,two.example:1,2"),
        ("shop:a/never-shown?b#c@d%20:e@db.example/journal", "'journal' at db.example"),
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
def test_postgresql_shows_no_password(scheme: str, rest: str, shown: str) -> None:
    """A journal may be a PostgreSQL database; where it is can be shown, the password can't."""
    url = JournalUrl.parse(f"{scheme}://{rest}")
    assert (url.kind, url.path, url.forgets) == (JournalKind.POSTGRESQL, None, False)
    assert str(url) == f"the PostgreSQL journal {shown}"
    assert PASSWORD not in repr(url)
    assert PASSWORD in parameters(f"{scheme}://{rest}")["password"]


def test_any_character_of_a_password() -> None:
    """What is escaped is read back, and what should have been escaped is taken as it stands."""
    assert parameters("postgresql://me%40shop:p%40s%2Fs%25@db/n")["user"] == "me@shop"
    assert parameters("postgresql://me%40shop:p%40s%2Fs%25@db/n")["password"] == "p@s/s%"
    assert parameters("postgresql://me:p@s/s?x&y=#:é@db/n")["password"] == "p@s/s?x&y=#:é"


def test_options_as_providers_give_them() -> None:
    """Every option of libpq is taken, several hosts too, and `ssl` as other drivers call it."""
    told = parameters("postgres://u:p@a.example:5432,b.example/n?sslmode=require&target_session_attrs=read-write")
    assert told["host"] == "a.example,b.example"
    assert told["port"] == "5432,"
    assert (told["sslmode"], told["target_session_attrs"]) == ("require", "read-write")
    assert parameters("postgresql+asyncpg://u:p@a.example/n?ssl=require")["sslmode"] == "require"
    assert parameters("postgresql://u:p@a.example/n?ssl=true")["sslmode"] == "require"


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("db.example/n", "verify-full"),
        ("10.0.0.7/n", "verify-full"),
        ("db.example/n?sslmode=disable", "disable"),
        ("localhost/n", None),
        ("127.0.0.1:6432/n", None),
        ("[::1]/n", None),
        ("postgres/n", None),
        ("/n?host=/run/postgresql", None),
        ("/n", None),
        ("localhost,db.example/n", "verify-full"),
    ],
)
def test_tls_is_verified_unless_the_server_is_near(place: str, mode: str | None) -> None:
    """A server elsewhere has to prove who it is, unless the URL says otherwise."""
    assert parameters(f"postgresql://u:p@{place}").get("sslmode") == mode


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/srv/j.db", "must be memory:, sqlite:////path/file or postgresql://user:password@host/name"),
        ("mysql://u:never-shown@h/n", "must be memory:"),
        ("sqlite+aiosqlite:journal.db", "must be memory:"),
        ("sqlite+aiosqlite://", "must name a file"),
        ("sqlite+aiosqlite:///", "must name a file"),
        ("sqlite+aiosqlite:///:memory:", "or be memory:"),
        ("sqlite+aiosqlite:///journal.db?mode=ro", "nothing behind it"),
        ("postgresql+asyncpg://u:never-shown@host", "must name a host and a database"),
        ("postgresql://u:never-shown@host:port/n", "must name a host and a database"),
        ("postgresql://u:never-shown@host:0/n", "must name a host and a database"),
        ("postgresql://u:never-shown@[::1/n", "must name a host and a database"),
        ("postgresql://u:x@never-shown/n?user=a@b", "must name a host and a database"),
        ("postgresql://u:x@h/n?sslmod=never-shown", "must not have the option sslmod: it is none of libpq's"),
        ("postgresql://u:x@h/n?never-shown=1", "must not have the option (not a name)"),
        ("postgresql://u:x@h/n?application_name=never-shown", "must not have the option application_name"),
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


def test_postgresql_needs_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra that PostgreSQL needs, its name is told."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"needs the package psycopg: pip install 'psycopg\[binary\]'"):
        JournalUrl.parse("postgresql://u@h/n")


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
