"""The short form of what a person waits for at the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks import host
from tests.benchmarks.report import render

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer


def test_everything_is_measured_in_both_databases(postgres: PostgresServer) -> None:
    """An invoice of two kinds, a settlement and a webhook have their figures in both databases."""
    figures = host.measure_with(postgres, rounds=1, invoices=4)
    assert len(figures["rows"]) == 2 * 4
    assert all(row["per_second"] > 0 and row["cpu"] > 0 for row in figures["rows"])
    assert "webhook told |" in render("host", figures)
