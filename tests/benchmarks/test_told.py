"""The short form of `python -m tests.benchmarks --only told`: counts, no times."""

from __future__ import annotations

import pytest

from tests.benchmarks.told import SITUATIONS, measure
from tests.support.timing import SHORT


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_every_payment_is_told_once(situation: str) -> None:
    """Wherever the invoice was made and whatever events are lost, a listener is told of each payment, once."""
    figures = await measure(situation, invoices=12, life_seconds=1.0, timing=SHORT)
    assert (figures.paid, figures.told, len(figures.seconds)) == (12, 12, 12)
    assert figures.asked >= 12
