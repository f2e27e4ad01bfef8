"""Journals of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.store import make_store
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.store import JournalStore


@pytest.fixture
def sqlite_url(tmp_path: Path) -> JournalUrl:
    """Give the URL of a SQLite file that does not exist yet."""
    return JournalUrl.parse(f"sqlite+aiosqlite:///{tmp_path / 'folder' / 'journal.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_url(request: pytest.FixtureRequest) -> JournalUrl:
    """Give the URL of an empty database, of each kind."""
    if request.param == "postgresql":
        return JournalUrl.parse(request.getfixturevalue("postgres").new_database())
    url: JournalUrl = request.getfixturevalue("sqlite_url")
    return url


@pytest.fixture(scope="session")
def one_database(request: pytest.FixtureRequest) -> str:
    """Give the URL of a database that many tests use one after the other, because making one takes longer than most."""
    url: str = request.getfixturevalue("postgres").new_database()
    return url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, sqlite_url: JournalUrl) -> AsyncIterator[JournalStore]:
    """Give an empty store of each kind."""
    if request.param == "postgresql":
        emptied = SqlStore(JournalUrl.parse(request.getfixturevalue("one_database")), patience=40)
        await emptied.find("", None)
        await emptied.transactions.write(_empty)
        made: JournalStore = emptied
    else:
        made = make_store(JournalUrl.parse("memory:") if request.param == "memory" else sqlite_url)
    yield made
    await made.aclose()


@pytest.fixture
async def journal(store: JournalStore) -> Journal:
    """Give an account's journal of each kind."""
    return await open_journal(store)


def _empty(connection: Connection) -> None:
    connection.execute(text("TRUNCATE flash_accounts, flash_logins, flash_invoices, flash_payments, flash_spent"))
