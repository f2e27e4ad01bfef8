"""Journals of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flash_driver.journal.store import make_store
from flash_driver.journal.urls import JournalUrl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from flash_driver.journal.base import Journal
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


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest) -> JournalUrl:
    """Give the URL of an empty journal, of each kind."""
    if request.param == "postgresql":
        return JournalUrl.parse(request.getfixturevalue("postgres").new_database())
    return JournalUrl.parse("memory:") if request.param == "memory" else request.getfixturevalue("sqlite_url")


@pytest.fixture
async def store(journal_url: JournalUrl) -> AsyncIterator[JournalStore]:
    """Give a store of each kind."""
    made = make_store(journal_url)
    yield made
    await made.aclose()


@pytest.fixture
async def journal(store: JournalStore) -> Journal:
    """Give an account's journal of each kind."""
    opened = await store.open("fingerprint", "account")
    assert opened is not None
    return opened
