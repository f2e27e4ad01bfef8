"""The short form of many pending invoices, in a process of their own."""

from __future__ import annotations

from tests.benchmarks import growth
from tests.benchmarks.report import render


def test_a_settlement_is_heard_among_many() -> None:
    """With 300 pending invoices one that is paid is heard, and one paid in a gap is found by a few questions."""
    figures = growth.measure(pending=(300,), rounds=1)
    (row,) = figures["rows"]
    assert row["invoices"]["median"] == row["pending"] == 300
    assert row["seconds_to_settle"]["median"] > 0
    assert row["requests_by_then"]["median"] < 100
    assert "| 300 " in render("pending", figures)
