"""Arithmetic with money: exact, whatever the host has set for decimals, and no finer than the server reads."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Final

__all__ = ["EXACT", "unit_of"]

EXACT: Final = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
"""For `localcontext`: more digits than any amount of money has, and none of a host's settings."""
_SAFE_DIGITS: Final = 15
"""The server reads numbers as doubles, which hold that many digits."""


def unit_of(cents: Decimal, decimals: int) -> Decimal:
    """Return the smallest difference that the server sees in that many cents.

    Args:
        cents: The number.
        decimals: How many decimals of a cent the server resolves in this currency (flash-server.md 6: USD 6, USDT 4).

    """
    return max(Decimal(1).scaleb(-decimals), Decimal(1).scaleb(cents.adjusted() + 1 - _SAFE_DIGITS))
