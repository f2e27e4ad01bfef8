"""What becomes of a database's errors."""

from __future__ import annotations

import pickle
import sqlite3

import psycopg
import pytest
from psycopg import errors as pg
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flash_driver.journal.errors import JournalError, explain
from flash_driver.journal.urls import JournalUrl


def refused(words: str) -> psycopg.OperationalError:
    """Return the error for a connection that the server refuses."""
    return psycopg.OperationalError(
        f'connection failed: connection to server at "db", port 5432 failed: FATAL:  {words}'
    )


FILE = JournalUrl.parse("sqlite+aiosqlite:////srv/journal.db")
SERVER = JournalUrl.parse("postgresql://u:never-shown@db/journal")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("database or disk is full", "has no room left"),
        ("attempt to write a readonly database", "can't be written to"),
        ("unable to open database file", "can't be opened"),
        ("file is not a database", "is not a SQLite file"),
        ("database disk image is malformed", "is damaged"),
        ("database is locked", "is locked by another process"),
        ("disk I/O error", "can't be read or written"),
        ("something new", "failed with OperationalError"),
    ],
)
def test_what_sqlite_says(words: str, reason: str) -> None:
    """Each trouble with a file has its own words, whether SQLAlchemy wrapped it or not."""
    bare = sqlite3.OperationalError(words)
    for error in (bare, OperationalError("INSERT ...", {}, bare)):
        explained = explain(error, FILE)
        assert explained is not None
        assert explained.reason == reason
        assert str(explained) == f"the journal /srv/journal.db {reason}; {explained.remedy}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refused('password authentication failed for user "never-shown"'), "refuses the user or password"),
        (refused('role "never-shown" does not exist'), "refuses the user or password"),
        (refused('no pg_hba.conf entry for host "10.0.0.1"'), "refuses the user or password"),
        (refused('database "never-shown" does not exist'), "names a database that does not exist"),
        (refused("sorry, too many clients already"), "takes no more connections"),
        (refused("remaining connection slots are reserved"), "takes no more connections"),
        (refused("the database system is starting up"), "is starting up"),
        (refused("the database system is shutting down"), "is shutting down"),
        (refused("unsupported startup parameter: options"), "is a pooler that refuses an option"),
        (
            psycopg.OperationalError("SSL error: certificate verify failed"),
            "has a TLS certificate that can't be verified",
        ),
        (psycopg.OperationalError("server does not support SSL, but SSL was required"), "takes no TLS"),
        (psycopg.OperationalError("failed to resolve host"), "can't be reached"),
        (pg.InsufficientPrivilege("no"), "does not permit this user to do that"),
        (pg.ReadOnlySqlTransaction("no"), "is read-only"),
        (pg.DiskFull("no"), "has no room left"),
        (pg.AdminShutdown("no"), "is shutting down"),
        (pg.QueryCanceled("no"), "did not answer in time"),
        (pg.LockNotAvailable("no"), "was too busy with the same row"),
        (pg.DeadlockDetected("no"), "was too busy with the same row"),
        (pg.SerializationFailure("no"), "was too busy with the same row"),
        (pg.ConnectionException("no"), "can't be reached"),
        (pg.UndefinedTable("no"), "answered with SQLSTATE 42P01"),
        (psycopg.InterfaceError("no"), "can't be reached"),
        (ConnectionRefusedError("no"), "can't be reached"),
        (TimeoutError(), "can't be reached"),
        (PoolTimeout("no"), "failed with TimeoutError"),
    ],
)
def test_what_postgresql_says(error: Exception, reason: str) -> None:
    """Each trouble with a server has its own words, and none shows the password."""
    for each in (error, OperationalError("INSERT ...", {}, error)):
        explained = explain(each, SERVER)
        if explained is not None and isinstance(each, OperationalError) and reason.startswith("failed"):
            continue
        assert explained is not None
        assert explained.reason == reason
        assert "never-shown" not in str(explained)


def test_the_systems_errors_about_a_file() -> None:
    """An error of the operating system is told by its symbol."""
    explained = explain(PermissionError(13, "Permission denied"), FILE)
    assert explained is not None
    assert explained.reason == "can't be used (EACCES)"
    nameless = explain(OSError("what"), FILE)
    assert nameless is not None
    assert nameless.reason == "can't be used (OSError)"


def test_a_mistake_of_our_own_is_not_explained_away() -> None:
    """An error that no database made stays what it is."""
    assert explain(TypeError("a bug"), FILE) is None
    assert explain(TypeError("a bug"), SERVER) is None


def test_crosses_processes() -> None:
    """A journal's error can be pickled."""
    error = JournalError("the journal x", "is damaged", "put back a backup")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(again), again.journal, again.reason) == (str(error), "the journal x", "is damaged")
