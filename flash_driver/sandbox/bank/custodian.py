"""The custodian behind Flash, as far as it turns cents into millisatoshis (flash-server.md 3.3, 3.4 and 6).

Two rates are at work. The *price service* tells everybody what a bitcoin costs; the *custodian* takes its spread off
that when bitcoins come in and adds it when they go out, rounds in its own way, and never says at which rate it did so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flash_driver.sandbox.options import Currency, InvoiceRounding, InvoiceUnit

__all__ = ["Clock", "Custodian", "PriceQuote", "UnknownCurrencyError"]

Clock = Callable[[], datetime]

_MSAT_PER_BTC: Final = Decimal(100_000_000_000)
_SAT_PER_BTC: Final = Decimal(100_000_000)
_ROUNDING: Final = {"half-even": ROUND_HALF_EVEN, "down": ROUND_FLOOR, "up": ROUND_CEILING}
_RESOLUTION: Final[dict[Currency, Decimal]] = {"USD": Decimal("0.000001"), "USDT": Decimal("0.0001")}
_PER_USD: Final[dict[str, tuple[Decimal, int]]] = {
    "USD": (Decimal(1), 2),
    "EUR": (Decimal("0.87"), 2),
    "JMD": (Decimal("160.25"), 2),
    "JPY": (Decimal("152.4"), 0),
    "NGN": (Decimal("1490.5"), 2),
}
"""What a dollar costs in each display currency, and how many decimals that currency has."""


class UnknownCurrencyError(ValueError):
    """The price service has no price in this currency."""


@dataclass(frozen=True, slots=True)
class PriceQuote:
    """A reading of the price service, in the integers that Flash sends."""

    currency: str
    timestamp: int
    sat_base: int
    cent_base: int
    sat_offset: int = 12
    cent_offset: int = 6


class Custodian:
    """Converts between cents and millisatoshis at a rate of its own."""

    def __init__(
        self,
        *,
        usd_per_btc: Decimal,
        spread: Decimal,
        drift_percent_per_minute: Decimal,
        unit: InvoiceUnit,
        rounding: InvoiceRounding,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._since = clock()
        self._usd_per_btc = usd_per_btc
        self._spread = spread
        self._drift = drift_percent_per_minute / 100
        self._step = Decimal(1000 if unit == "sat" else 1)
        self._rounding = _ROUNDING[rounding]

    @property
    def usd_per_btc(self) -> Decimal:
        """The price service's rate, now."""
        minutes = Decimal((self._clock() - self._since) // timedelta(microseconds=1)) / 60_000_000
        return max(self._usd_per_btc * (1 + self._drift * minutes), Decimal("0.01"))

    @property
    def bid(self) -> Decimal:
        """Dollars that the custodian gives for a bitcoin that comes in, now."""
        return self.usd_per_btc * (1 - self._spread)

    @property
    def ask(self) -> Decimal:
        """Dollars that it takes for a bitcoin that goes out, now."""
        return self.usd_per_btc * (1 + self._spread)

    def set_price(
        self,
        *,
        usd_per_btc: Decimal | None = None,
        spread: Decimal | None = None,
        drift_percent_per_minute: Decimal | None = None,
    ) -> None:
        """Move the price; what isn't given stays as it is now."""
        self._usd_per_btc = self.usd_per_btc if usd_per_btc is None else usd_per_btc
        self._since = self._clock()
        if spread is not None:
            self._spread = spread
        if drift_percent_per_minute is not None:
            self._drift = drift_percent_per_minute / 100

    def accept(self, cents: Decimal, currency: Currency) -> Decimal:
        """The amount as the custodian receives it: cut to the resolution of the wallet's currency."""
        return cents.quantize(_RESOLUTION.get(currency, Decimal("0.000001")), ROUND_HALF_EVEN)

    def msat_for(self, cents: Decimal) -> int:
        """What the payer must send so that an amount arrives."""
        exact = cents / 100 / self.bid * _MSAT_PER_BTC
        return int((exact / self._step).quantize(Decimal(1), self._rounding) * self._step)

    def cents_for(self, msat: int) -> Decimal:
        """What an amount in msat brings when it comes in, in fractional cents."""
        return _fractional_cents(msat, self.bid)

    def msat_bought(self, cents: Decimal) -> int:
        """What an amount in cents sends out."""
        return int(cents / 100 / self.ask * _MSAT_PER_BTC)

    def cost_of(self, msat: int) -> Decimal:
        """What it costs to send an amount in msat, in fractional cents."""
        return _fractional_cents(msat, self.ask)

    def knows(self, currency: str) -> bool:
        """Whether the price service has a price in this currency."""
        return currency in _PER_USD

    def quote(self, currency: str = "USD") -> PriceQuote:
        """Ask the price service, which knows nothing of the custodian's spread."""
        try:
            per_usd, decimals = _PER_USD[currency]
        except KeyError:
            raise UnknownCurrencyError(f"Currency {currency} is not supported") from None
        minor_per_usd = per_usd * 10**decimals
        return PriceQuote(
            currency=currency,
            timestamp=int(self._clock().timestamp()),
            sat_base=round(self.usd_per_btc * minor_per_usd / _SAT_PER_BTC * 10**12),
            cent_base=round(minor_per_usd / 100 * 10**6),
        )


def _fractional_cents(msat: int, usd_per_btc: Decimal) -> Decimal:
    return (Decimal(msat) * usd_per_btc * 100 / _MSAT_PER_BTC).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)
