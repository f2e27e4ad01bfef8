"""Kill -9 at every step of moving a journal to another database: never two journals of one account that both serve."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import pytest

from flash_driver.journal.errors import JournalError
from flash_driver.journal.sql.store import SqlStore
from flash_driver.journal.urls import JournalUrl
from tests.support.journals import an_invoice, open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres import PostgresServer
    from tests.support.processes import Driver

pytestmark = pytest.mark.timeout(400)

RUNS: Final[tuple[tuple[int | None, str | None, bool], ...]] = (
    (1, "source", False),
    (2, "source", False),
    (3, "source", True),
    (3, "source", True),
    (4, None, True),
    (1, None, True),
    (None, "target", True),
)
"""Before which commit each run dies, who serves afterwards, and whether there is a target by then.

The third commit decides, so the last two runs have one commit left to do.
"""


async def serves(url: JournalUrl, add: int) -> list[str] | None:
    """Add an invoice to a journal and return the hashes of all that it has; None if no driver may use it."""
    async with aclosing(SqlStore(url, patience=40)) as store:
        try:
            journal = await open_journal(store)
        except JournalError:
            return None
        await journal.add_invoice(an_invoice(add))
        return [each.payment_hash for each in await journal.list_invoices()]


@pytest.mark.parametrize("direction", ["to PostgreSQL", "to SQLite"])
async def test_copy(direction: str, driver: Driver, tmp_path: Path, postgres: PostgresServer) -> None:
    """One journal at most serves, wherever the copy was killed; the same command, run again, finishes it whole."""
    journals = {"source": f"sqlite:///{tmp_path / 'journal.db'}", "target": postgres.new_database()}
    if direction == "to SQLite":
        journals = {"source": journals["target"], "target": journals["source"]}
    urls = {name: JournalUrl.parse(url) for name, url in journals.items()}
    kept = await serves(urls["source"], 0)
    for number, (dies_at, serving, target_is_there) in enumerate(RUNS, start=1):
        run = await driver.run(flow="copy", journal=journals["source"], target=journals["target"], die_at=dies_at)
        assert (run.died_at is None) == (dies_at is None)
        for name, url in urls.items():
            if name == "source" or target_is_there:  # looking would make one
                hashes = await serves(url, number)
                if name != serving:
                    assert hashes is None
                else:
                    kept = [*(kept or ()), f"{number:064x}"]
                    assert hashes == kept
