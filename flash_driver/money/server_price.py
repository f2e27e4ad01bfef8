"""What the server says a bitcoin costs, as far as it is believed."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.money.decimals import EXACT
from flash_driver.money.price_history import PriceHistory, moment_of, plausible_change

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.flash_api.replies import PriceTick

__all__ = ["RateUnknown", "ServerPrice"]

_MSAT_PER_SAT: Final = 1000
_MAX_CENTS_PER_SAT: Final = Decimal(10) ** 6
_MIN_CENTS_PER_SAT: Final = Decimal(10) ** -9
_OLDEST: Final = timedelta(minutes=10)
"""How old a price may be that the server has kept (flash-server.md 3.3)."""
_FARTHEST_AHEAD: Final = timedelta(minutes=15)
"""How much more than our own the server's clock may seem to have gone from one price to the next: a kept one is old."""
_GOOD_TO_PAY_AT: Final = timedelta(seconds=60)
"""How long ago the server may have said the price that money is sent at."""

_log: Final = get_logger()


class RateUnknown(LightningError):
    """Neither the server's price nor any invoice has told the rate yet."""


class ServerPrice:
    """The price of one server, in US cents; threads may share it.

    Args:
        clock: The present time.

    Attributes:
        latest: The last price that was believed, and when the server had it.
        history: The prices that were believed, at the moments they were heard.

    """

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.latest: PriceTick | None = None
        self._suspect: PriceTick | None = None
        self._told_at: datetime | None = None
        self._heard_at = clock()
        self.history = PriceHistory()

    def see(self, tick: PriceTick | None) -> None:
        """Take in what the server says; an absurd or older price changes nothing.

        One that is far from the last, in price or in time, is believed only when the next one confirms it. Its time is
        the server's: what this machine's clock says of that counts for nothing.
        """
        if tick is not None and _is_price(tick.cents_per_sat):
            with self._lock:
                self._see(tick, self._clock())

    def to_pay_at(self) -> Decimal:
        """Return the cents per satoshi that money is sent at: what the server says now, and no other price.

        Raises:
            RateUnknown: The server has not told its price within the last minute, or it has just jumped.

        """
        with self._lock:
            # By our own clock: the server's may go differently.
            told_now = self._told_at is not None and abs(self._clock() - self._told_at) <= _GOOD_TO_PAY_AT
            if self.latest is None or not told_now:
                raise RateUnknown("the server does not tell its price now, and money is sent at no older one")
            if self._suspect is not None:
                raise RateUnknown("the server's price has jumped, and money is sent at it only when it is confirmed")
            return self.latest.cents_per_sat

    def fee_msat(self, cents: Decimal) -> int:
        """Return what a fee in cents is worth at the price of now, rounded up to whole millisatoshi.

        Raises:
            RateUnknown: The server has not told its price within the last minute, or it has just jumped.

        """
        price = self.to_pay_at()
        with localcontext(EXACT):
            return int((cents * _MSAT_PER_SAT / price).to_integral_value(ROUND_CEILING))

    def _in_step(self, tick: PriceTick, latest: PriceTick, now: datetime) -> bool:
        """Whether the server's clock has gone on as ours has since the last price, as far as that shows."""
        gone_on = tick.time - latest.time
        return timedelta(0) <= gone_on <= abs(now - self._heard_at) + _FARTHEST_AHEAD

    def _see(self, tick: PriceTick, now: datetime) -> None:
        latest, suspect = self.latest, self._suspect
        if tick == latest:
            self._told_at = now
            return
        if latest is not None and timedelta(0) < latest.time - tick.time <= _OLDEST:
            return
        if latest is not None and not (self._in_step(tick, latest, now) and _follows(tick, latest)):
            confirmed = suspect is not None and tick != suspect and _follows(tick, suspect)
            if not confirmed:
                _log.warning("the server's price is far from its last one, not believed yet")
                self._suspect = tick
                return
        self.latest, self._suspect, self._told_at, self._heard_at = tick, None, now, now
        # By our own clock: the server's has whole seconds only, and may go differently.
        self.history.add(moment_of(now), tick.cents_per_sat)


def _follows(tick: PriceTick, before: PriceTick) -> bool:
    elapsed = moment_of(tick.time) - moment_of(before.time)
    with localcontext(EXACT):
        return abs(tick.cents_per_sat / before.cents_per_sat - 1) <= plausible_change(elapsed)


def _is_price(cents_per_sat: Decimal) -> bool:
    """Whether a number may be a price at all, and is not zero, negative, infinite, no number, or far beyond reason."""
    return cents_per_sat.is_finite() and _MIN_CENTS_PER_SAT <= cents_per_sat <= _MAX_CENTS_PER_SAT
