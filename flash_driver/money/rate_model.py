"""Guesses at how the custodian works, each tried against every invoice it makes.

The custodian turns `c` cents into `c / rate` millisatoshi and rounds that to a step of its own. It tells neither rate
nor rounding. Each BOLT11 proves something of the rate under a given guess at the rounding: rounded to the nearest step,
`m` millisatoshi mean that the exact result lay between `m - step/2` and `m + step/2`; rounded down, between `m` and
`m + step`. Large invoices prove many digits, small ones few; a guess keeps what all of them together prove, as an
interval, and begins again when an invoice contradicts it.

How the custodian rounds never changes and shows only in invoices that were foretold to a step; whether its rate
follows the price changes with the market and shows in all. So each rounding has a school of two theories about the
motion: the theories of a school are judged by the last few invoices, the schools by many more, and by those near misses
only. Theories of trends were tried and earned nothing on a market that a custodian can have (docs/money.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from typing import Final

__all__ = ["Interval", "Motion", "RateModel", "RateTheory", "Rounding", "School", "Sighting"]

_MEMORY_OF_MOTION: Final = 12
_MEMORY_OF_ROUNDING: Final = 1000
"""Over about how many invoices theories, and schools, are judged."""
_LEAST_SHARE: Final = Decimal("0.001")
"""No rounding makes an invoice a thousand times what it exactly came to."""


class Rounding(Enum):
    """How the custodian gets to its step; the value is where the middle of what it rounds to `m` lies, in steps."""

    NEAREST = Decimal(0)
    DOWN = Decimal("0.5")
    UP = Decimal("-0.5")


class Motion(Enum):
    """How the custodian's rate moves between two invoices."""

    WITH_PRICE = "as the server's price does, from tick to tick"
    STILL = "not at all"


@dataclass(frozen=True, slots=True)
class Interval:
    """The rate lies in here, in cents per millisatoshi; or an amount does, in millisatoshi."""

    low: Decimal
    high: Decimal

    @property
    def middle(self) -> Decimal:
        """The best single value."""
        return (self.low + self.high) / 2

    @property
    def width(self) -> Decimal:
        """How little is known."""
        return self.high - self.low

    def scaled(self, factor: Decimal) -> Interval:
        """The interval with both ends multiplied."""
        return Interval(self.low * factor, self.high * factor)

    def widened(self, fraction: Decimal) -> Interval:
        """The interval with both ends moved outwards by a fraction of themselves."""
        return Interval(self.low * (1 - fraction), self.high * (1 + fraction))

    def common(self, other: Interval) -> Interval | None:
        """What lies in both, if anything does."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Interval(low, high) if low <= high else None


class Sighting:
    """An invoice that the custodian made, and what it proves under each guess at the rounding.

    Args:
        at: When, in microseconds.
        cents: What was asked for.
        msat: What its BOLT11 says, more than zero.
        step: What the custodian rounds to, in millisatoshi.

    Attributes:
        exact: What it came to before the custodian rounded it, in millisatoshi.
        rate: The rate at which that can be.
        any_rate: The rate, however the custodian may round.

    """

    __slots__ = ("any_rate", "at", "cents", "exact", "msat", "rate", "step")

    def __init__(self, at: int, cents: Decimal, msat: int, step: int) -> None:
        self.at, self.cents, self.msat, self.step = at, cents, msat, step
        self.exact: dict[Rounding, Interval] = {}
        self.rate: dict[Rounding, Interval] = {}
        for rounding in Rounding:
            middle, half = msat + rounding.value * step, Decimal(step) / 2
            exact = Interval(max(middle - half, msat * _LEAST_SHARE), middle + half)
            self.exact[rounding], self.rate[rounding] = exact, Interval(cents / exact.high, cents / exact.low)
        self.any_rate = Interval(self.rate[Rounding.DOWN].low, self.rate[Rounding.UP].high)


class RateTheory:
    """One guess at rounding and motion, and the rate that follows from it.

    Attributes:
        rounding: The guess at the rounding.
        motion: The guess at the motion.
        cost: By how much its forecasts missed of late, from 0 (never) to 1 (wildly).
        unrest: By which fraction of the amount invoices lay beyond what they had as possible.

    """

    def __init__(self, rounding: Rounding, motion: Motion) -> None:
        self.rounding = rounding
        self.motion = motion
        self.cost = Decimal(0)
        self.unrest = Decimal(0)
        self._rate: Interval | None = None

    def forecast(self, change: Decimal) -> Interval | None:
        """The rate, in cents per millisatoshi; None before the first invoice.

        Args:
            change: By which factor the server's price has changed since the last invoice.

        """
        if self._rate is None or self.motion is Motion.STILL or change == 1:
            return self._rate
        return self._rate.scaled(change)

    def caution(self, forecast: Interval, msat: int, step: int) -> Decimal:
        """How far above an amount to aim, in msat, so as not to end below: nothing while the rounding forgives it.

        Args:
            forecast: What it foretells.
            msat: The amount.
            step: What the custodian rounds to, in millisatoshi.

        """
        doubt = msat * (2 * self.unrest + (forecast.high - forecast.low) / (forecast.high + forecast.low))
        return max(Decimal(0), doubt - Decimal(step) / 2)

    def see(self, sighting: Sighting, change: Decimal) -> Decimal | None:
        """Take in an invoice, and judge the forecast by it; return by how many steps it missed, None if there was none.

        The middle of the forecast counts, for that is what is quoted.
        """
        rate = sighting.rate[self.rounding]
        forecast = self.forecast(change)
        if forecast is None:
            self._rate = rate
            return None
        self._rate = forecast.common(rate) or rate
        return self._judge(forecast, sighting)

    def _judge(self, forecast: Interval, sighting: Sighting) -> Decimal:
        exact = sighting.exact[self.rounding]
        expected = sighting.cents / forecast.middle
        missed = max(exact.low - expected, expected - exact.high, Decimal(0))
        steps = missed / sighting.step
        self.cost += (steps / (1 + steps) - self.cost) / _MEMORY_OF_MOTION
        # What lies within the forecast was only not known: `caution` adds that by itself.
        known = sighting.cents / forecast.high <= exact.high and sighting.cents / forecast.low >= exact.low
        moved = Decimal(0) if known else missed
        # An invoice too small to show such a miss says nothing of it.
        if moved or sighting.step < self.unrest * sighting.msat:
            self.unrest += (moved / sighting.msat - self.unrest) / _MEMORY_OF_MOTION
        return steps


class School:
    """The theories that share a guess at the rounding.

    Attributes:
        rounding: That guess.
        cost: How often its best theory was wrong where one of any school was right or nearly so, from 0 to 1.

    """

    def __init__(self, rounding: Rounding) -> None:
        self.rounding = rounding
        self.cost = Decimal(0)
        self.theories = RateTheory(rounding, Motion.WITH_PRICE), RateTheory(rounding, Motion.STILL)

    def best(self, *, following_price: bool = False) -> RateTheory:
        """The theory that cost least of late; of two that cost the same the one that follows the price."""
        with_price, still = self.theories
        return with_price if following_price or with_price.cost <= still.cost else still

    def see(self, sighting: Sighting, change: Decimal) -> Decimal | None:
        """Take in an invoice; return by how many steps the best theory missed it, None if it foretold nothing."""
        with_price, still = self.theories
        best_until_now = self.best()
        missed_with_price, missed_still = with_price.see(sighting, change), still.see(sighting, change)
        return missed_with_price if best_until_now is with_price else missed_still

    def judge(self, missed: Decimal) -> None:
        """Take in that the school's best theory missed an invoice, and by how many steps."""
        self.cost += ((1 if missed else 0) - self.cost) / _MEMORY_OF_ROUNDING


class RateModel:
    """All theories, in their schools."""

    def __init__(self) -> None:
        self._schools = tuple(School(rounding) for rounding in Rounding)

    def best(self, *, following_price: bool = False) -> RateTheory:
        """The best theory of the school that cost least, of those that follow the price where only they count."""
        return min(self._schools, key=attrgetter("cost")).best(following_price=following_price)

    def foresaw(self, sighting: Sighting, change: Decimal, band: Decimal) -> bool:
        """Whether an invoice is within this fraction of what any theory foretells."""
        for school in self._schools:
            for theory in school.theories:
                forecast = theory.forecast(change)
                if forecast is not None and forecast.widened(band).common(sighting.any_rate) is not None:
                    return True
        return False

    def see(self, sighting: Sighting, change: Decimal) -> None:
        """Have every theory learn from an invoice; schools are judged where one of them foretold it to a step."""
        missed = [school.see(sighting, change) for school in self._schools]
        known = [steps for steps in missed if steps is not None]
        if known and min(known) <= 1:
            for school, steps in zip(self._schools, known, strict=True):
                school.judge(steps)
