"""The short form of comparing the ways to move an operation: shape and counts, no speed."""

from __future__ import annotations

from tests.benchmarks import execute
from tests.benchmarks.report import render
from tests.benchmarks.ways import WAYS


def test_every_way_moves_operations() -> None:
    """Each way has its row at each number in flight, and the server was asked for all that was counted as answered."""
    figures = execute.measure(rounds=1, seconds=0.02, in_flight=(1, 3))
    cells = [(row["way"], row["in_flight"]) for row in figures["rows"]]
    assert sorted(cells) == sorted((way, number) for way in WAYS for number in (1, 3))
    for row in figures["rows"]:
        assert row["requests"]["median"] >= row["in_flight"]
        assert row["asked"]["median"] > row["requests"]["median"]
        assert row["p50"]["median"] <= row["p99"]["median"]
    table = render("execute", figures)
    assert all(table.count(f"| {way} ") == 2 for way in WAYS)


def test_ratios_are_to_the_floor_and_to_gql() -> None:
    """What is compared is compared with itself as 1, and left out where the other was not measured."""
    ways = ("raw websockets", "our socket")
    floor, ours = execute.measure(rounds=1, seconds=0.02, ways=ways, in_flight=(2,))["rows"]
    assert (floor["throughput_of_floor"], floor["cpu_of_floor"]) == (1, 1)
    assert ours["cpu_of_floor"] == ours["cpu"]["median"] / floor["cpu"]["median"]
    assert "cpu_of_stock" not in ours
