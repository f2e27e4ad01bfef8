from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from connection_strings import LightMoney
from flash_driver.cli.amounts import parse_amount, parse_decimal, parse_duration, shown_amount
from flash_driver.cli.failures import BadUsage


@pytest.mark.parametrize(
    ("text", "msat"),
    [
        ("1000", 1_000_000),
        (" 1000 ", 1_000_000),
        ("1000.5", 1_000_500),
        ("1000sat", 1_000_000),
        ("1000 sat", 1_000_000),
        ("21000 msat", 21_000),
        ("21001msat", 21_001),
        ("0.001 BTC", 100_000_000),
        ("0.001btc", 100_000_000),
        ("0", 0),
    ],
)
def test_amounts_are_read_in_every_unit(text: str, msat: int) -> None:
    """A bare number is satoshi, every unit is understood, and no digit is lost."""
    assert parse_amount("AMOUNT", text) == LightMoney.from_msat(msat)


@pytest.mark.parametrize(
    "text", ["", "abc", "1,000", "1e3", "1000 usd", "0.0005", "0.5 msat", "22000000 BTC", "\u0661"]
)
def test_other_amounts_are_refused(text: str) -> None:
    """What is no amount, or no whole millisatoshi, is refused with what to write instead."""
    with pytest.raises(BadUsage, match=r"write 1000 \(satoshi\)"):
        parse_amount("AMOUNT", text)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("15m", timedelta(minutes=15)),
        ("90s", timedelta(seconds=90)),
        ("90", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        ("2D", timedelta(days=2)),
    ],
)
def test_durations_are_read(text: str, duration: timedelta) -> None:
    """Days, hours, minutes and seconds may be combined; a bare number is seconds."""
    assert parse_duration("--expiry", text) == duration


@pytest.mark.parametrize("text", ["", "0", "0m", "soon", "15 minutes", "-5m", "1m1h"])
def test_other_durations_are_refused(text: str) -> None:
    """No time at all is no duration, nor is anything else."""
    with pytest.raises(BadUsage, match="15m"):
        parse_duration("--expiry", text)


def test_decimals_keep_their_digits() -> None:
    """A number is read exactly, and what is none is refused by the option's name."""
    assert parse_decimal("--spread", "0.004") == Decimal("0.004")
    for text in ("x", "NaN", "Infinity", ""):
        with pytest.raises(BadUsage, match="--spread takes a number"):
            parse_decimal("--spread", text)


@pytest.mark.parametrize(
    ("msat", "shown"),
    [(1_000_000, "1,000 sat"), (1_004_267, "1,004.267 sat"), (0, "0 sat"), (100_000_000_000, "100,000,000 sat")],
)
def test_amounts_are_shown_exactly(msat: int, shown: str) -> None:
    """A person reads satoshi with thousands apart, and every millisatoshi."""
    assert shown_amount(LightMoney.from_msat(msat)) == shown


def test_no_amount_is_any_amount() -> None:
    """An invoice without an amount takes any."""
    assert shown_amount(None) == "any amount"
