"""The breakdown of one invoice names every part."""

from __future__ import annotations

import pytest

from tests.benchmarks import create_breakdown


@pytest.mark.timeout(500)
def test_each_part_has_its_share() -> None:
    """Each part of the code was met; nothing is said of how fast it is."""
    told = create_breakdown.measure(kinds=["decline"], number=1)["decline"]
    assert told["profile"].keys() == {*create_breakdown.PARTS, "other"}
    assert all(told["profile"][part] > 0 for part in ("waiting", "journal", "budget", "BOLT11", "socket", "loop"))
