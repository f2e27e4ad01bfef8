"""Satoshi to cents and back: what the server's custodian charges, learned from the invoices it makes.

Flash is asked in US cents and its custodian decides the amount at a rate of its own (flash-server.md 6), which it never
tells. Six theories of it (`rate_model`: three of its rounding, times two of its motion) run side by side, each judged
by how well it foretold the invoices so far; the best one quotes. Before the first invoice the server's price
has to do.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING, Final

from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.money.decimals import EXACT, unit_of
from flash_driver.money.price_history import MINUTE, moment_of, plausible_change
from flash_driver.money.rate_model import Interval, RateModel, RateTheory, Sighting
from flash_driver.money.server_price import RateUnknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from flash_driver.flash_api.replies import PriceTick
    from flash_driver.money.server_price import ServerPrice

__all__ = ["Quote", "RateBook"]

_MSAT_PER_SAT: Final = 1000
_FINEST_STEP_MSAT: Final = 1
_COARSE_STEP_MSAT: Final = 1000
_FARTHEST_FROM_PRICE: Final = Decimal("0.2")
_PRICE_GOOD_FOR: Final = 60 * MINUTE
_AGES_AFTER: Final = 10 * MINUTE
_SEED_GOOD_FOR: Final = 60 * MINUTE
_SAME_MOMENT: Final = 50_000
_LONGEST_TRIP: Final = 5_000_000

_log: Final = get_logger()


@dataclass(frozen=True, slots=True)
class Quote:
    """How many cents to ask for.

    Attributes:
        cents: The request, with as many decimals as the server resolves.
        unit: The smallest difference between two requests.
        at: When it was made, in microseconds.
        learned: Whether it rests on invoices of this server, rather than on its price indication.

    """

    cents: Decimal
    unit: Decimal
    at: int
    learned: bool


class RateBook:
    """The rate at which one server receives one currency; threads may share it.

    Args:
        decimals: How many decimals of a cent the server resolves (flash-server.md 6: USD 6, USDT 4).
        price: The server's price.
        clock: The present time.

    """

    def __init__(self, decimals: int, price: ServerPrice, clock: Callable[[], datetime] = utc_now) -> None:
        self._decimals = decimals
        self._price = price
        self._clock = clock
        self._lock = threading.RLock()
        self._model = RateModel()
        self._step_msat = _COARSE_STEP_MSAT
        self._suspect: Sighting | None = None
        self._seen_at: int | None = None
        self._learned_at: datetime | None = None
        self._taught: Sighting | None = None
        self._seeded = False

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether anything can be quoted."""
        return self._price.latest is not None or self._learned_at is not None

    @property
    def learned(self) -> bool:
        """Whether invoices of this process have taught the custodian's rate, rather than only a price or a seed."""
        return self._taught is not None

    @property
    def wants_seed(self) -> bool:
        """Whether it is worth while to `seed` it: no invoice has taught it, and it was not seeded yet."""
        return self._taught is None and not self._seeded

    @property
    def cents_per_sat(self) -> tuple[Decimal, datetime]:
        """The market's rate now, and when it was learned: the server's price, else that of the last invoices.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        with self._lock:
            if (tick := self._price.latest) is not None:
                return tick.cents_per_sat, tick.time
            return self._custodians_rate()

    def to_msat(self, cents: Decimal) -> int:
        """Return what an amount of cents is worth at the market's rate, rounded down to whole millisatoshi.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        with localcontext(EXACT):
            return int(cents * _MSAT_PER_SAT / self.cents_per_sat[0])

    def paid_msat(self, cents: Decimal) -> int:
        """Return what somebody paid in so that cents arrived: at the custodian's rate, where that is known.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        with self._lock, localcontext(EXACT):
            return int((cents * _MSAT_PER_SAT / self._custodians_rate()[0]).to_integral_value(ROUND_HALF_EVEN))

    # --- learning ---------------------------------------------------------------------------------------------------

    def see_price(self, tick: PriceTick | None) -> None:
        """Take in what the server says of its price; an absurd or older one changes nothing."""
        self._price.see(tick)

    def seed(self, invoices: Iterable[tuple[datetime, Decimal, int]]) -> None:
        """Take in what invoices of the last hour have shown before this process began.

        Args:
            invoices: When each was made, the cents that were asked for, and its amount in millisatoshi; oldest first.

        """
        with self._lock:
            if not self.wants_seed:
                return
            self._seeded = True
            for made_at, cents, msat in invoices:
                at = moment_of(made_at)
                if msat <= 0 or cents <= 0 or not -MINUTE <= self._now() - at <= _SEED_GOOD_FOR:
                    continue
                if msat % _COARSE_STEP_MSAT:
                    self._step_msat = _FINEST_STEP_MSAT
                with localcontext(EXACT):
                    sighting = Sighting(at, cents, msat, self._step_msat)
                    change = self._price.history.change(self._seen_at, at)
                    if self._credible(sighting, change):
                        self._teach(sighting, change)
                        self._learned_at = made_at

    def learn(self, quote: Quote, msat: int) -> None:
        """Take in the amount, in millisatoshi, of the invoice that a quote led to; an absurd one changes nothing."""
        if msat <= 0 or quote.cents <= 0:
            return
        with self._lock:
            self._learn(quote, msat)

    def _learn(self, quote: Quote, msat: int) -> None:
        now = self._now()
        trip = min(_LONGEST_TRIP, max(0, now - quote.at))
        if msat % _COARSE_STEP_MSAT:
            self._step_msat = _FINEST_STEP_MSAT
        with localcontext(EXACT):
            sighting = Sighting(now - trip // 2, quote.cents, msat, self._step_msat)
            change = self._price.history.change(self._seen_at, sighting.at)
            if not self._taught_by_another(sighting) and self._credible(sighting, change):
                self._teach(sighting, change)
                self._learned_at = self._clock()
                self._taught = sighting

    def _taught_by_another(self, sighting: Sighting) -> bool:
        """Whether an invoice of the same moment, at least as large, has shown all that this one can.

        Only one that came as foretold has nothing to add; many invoices at once cost one lesson.
        """
        taught = self._taught
        if taught is None or abs(sighting.at - taught.at) > _SAME_MOMENT or sighting.msat > taught.msat:
            return False
        if (foretold := self._foretell(sighting.at)) is None:
            return False
        theory, forecast = foretold
        return sighting.rate[theory.rounding].common(forecast) is not None

    # --- quoting ----------------------------------------------------------------------------------------------------

    def quote(self, msat: int, *, most: Decimal | None = None) -> Quote:
        """Return the cents that should come to this amount.

        Args:
            msat: The amount wanted, more than zero.
            most: What it may come to at the most where it must not come to less; None to aim at the amount alone.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        with self._lock, localcontext(EXACT):
            now = self._now()
            if (foretold := self._foretell(now)) is None:
                exact = msat * self.cents_per_sat[0] / _MSAT_PER_SAT
            else:
                theory, forecast = foretold
                target = msat + theory.rounding.value * self._step_msat
                if most is not None:
                    highest = most // self._step_msat * self._step_msat
                    halfway = max(Decimal(0), highest - msat) / 2
                    target += min(theory.caution(forecast, msat, self._step_msat), halfway)
                exact = target * forecast.middle
            unit = unit_of(exact, self._decimals)
            rounding = ROUND_HALF_EVEN if most is None else ROUND_CEILING
            return Quote(exact.quantize(unit, rounding), unit, now, learned=foretold is not None)

    def _foretell(self, now: int) -> tuple[RateTheory, Interval] | None:
        """The theory that did best, and the rate that it foretells; None before the first invoice.

        After a while without invoices it is one of those that follow the price.
        """
        if self._seen_at is None:
            return None
        latest, change = self._price.history.latest, self._price.history.change(self._seen_at, now)
        aged = now - self._seen_at > _AGES_AFTER and latest is not None and latest[0] > self._seen_at
        theory = self._model.best(following_price=aged)
        forecast = theory.forecast(change)
        return None if forecast is None else (theory, forecast)

    def _teach(self, sighting: Sighting, change: Decimal) -> None:
        self._seen_at = sighting.at
        self._model.see(sighting, change)

    def _custodians_rate(self) -> tuple[Decimal, datetime]:
        with localcontext(EXACT):
            foretold = self._foretell(self._now())
            if foretold is not None and self._learned_at is not None:
                return foretold[1].middle * _MSAT_PER_SAT, self._learned_at
        if (tick := self._price.latest) is not None:
            return tick.cents_per_sat, tick.time
        raise RateUnknown(
            "the server gives no price and has made no invoice yet, so satoshi can't be turned into cents"
        )

    # --- what is believed -------------------------------------------------------------------------------------------

    def _credible(self, sighting: Sighting, change: Decimal) -> bool:
        """Whether an invoice may teach: near the price, and near what was learned or confirmed by the next one."""
        latest = self._price.history.latest
        if latest is not None and sighting.at - latest[0] < _PRICE_GOOD_FOR:
            per_msat = latest[1] / _MSAT_PER_SAT
            price = Interval(per_msat, per_msat)
            if price.widened(_FARTHEST_FROM_PRICE).common(sighting.any_rate) is None:
                _log.warning("the custodian's rate is far from the server's price, not believed")
                return False
        seen_at = self._seen_at
        if seen_at is None or self._model.foresaw(sighting, change, plausible_change(sighting.at - seen_at)):
            self._suspect = None
            return True
        suspect, self._suspect = self._suspect, sighting
        if suspect is not None:
            band = plausible_change(sighting.at - suspect.at)
            return suspect.any_rate.widened(band).common(sighting.any_rate) is not None
        _log.warning("the custodian's rate is far from its last one, not believed yet")
        return False

    def _now(self) -> int:
        return moment_of(self._clock())
