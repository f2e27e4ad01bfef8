"""Satoshi to cents and back: what the server's custodian charges, learned from the invoices it makes.

Flash is asked in US cents and its custodian decides the amount at a rate of its own (flash-api.md 6). Each BOLT11 tells
something of that rate: cents `c` that became `m` millisatoshi prove that it lies between `c / (m + step)` and
`c / (m - step)` cents per millisatoshi, where `step` is the custodian's rounding. The intervals of several invoices
are intersected; one that does not fit shows that the rate has moved, and replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.replies import PriceTick

__all__ = ["Quote", "RateBook", "RateUnknown"]

_MSAT_PER_SAT: Final = 1000
_FINEST_STEP_MSAT: Final = 1
_COARSE_STEP_MSAT: Final = 1000
_PRECISION: Final = 40
_MAX_CENTS_PER_SAT: Final = Decimal(10) ** 6
_MIN_CENTS_PER_SAT: Final = Decimal(10) ** -9


class RateUnknown(LightningError):
    """Neither the server's price nor any invoice has told the rate yet."""


@dataclass(frozen=True, slots=True)
class Quote:
    """How many cents to ask for.

    Attributes:
        cents: The request, with as many decimals as the server resolves.
        learned: Whether it rests on invoices of this server, rather than on its price indication.

    """

    cents: Decimal
    learned: bool


@dataclass(frozen=True, slots=True)
class _Learned:
    """The custodian's rate lies in here, in cents per millisatoshi."""

    low: Decimal
    high: Decimal
    time: datetime
    tick: Decimal | None

    @property
    def middle(self) -> Decimal:
        return (self.low + self.high) / 2


class RateBook:
    """The rate of one server for one currency.

    Args:
        decimals: How many decimals of a cent the server resolves (flash-api.md 6: USD 6, USDT 4).
        clock: The present time.

    """

    def __init__(self, decimals: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._unit = Decimal(1).scaleb(-decimals)
        self._clock = clock
        self._tick: PriceTick | None = None
        self._learned: _Learned | None = None
        self._step_msat = _COARSE_STEP_MSAT

    @property
    def cents_per_sat(self) -> tuple[Decimal, datetime]:
        """The best estimate now, and when it was learned.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        if self._tick is not None:
            return self._tick.cents_per_sat, self._tick.time
        if self._learned is not None:
            return self._learned.middle * _MSAT_PER_SAT, self._learned.time
        raise RateUnknown(
            "the server gives no price and has made no invoice yet, so satoshi can't be turned into cents"
        )

    @property
    def known(self) -> bool:
        """Whether anything can be quoted."""
        return self._tick is not None or self._learned is not None

    def see_tick(self, tick: PriceTick | None) -> None:
        """Take in the server's price; an absurd or older one changes nothing."""
        if tick is None or not _MIN_CENTS_PER_SAT <= tick.cents_per_sat <= _MAX_CENTS_PER_SAT:
            return
        if self._tick is None or tick.time >= self._tick.time:
            self._tick = tick

    def learn(self, cents: Decimal, msat: int) -> None:
        """Take in what an invoice asked for in cents came to in millisatoshi."""
        if cents <= 0 or msat <= 0:
            return
        if msat % _COARSE_STEP_MSAT:
            self._step_msat = _FINEST_STEP_MSAT
        step = min(self._step_msat, max(_FINEST_STEP_MSAT, msat - 1))
        with localcontext(prec=_PRECISION):
            low = (cents - self._unit) / (msat + step)
            high = (cents + self._unit) / max(1, msat - step)
            known = self._present()
            if known is not None and max(known[0], low) <= min(known[1], high):
                low, high = max(known[0], low), min(known[1], high)
        tick = None if self._tick is None else self._tick.cents_per_sat
        self._learned = _Learned(low, high, self._clock(), tick)

    def quote(self, msat: int, lean: Decimal) -> Quote:
        """Return the cents that should come to this amount.

        Args:
            msat: The amount wanted, more than zero.
            lean: How far above the amount to aim, in steps of the custodian's rounding; a quarter of a step does for
                one that rounds down and for one that rounds to the nearest.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        with localcontext(prec=_PRECISION):
            known = self._present()
            target = msat + lean * self._step_msat
            if known is not None:
                exact = target * (known[0] + known[1]) / 2
            else:
                exact = target * self.cents_per_sat[0] / _MSAT_PER_SAT
            return Quote(exact.quantize(self._unit, ROUND_HALF_EVEN), learned=known is not None)

    def to_msat(self, cents: Decimal) -> int:
        """Return what an amount of cents is worth, rounded down to whole millisatoshi.

        Raises:
            RateUnknown: Nothing is known yet.

        """
        with localcontext(prec=_PRECISION):
            return int(cents * _MSAT_PER_SAT / self.cents_per_sat[0])

    def _present(self) -> tuple[Decimal, Decimal] | None:
        """Return the learned interval, moved along with the server's price since it was learned."""
        if self._learned is None:
            return None
        learned = self._learned
        if learned.tick is None or self._tick is None:
            return learned.low, learned.high
        moved = self._tick.cents_per_sat / learned.tick
        return learned.low * moved, learned.high * moved
