from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from flash_driver.sandbox.schema.scalars import SCALARS, malformed

BY_NAME = {definition.name: definition for definition in SCALARS.values()}


def _parse(scalar: str, value: object) -> Any:
    parse = BY_NAME[scalar].parse_value
    assert parse is not None
    return parse(value)


@pytest.mark.parametrize(
    ("scalar", "value", "parsed"),
    [
        ("FractionalCentAmount", 12.345678, Decimal("12.345678")),
        ("FractionalCentAmount", 0, Decimal(0)),
        ("FractionalCentAmount", -1, Decimal(-1)),
        ("FractionalCentAmount", "12.5 cents", Decimal("12.5")),
        ("FractionalCentAmount", 0.000001, Decimal("0.000001")),
        ("SatAmount", 21.9, 21),
        ("SatAmount", 10**13, 10**13),
        ("Minutes", 0, 0),
        ("Hex32Bytes", "ab" * 32, "ab" * 32),
        ("PaymentHash", "AB" * 32, "AB" * 32),
        ("LnPaymentRequest", "LNBCRT1abc", "LNBCRT1abc"),
        ("WalletId", "e3892646-5d0f-47e5-9c6b-c56a4e9a40bd", "e3892646-5d0f-47e5-9c6b-c56a4e9a40bd"),
        ("Memo", "x" * 639, "x" * 639),
        ("DisplayCurrency", "USDT", "USDT"),
    ],
)
def test_good_values_are_taken(scalar: str, value: object, parsed: object) -> None:
    """What Flash takes, the sandbox takes, exactly."""
    assert _parse(scalar, value) == parsed


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("FractionalCentAmount", "cents"),
        ("FractionalCentAmount", float("nan")),
        ("FractionalCentAmount", float("inf")),
        ("FractionalCentAmount", True),
        ("FractionalCentAmount", None),
        ("FractionalCentAmount", 10**13 + 1),
        ("SatAmount", -1),
        ("SatAmount", 10**13 + 1),
        ("Minutes", -1),
        ("Hex32Bytes", "AB" * 32),
        ("Hex32Bytes", "ab" * 31),
        ("PaymentHash", "no"),
        ("LnPaymentRequest", "lightning:lnbcrt1"),
        ("WalletId", "wallet"),
        ("Memo", "é" * 320),
        ("Memo", 5),
        ("DisplayCurrency", "DOLLARS"),
    ],
)
def test_bad_values_come_back_as_complaints(scalar: str, value: object) -> None:
    """A scalar doesn't raise, it returns its complaint, which has no code."""
    complaint = malformed(_parse(scalar, value))
    assert complaint is not None
    assert complaint.message
    assert complaint.code is None


def test_amounts_are_written_as_javascript_writes_them() -> None:
    """A whole number has no decimal point."""
    serialize = BY_NAME["FractionalCentAmount"].serialize
    assert serialize is not None
    assert (serialize(Decimal("100.000000")), serialize(Decimal("0.25"))) == (100, 0.25)
    assert isinstance(serialize(Decimal("100.000000")), int)
