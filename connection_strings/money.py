"""Amounts of bitcoin, exact to the millisatoshi."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from typing import ClassVar, Final, Self, final

from connection_strings.text import BLANKS

__all__ = ["MSAT_PER_BTC", "MSAT_PER_SAT", "LightMoney"]

MSAT_PER_SAT: Final = 1_000
MSAT_PER_BTC: Final = 100_000_000_000
_MAX_MSAT: Final = 21_000_000 * MSAT_PER_BTC
_BEYOND: Final = "an amount can't exceed 21 million bitcoin"
_FRACTION: Final = "an amount has no fraction below one millisatoshi"
_UNITS: Final = {"msat": 1, "sat": MSAT_PER_SAT, "btc": MSAT_PER_BTC}
_AMOUNT: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)[ \t]*([A-Za-z]*)")
_EXACT: Final = Context(prec=40, traps=[Inexact])
"""More digits than any amount has, whatever the host's own decimal context says."""


@final
@dataclass(frozen=True, slots=True, order=True)
class LightMoney:
    """A whole number of millisatoshi, from minus to plus 21 million bitcoin.

    Floats are refused everywhere: they can't hold what they seem to say.

    Attributes:
        msat: The amount in millisatoshi.

    Raises:
        TypeError: `msat` is not an `int`.
        ValueError: The amount is beyond 21 million bitcoin.

    """

    msat: int

    ZERO: ClassVar[LightMoney]
    MAX: ClassVar[LightMoney]

    def __post_init__(self) -> None:
        if type(self.msat) is not int:
            raise TypeError(f"msat is a whole number (int), not {type(self.msat).__name__}")
        if abs(self.msat) > _MAX_MSAT:
            raise ValueError(_BEYOND)

    @classmethod
    def from_msat(cls, msat: int) -> Self:
        """Make an amount of whole millisatoshi."""
        return cls(msat)

    @classmethod
    def from_sat(cls, sat: int | Decimal) -> Self:
        """Make an amount of satoshi, exact to a thousandth.

        Raises:
            ValueError: There is a fraction below one millisatoshi.

        """
        return cls(_whole_msat(sat, MSAT_PER_SAT))

    @classmethod
    def from_btc(cls, btc: int | Decimal) -> Self:
        """Make an amount of bitcoin, exact to a millisatoshi.

        Raises:
            ValueError: There is a fraction below one millisatoshi.

        """
        return cls(_whole_msat(btc, MSAT_PER_BTC))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1000 sat`, `10001 msat` or `0.001 BTC`; a bare whole number is millisatoshi.

        Those who come from BTCPay Server, beware: there a bare number is bitcoin, and `1.0` is how it prints one. A
        bare number with a decimal point is therefore refused.

        Raises:
            ValueError: The text is not a number with one of these units, or not whole millisatoshi.

        """
        amount = _AMOUNT.fullmatch(text.strip(BLANKS))
        if amount is None:
            raise ValueError("an amount is a plain decimal number with a unit, such as `1000 sat`")
        number, unit = amount.groups()
        if not unit and "." in number:
            raise ValueError("an amount with a decimal point needs a unit: BTC, sat or msat")
        factor = _UNITS.get(unit.lower() or "msat")
        if factor is None:
            raise ValueError("the unit of an amount is msat, sat or BTC")
        return cls(_whole_msat(Decimal(number), factor))

    @property
    def sat(self) -> Decimal:
        """The amount in satoshi, exact."""
        return _EXACT.divide(self.msat, MSAT_PER_SAT)

    @property
    def btc(self) -> Decimal:
        """The amount in bitcoin, exact."""
        return _EXACT.divide(self.msat, MSAT_PER_BTC)

    def __str__(self) -> str:
        whole, rest = divmod(self.msat, MSAT_PER_SAT)
        return f"{self.msat} msat" if rest else f"{whole} sat"

    def __bool__(self) -> bool:
        return self.msat != 0

    def __neg__(self) -> Self:
        return type(self)(-self.msat)

    def __abs__(self) -> Self:
        return type(self)(abs(self.msat))

    def __add__(self, other: LightMoney) -> Self:
        if not isinstance(other, LightMoney):
            return NotImplemented
        return type(self)(self.msat + other.msat)

    def __sub__(self, other: LightMoney) -> Self:
        if not isinstance(other, LightMoney):
            return NotImplemented
        return type(self)(self.msat - other.msat)

    def __mul__(self, factor: int) -> Self:
        if type(factor) is not int:
            return NotImplemented
        return type(self)(self.msat * factor)

    __rmul__ = __mul__

    def split(self, parts: int) -> list[Self]:
        """Divide into `parts` amounts that differ by one millisatoshi at most and add up to this one.

        Raises:
            TypeError: `parts` is not an `int`.
            ValueError: `parts` is less than one.

        """
        if type(parts) is not int:
            raise TypeError(f"the number of parts is an int, not {type(parts).__name__}")
        if parts < 1:
            raise ValueError("an amount is split into one part or more")
        share, rest = divmod(self.msat, parts)
        return [type(self)(share + (1 if index < rest else 0)) for index in range(parts)]


LightMoney.ZERO = LightMoney(0)
LightMoney.MAX = LightMoney(_MAX_MSAT)


def _whole_msat(value: int | Decimal, factor: int) -> int:
    """Turn a number of `factor` millisatoshi each into whole millisatoshi, or refuse."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"an amount is an int or a Decimal, not {type(value).__name__}")
    if isinstance(value, int):
        return value * factor
    if not value.is_finite():
        raise ValueError("an amount is a finite number")
    if value.copy_abs() > _MAX_MSAT // factor:
        raise ValueError(_BEYOND)
    try:
        msat = _EXACT.multiply(value, factor)
    except Inexact:
        raise ValueError(_FRACTION) from None
    if msat != _EXACT.to_integral_value(msat):
        raise ValueError(_FRACTION)
    return int(msat)
