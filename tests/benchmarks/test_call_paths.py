"""The three ways through the code stay as short as they are."""

from __future__ import annotations

from typing import Final

import pytest

from tests.benchmarks import call_paths

MOST: Final = {"create_invoice": (372, 195), "settlement": (258, 170), "pay": (288, 181)}
"""Functions entered and changes of module: what was counted in November 2026, and a fifth more."""


@pytest.mark.timeout(120)
def test_ways_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One warm invoice, one settlement and one payment enter few functions, and change module seldom."""
    monkeypatch.setenv("FLASH_JOURNAL_URL", "memory:")
    found = call_paths.measure()
    longer = {
        way: (found[way]["calls"], found[way]["changes"])
        for way, (calls, changes) in MOST.items()
        if found[way]["calls"] > calls or found[way]["changes"] > changes
    }
    assert longer == {}
