"""The short form of aliases against many messages; the worker itself insists on every invoice."""

from __future__ import annotations

from tests.benchmarks import aliasing
from tests.benchmarks.report import render


def test_both_ways_make_all_invoices() -> None:
    """Both ways bring every invoice, and one of the two is called the faster."""
    figures = aliasing.measure(rounds=1, counts=(3,), one_way_seconds=0.001)
    assert [row["way"] for row in figures["rows"]] == list(aliasing.WAYS)
    assert sum(row["fastest"] for row in figures["rows"]) == 1
    assert "pipelining" in render("aliasing", figures)
