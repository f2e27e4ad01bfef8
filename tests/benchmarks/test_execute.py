"""The short form of comparing the ways to move an operation: shape and counts, no speed."""

from __future__ import annotations

from tests.benchmarks import execute
from tests.benchmarks.report import render
from tests.benchmarks.ways import FLOOR, WAYS


def test_every_way_moves_operations() -> None:
    """Each way has its row and its ratios, and the server was asked for all that was counted as answered."""
    figures = execute.measure(rounds=1, seconds=0.02, in_flight=(2,))
    rows = {row["way"]: row for row in figures["rows"]}
    assert rows.keys() == set(WAYS)
    for row in rows.values():
        assert row["requests"]["median"] >= row["in_flight"] == 2
        assert row["asked"]["median"] > row["requests"]["median"]
        assert row["p50"]["median"] <= row["p99"]["median"]
    floor, ours = rows[FLOOR], rows["our socket"]
    assert (floor["throughput_of_floor"], floor["cpu_of_floor"]) == (1, 1)
    assert ours["cpu_of_floor"] == ours["cpu"]["median"] / floor["cpu"]["median"]
    assert rows[execute.STOCK]["cpu_of_stock"] == 1
    table = render("execute", figures)
    assert all(table.count(f"| {way} ") == 1 for way in WAYS)


def test_what_was_not_measured_is_not_compared() -> None:
    """A ratio to a way that was left out is left out, too."""
    (floor,) = execute.measure(rounds=1, seconds=0.02, ways=(FLOOR,), in_flight=(1, 3))["rows"][:1]
    assert floor["throughput_of_floor"] == 1
    assert "cpu_of_stock" not in floor
