"""Guesses at the custodian: what an invoice proves under each, and how they are judged."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flash_driver.money.rate_model import Interval, Motion, RateTheory, Rounding, School, Sighting

RATE = Decimal("0.000097")
STILL = Decimal(1)
"""A price that has not changed."""
MODES = {Rounding.NEAREST: ROUND_HALF_EVEN, Rounding.DOWN: ROUND_FLOOR, Rounding.UP: ROUND_CEILING}


def sighting(cents: str, rate: Decimal = RATE, rounding: Rounding = Rounding.NEAREST, step: int = 1) -> Sighting:
    """Let a custodian with a known rate make an invoice."""
    steps = (Decimal(cents) / rate / step).quantize(Decimal(1), MODES[rounding])
    return Sighting(0, Decimal(cents), int(steps) * step, step)


@settings(deadline=None)
@given(
    st.decimals(Decimal("0.1"), Decimal(10**7), places=6),
    st.sampled_from(Rounding),
    st.sampled_from([1, 1000]),
    st.decimals(Decimal("0.000001"), Decimal("0.01"), places=12),
)
def test_the_true_rate_is_never_excluded(cents: Decimal, rounding: Rounding, step: int, rate: Decimal) -> None:
    """Under the right guess at the rounding an invoice's interval holds the true rate; so does that of all guesses."""
    assume(cents / rate >= step)  # an invoice over nothing teaches nothing, and never gets here
    seen = sighting(str(cents), rate, rounding, step)
    inside = seen.rate[rounding]
    slack = rate * Decimal("1e-20")
    assert inside.low - slack <= rate <= inside.high + slack
    assert seen.any_rate.low <= inside.low <= inside.high <= seen.any_rate.high


def test_large_invoice_proves_more_digits() -> None:
    """The interval shrinks as the invoice grows."""
    proofs = [sighting(cents).rate[Rounding.NEAREST] for cents in ("1", "1000", "1000000")]
    widths = [proof.high - proof.low for proof in proofs]
    assert widths[0] > 500 * widths[1] > 250_000 * widths[2] > 0


@pytest.mark.parametrize("rounding", Rounding)
def test_smallest_invoice_proves_something(rounding: Rounding) -> None:
    """One satoshi of a custodian that deals in satoshi still has a rate above zero and below all bounds."""
    rate = Sighting(0, Decimal("0.1"), 1000, 1000).rate[rounding]
    assert 0 < rate.low < rate.high


def test_intervals() -> None:
    """Intervals scale, widen and meet."""
    one = Interval(Decimal(2), Decimal(4))
    assert one.middle == 3
    assert one.scaled(Decimal(2)) == Interval(Decimal(4), Decimal(8))
    assert one.widened(Decimal("0.5")) == Interval(Decimal(1), Decimal(6))
    assert one.common(Interval(Decimal(3), Decimal(9))) == Interval(Decimal(3), Decimal(4))
    assert one.common(Interval(Decimal(5), Decimal(9))) is None


def test_proofs_add_up() -> None:
    """Invoices that agree narrow the rate down; one that contradicts begins again."""
    theory = RateTheory(Rounding.NEAREST, Motion.STILL)
    assert theory.forecast(STILL) is None
    assert theory.see(sighting("1000"), STILL) is None
    first = theory.forecast(STILL)
    assert theory.see(sighting("999.123"), STILL) == 0
    second = theory.forecast(STILL)
    assert first is not None
    assert second is not None
    assert first.low <= second.low <= RATE <= second.high <= first.high
    theory.see(sighting("1000", RATE * Decimal("1.01")), STILL)
    third = theory.forecast(STILL)
    assert third is not None
    assert third.low <= RATE * Decimal("1.01") <= third.high
    assert theory.cost > 0
    assert theory.unrest > 0


def test_cost_is_forgiven_in_time() -> None:
    """A theory that is right again gets over a miss; an invoice too small to show one changes nothing of its unrest."""
    theory = RateTheory(Rounding.NEAREST, Motion.STILL)
    theory.see(sighting("1000"), STILL)
    theory.see(sighting("1010", RATE * Decimal("1.01")), STILL)
    after_miss = theory.cost
    unrest = theory.unrest
    for _ in range(40):
        theory.see(sighting("0.1", RATE * Decimal("1.01")), STILL)
    assert theory.cost < after_miss / 20
    assert theory.unrest == unrest
    for _ in range(40):
        theory.see(sighting("1000", RATE * Decimal("1.01")), STILL)
    assert theory.unrest < unrest / 20


@pytest.mark.parametrize(("motion", "factor"), [(Motion.STILL, "1"), (Motion.WITH_PRICE, "1.01")])
def test_motions_follow_the_price(motion: Motion, factor: str) -> None:
    """Between an invoice and now the rate moves as the price does, or not at all."""
    theory = RateTheory(Rounding.NEAREST, motion)
    theory.see(sighting("1000"), STILL)
    before, after = theory.forecast(STILL), theory.forecast(Decimal("1.01"))
    assert before is not None
    assert after is not None
    assert abs(after.middle / before.middle / Decimal(factor) - 1) < Decimal("0.0001")


def test_school_believes_its_best_theory() -> None:
    """When the rate stands still while the price moves, the school's best theory is the one that says so."""
    school = School(Rounding.NEAREST)
    assert school.best().motion is Motion.WITH_PRICE
    for _ in range(10):
        school.see(sighting("100000"), Decimal("1.01"))
    assert school.best().motion is Motion.STILL
    assert school.best(following_price=True).motion is Motion.WITH_PRICE


def test_school_is_judged_by_hits() -> None:
    """Misses cost, hits do not, and both count for little each."""
    school = School(Rounding.DOWN)
    school.judge(Decimal("0.4"))
    assert school.cost == Decimal(1) / 1000
    school.judge(Decimal(0))
    assert 0 < school.cost < Decimal(1) / 1000
