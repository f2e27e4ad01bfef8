"""Arithmetic with money, whatever the host has done to its own decimal context."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, DivisionByZero, InvalidOperation, Overflow, localcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["exactly"]

_CONTEXT: Final = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
"""More digits than any amount of money has, and none of a host's settings."""


def exactly() -> AbstractContextManager[Context]:
    """Compute with 34 digits inside the block."""
    return localcontext(_CONTEXT)
