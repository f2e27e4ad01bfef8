"""Which store a URL names."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from flash_driver.journal.memory import MemoryStore
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.store import make_store
from flash_driver.journal.urls import JournalUrl

if TYPE_CHECKING:
    from pathlib import Path


async def test_kinds(sqlite_url: JournalUrl) -> None:
    """A URL of a database names a database, `memory:` memory; making one opens nothing."""
    made = make_store(sqlite_url)
    assert isinstance(made, SqlStore)
    await made.aclose()
    assert sqlite_url.path is not None
    assert not sqlite_url.path.parent.exists()
    assert isinstance(make_store(JournalUrl.parse("memory:")), MemoryStore)


def test_memory_needs_no_database_library(tmp_path: Path) -> None:
    """A host that keeps its journal in memory does not pay for loading SQLAlchemy."""
    code = "import sys, flash_driver.client; print('sqlalchemy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False", tmp_path
