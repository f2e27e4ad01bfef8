"""Amounts and durations as a person types them."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from connection_strings.money import LightMoney
from flash_driver.cli.failures import BadUsage

__all__ = ["parse_amount", "parse_decimal", "parse_duration", "shown_amount"]

_BARE: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_DURATION: Final = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?")


def parse_amount(argument: str, text: str) -> LightMoney:
    """Read `1000`, `1000sat`, `1000 sat`, `21000 msat` or `0.001 BTC`; a bare number is satoshi.

    Raises:
        BadUsage: It is none of these, or not whole millisatoshi.

    """
    try:
        return LightMoney.parse(f"{text} sat" if _BARE.fullmatch(text.strip()) else text)
    except ValueError as error:
        raise BadUsage(f"{argument}: {error}; write 1000 (satoshi), 1000 sat, 21000 msat or 0.001 BTC") from None


def parse_duration(option: str, text: str) -> timedelta:
    """Read `15m`, `90s`, `1h30m` or `2d`; a bare number is seconds.

    Raises:
        BadUsage: It is none of these, or no time at all.

    """
    parts = _DURATION.fullmatch(text.strip().lower())
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0, 0)
    duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise BadUsage(f"{option} takes a duration longer than zero, written 15m, 90s, 1h30m or 2d")
    return duration


def parse_decimal(option: str, text: str) -> Decimal:
    """Read a number that must not lose a digit.

    Raises:
        BadUsage: It is none.

    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise BadUsage(f"{option} takes a number, such as 0.5")
    return number


def shown_amount(amount: LightMoney | None) -> str:
    """Write an amount in satoshi for a person, exact."""
    return "any amount" if amount is None else f"{amount.sat.normalize():,f} sat"
