"""Drivers that can be killed, and journals that outlive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.processes import Driver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def sqlite_journal(tmp_path: Path) -> str:
    """Give the URL of a journal in a file."""
    return f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, sqlite_journal: str) -> str:
    """Give the URL of a durable journal of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres").new_database()
        return url
    return sqlite_journal


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    """Give a process that carries out orders."""
    started = await Driver.start()
    yield started
    await started.aclose()
