"""What the custodian takes for bitcoin that goes out: learned apart from the rate of what comes in.

The custodian sells at another rate than it buys at, and tells neither (flash-server.md 6). What a BOLT11 of a known
amount would cost is the one thing that it says of the selling rate: the principal in the answer to a fee probe. It is
rounded to hundredths of a cent (USD) or whole cents (USDT), so each answer proves an interval, the narrower the larger
the BOLT11 is. The rate follows the price; so what is kept is by how much it lies above the price.

A balance before and after a payment proves less: it shows principal and fee in one number, and whatever else moved.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import TYPE_CHECKING, Final

from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger
from flash_driver.money.decimals import EXACT, unit_of
from flash_driver.money.rate_model import Interval
from flash_driver.money.server_price import RateUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.money.server_price import ServerPrice

__all__ = ["SendingRate"]

_MSAT_PER_SAT: Final = 1000
_FARTHEST_FROM_PRICE: Final = Decimal("0.05")
"""A rate further from the price is not believed: money would be sent at it."""
_MOST_SPARE: Final = Decimal("0.005")
"""How much more than what is certainly needed may be sent, so that the payee surely gets the amount named."""
_GOOD_FOR: Final = timedelta(minutes=10)

_log: Final = get_logger()


class SendingRate:
    """The rate of sending of one server for one currency; threads may share it.

    Args:
        decimals: How many decimals of a cent the server resolves (flash-server.md 6: USD 6, USDT 4).
        price: The server's price, which the rate follows.
        clock: The present time.

    """

    def __init__(self, decimals: int, price: ServerPrice, clock: Callable[[], datetime] = utc_now) -> None:
        self._decimals = decimals
        self._price = price
        self._clock = clock
        self._lock = threading.Lock()
        self._over_price: Interval | None = None
        self._learned_at: datetime | None = None

    def quote(self, msat: int) -> Decimal:
        """Return the cents to send so that at least this amount arrives, as far as that is known; rounded up.

        As long as nothing was learned it is what the amount is worth at the server's price: the payee then gets less,
        by what the custodian takes.

        Raises:
            RateUnknown: The server has not told its price within the last minute, or it has just jumped.

        """
        price = self._price.to_pay_at()
        with localcontext(EXACT):
            exact = msat * price * self._factor() / _MSAT_PER_SAT
            return exact.quantize(unit_of(exact, self._decimals), ROUND_CEILING)

    def learn(self, msat: int, cents: Decimal, step: Decimal) -> None:
        """Take in what the server says that a payment costs without its fee, beside the price that it tells now.

        Without such a price nothing is learned, and an absurd answer changes nothing; nor does one that proves less
        than what is known, and agrees with it.

        Args:
            msat: What the payee would get, in millisatoshi.
            cents: What the server says.
            step: What it rounds that to, in cents.

        """
        try:
            price = self._price.to_pay_at()
        except RateUnknown:
            return
        if msat <= 0 or cents <= 0:
            return
        with self._lock, localcontext(EXACT):
            worth = price * msat / _MSAT_PER_SAT
            shown = Interval((cents - step / 2) / worth, (cents + step / 2) / worth)
            believed = shown.common(Interval(1 - _FARTHEST_FROM_PRICE, 1 + _FARTHEST_FROM_PRICE))
            if believed is None:
                _log.warning("the custodian's rate for sending is far from the server's price, not believed")
                return
            known = self._known()
            if known is None or known.common(believed) is None or believed.width <= known.width:
                self._over_price, self._learned_at = believed, self._clock()

    def _factor(self) -> Decimal:
        """By what the price is multiplied: the most that the rate may be, where that is known well enough."""
        known = self._known()
        if known is None:
            return Decimal(1)
        if known.high <= known.low * (1 + _MOST_SPARE):
            return known.high
        return min(max(Decimal(1), known.low), known.high)

    def _known(self) -> Interval | None:
        """By which factor the rate lies above the price, if that was learned within the last ten minutes."""
        recent = self._learned_at is not None and abs(self._clock() - self._learned_at) <= _GOOD_FOR
        return self._over_price if recent else None
