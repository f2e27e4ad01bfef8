from __future__ import annotations

from tests.benchmarks.rounds import play_rounds, spread


def test_rounds_are_interleaved_in_changing_order() -> None:
    """Each round measures every cell once, not always in the same order; figures keep the cells' own order."""
    order: list[str] = []

    def measure(cell: str) -> dict[str, int]:
        order.append(cell)
        return {"number": len(order)}

    found = play_rounds(["a", "b", "c"], 6, measure)
    rounds = [order[start : start + 3] for start in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1
    assert list(found) == ["a", "b", "c"]
    assert [sample["number"] for sample in found["b"]] == [number + 1 for number in range(18) if order[number] == "b"]


def test_spread_is_median_least_and_most() -> None:
    """Of each figure the middle and both ends are kept."""
    samples = [{"x": 3, "y": 1}, {"x": 1, "y": 1}, {"x": 8, "y": 1}]
    assert spread(samples) == {
        "x": {"median": 3, "least": 1, "most": 8},
        "y": {"median": 1, "least": 1, "most": 1},
    }
