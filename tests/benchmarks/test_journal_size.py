"""The short form of the journal's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import journal_size
from tests.benchmarks.report import render

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer


def test_every_call_is_measured_in_both_databases(postgres: PostgresServer) -> None:
    """Each call of the contract has its figures in a small and a larger journal."""
    figures = journal_size.measure(rows=(20, 40), rounds=1, server=postgres)
    assert len(figures["rows"]) >= 15
    assert all(len(taken) == 2 for row in figures["rows"] for taken in row["milliseconds"].values())
    assert "| list_payments after one " in render("journal", figures)
