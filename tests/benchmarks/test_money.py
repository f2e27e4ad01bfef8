"""The benchmark of the money in a short form: counts, not speed; the same on every run."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.benchmarks.market import Movement, Scenario, run
from tests.benchmarks.money import SCENARIOS, row

AMOUNTS = 200


def share(counts: list[int]) -> Decimal:
    """The share of the first of some counts."""
    return Decimal(counts[0]) / sum(counts)


@pytest.mark.parametrize("scenario", SCENARIOS["the rate stands still"] + SCENARIOS["other spreads"], ids=str)
def test_still_rate_needs_one_request(scenario: Scenario) -> None:
    """While the rate stands still, 99 % of what can be had at all is had at the first request, the rest at the next."""
    tally = run(scenario, AMOUNTS)
    assert tally.amounts == AMOUNTS
    possible = AMOUNTS - tally.impossible
    assert tally.by_request[0] >= possible * 99 // 100
    assert tally.by_request[3] == tally.impossible
    assert tally.impossible == 0 or (scenario.currency, scenario.unit) == ("USDT", "msat")


@pytest.mark.parametrize("unit", ["sat", "msat"])
def test_rate_that_follows_the_price_needs_one_request(unit: str) -> None:
    """Where the custodian moves with the ticks that everybody hears, its moves cost nothing."""
    tally = run(Scenario(unit=unit, movement=Movement.JUMP, drift=Decimal(1)), AMOUNTS)  # type: ignore[arg-type]  # one of two literals
    assert share(tally.by_request) >= Decimal("0.98")


@pytest.mark.parametrize("unit", ["sat", "msat"])
def test_a_price_that_moves_without_the_rate_costs_nothing(unit: str) -> None:
    """Where the price that is told is another feed's and the custodian stands still, its ticks are not followed."""
    tally = run(Scenario(unit=unit, feed_noise=Decimal("0.02")), AMOUNTS)  # type: ignore[arg-type]  # one of two literals
    assert share(tally.by_request) >= Decimal("0.98")


@pytest.mark.parametrize("drift", ["0.1", "1"])
def test_chance_is_corrected(drift: str) -> None:
    """A rate that goes by chance can't be foretold, but the second or third request catches it."""
    tally = run(Scenario(movement=Movement.WALK, drift=Decimal(drift)), AMOUNTS)
    assert tally.by_request[3] <= AMOUNTS // 100


@pytest.mark.parametrize("scenario", SCENARIOS["one percent more will do, less will not"], ids=str)
def test_tolerance_saves_requests(scenario: Scenario) -> None:
    """Where one percent more will do, nearly everything is had; whole satoshi mostly at once."""
    tally = run(scenario, AMOUNTS)
    assert tally.by_request[3] <= 1
    assert share(tally.by_request) >= Decimal("0.7") or (scenario.unit, scenario.movement) == ("msat", Movement.WALK)


def test_same_seed_same_figures() -> None:
    """A scenario is a story that can be told again, and a line of the table."""
    scenario = SCENARIOS["the rate goes by chance"][0]
    first, again, other = run(scenario, 100), run(scenario, 100), run(scenario, 100, seed=2)
    assert row(scenario, first) == row(scenario, again) != row(scenario, other)
