"""The benchmark of what payees get, in a short form: counts, not speed; the same on every run."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.benchmarks.sending import SCENARIOS, run


@pytest.mark.parametrize(("market", "spare"), [("stands still, USD", "0.01"), ("stands still, USDT", "0.21")])
def test_payees_get_what_was_named(market: str, spare: str) -> None:
    """At the price every payee gets less; with the rate of sending none does, and hardly more."""
    before, now = (run(SCENARIOS[market], 100, learning=learning) for learning in (False, True))
    assert [before.less, now.less, now.least] == [Decimal(100), Decimal(0), Decimal(0)]
    assert now.most <= Decimal(spare)


def test_a_wandering_spread_is_followed() -> None:
    """What the rate of sending was a minute ago does not count: it is asked for each time."""
    told = run(SCENARIOS["the spread goes by chance, 0.1 % in a minute"], 100, learning=True)
    assert told.least >= Decimal("-0.01")
