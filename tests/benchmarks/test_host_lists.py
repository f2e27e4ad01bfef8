"""The short form of what the host's lists cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import host_lists
from tests.benchmarks.report import render

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer


def test_every_list_is_read_in_both_databases(postgres: PostgresServer) -> None:
    """Each list has a whole page, newest and far back, and its figures for both databases at both sizes."""
    figures = host_lists.measure(rows=(2_000, 3_000), rounds=1, server=postgres)
    assert len(figures["rows"]) == 12
    for row in figures["rows"]:
        assert {database: len(taken) for database, taken in row["milliseconds"].items()} == {
            "SQLite": 2,
            "PostgreSQL": 2,
        }
    assert "| webhook deliveries, far back" in render("lists", figures)
