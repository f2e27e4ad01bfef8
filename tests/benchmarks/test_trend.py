from __future__ import annotations

import pytest

from tests.benchmarks.trend import slope


def test_slope_of_a_line_is_its_own() -> None:
    """A straight line is found again, also through points that lie around it; one moment tells nothing."""
    assert slope([0, 1, 2], [5, 7, 9]) == pytest.approx(2)
    assert slope([0, 0, 1, 1], [-1, 1, 2, 4]) == pytest.approx(3)
    assert slope([3, 3], [1, 2]) == 0
