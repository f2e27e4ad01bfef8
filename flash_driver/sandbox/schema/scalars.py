"""Flash's scalars (flash-server.md 4).

Flash's parsers do not raise on a value they don't like: they *return* the error, and most resolvers answer it in the
payload, without a code. `Malformed` is that returned error. The wire carries JSON numbers; inside the sandbox they are
exact.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

__all__ = [
    "SCALARS",
    "AuthToken",
    "CentAmount",
    "DisplayCurrency",
    "FractionalCentAmount",
    "Hex32Bytes",
    "LnPaymentPreImage",
    "LnPaymentRequest",
    "LnPaymentSecret",
    "Lnurl",
    "Malformed",
    "Memo",
    "Minutes",
    "OnChainAddress",
    "OnChainTxHash",
    "OneTimeAuthCode",
    "PaymentHash",
    "Phone",
    "SafeInt",
    "SatAmount",
    "SignedAmount",
    "SignedDisplayMajorAmount",
    "Timestamp",
    "USDCents",
    "Username",
    "WalletId",
    "malformed",
]

AuthToken = NewType("AuthToken", str)
CentAmount = NewType("CentAmount", int)
DisplayCurrency = NewType("DisplayCurrency", str)
FractionalCentAmount = NewType("FractionalCentAmount", Decimal)
Hex32Bytes = NewType("Hex32Bytes", str)
LnPaymentPreImage = NewType("LnPaymentPreImage", str)
LnPaymentRequest = NewType("LnPaymentRequest", str)
LnPaymentSecret = NewType("LnPaymentSecret", str)
Lnurl = NewType("Lnurl", str)
Memo = NewType("Memo", str)
Minutes = NewType("Minutes", int)
OnChainAddress = NewType("OnChainAddress", str)
OnChainTxHash = NewType("OnChainTxHash", str)
OneTimeAuthCode = NewType("OneTimeAuthCode", str)
PaymentHash = NewType("PaymentHash", str)
Phone = NewType("Phone", str)
SafeInt = NewType("SafeInt", int)
SatAmount = NewType("SatAmount", int)
SignedAmount = NewType("SignedAmount", Decimal)
SignedDisplayMajorAmount = NewType("SignedDisplayMajorAmount", str)
Timestamp = NewType("Timestamp", int)
USDCents = NewType("USDCents", Decimal)
Username = NewType("Username", str)
WalletId = NewType("WalletId", str)

MAX_AMOUNT: Final = 10**13
MAX_MEMO_BYTES: Final = 639
_LEADING_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


@dataclass(frozen=True, slots=True)
class Malformed:
    """A value that a scalar turned away; its resolver tells the client."""

    message: str
    code: str | None = None


def malformed(value: object) -> Malformed | None:
    """Give back the complaint that a scalar may have returned in place of a value, whatever its type promises."""
    return value if isinstance(value, Malformed) else None


def _text(pattern: str, name: str, flags: re.RegexFlag = re.NOFLAG) -> Callable[[object], str | Malformed]:
    expression = re.compile(pattern, flags)

    def parse(value: object) -> str | Malformed:
        if isinstance(value, str) and expression.fullmatch(value):
            return value
        return Malformed(f"Invalid value for {name}")

    return parse


def _memo(value: object) -> str | Malformed:
    if not isinstance(value, str):
        return Malformed("Invalid type for Memo")
    if len(value.encode()) > MAX_MEMO_BYTES:
        return Malformed("Memo is too long")
    return value


def _whole(name: str, maximum: int) -> Callable[[object], int | Malformed]:
    def parse(value: object) -> int | Malformed:
        number = _number(value)
        if number is None or not 0 <= number <= maximum:
            return Malformed(f"Invalid value for {name}")
        return int(number)

    return parse


def _fractional_cents(value: object) -> Decimal | Malformed:
    """Take any finite number; zero and negative ones pass, as they do at Flash."""
    number = _number(value)
    if number is None:
        return Malformed("Invalid value for FractionalCentAmount")
    if abs(number) > MAX_AMOUNT:
        return Malformed("Value out of range for FractionalCentAmount")
    return number


def _number(value: object) -> Decimal | None:
    """Read a JSON number, or a text that starts with one, as JavaScript does; None if there is none."""
    if isinstance(value, str):
        match = _LEADING_NUMBER.match(value)
        return Decimal(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return Decimal(str(value))


def _phone(value: object) -> str | Malformed:
    if isinstance(value, str) and re.fullmatch(r"\+\d{7,14}", value):
        return value
    return Malformed("Phone number is not a valid phone number")


def _hash(value: object) -> str | Malformed:
    if not isinstance(value, str) or len(value) != _HASH_LENGTH:
        return Malformed("Hex32Bytes is not 32 bytes")
    return value if re.fullmatch(_HEX_32, value) else Malformed("Hex32Bytes is not valid hex")


def _json_number(value: Decimal | dict[str, Any]) -> int | float | dict[str, Any]:
    """Write a number as Flash's JavaScript does; the balance of a legacy BTC wallet is an object, and stays one."""
    if isinstance(value, dict):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


def _scalar(
    name: str, parse: Callable[[Any], Any] | None = None, serialize: Callable[[Any], Any] | None = None
) -> ScalarDefinition:
    return strawberry.scalar(name=name, parse_value=parse, serialize=serialize or (lambda value: value))


_HEX_32: Final = "[0-9a-f]{64}"
_HASH_LENGTH: Final = 64
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

SCALARS: Final[Mapping[object, ScalarDefinition]] = {
    AuthToken: _scalar("AuthToken"),
    CentAmount: _scalar("CentAmount", _whole("CentAmount", MAX_AMOUNT)),
    DisplayCurrency: _scalar("DisplayCurrency", _text("[A-Za-z]{3,4}", "DisplayCurrency")),
    FractionalCentAmount: _scalar("FractionalCentAmount", _fractional_cents, _json_number),
    Hex32Bytes: _scalar("Hex32Bytes", _hash),
    LnPaymentPreImage: _scalar("LnPaymentPreImage"),
    LnPaymentRequest: _scalar("LnPaymentRequest", _text("ln[a-z0-9]+", "LnPaymentRequest", re.IGNORECASE)),
    LnPaymentSecret: _scalar("LnPaymentSecret"),
    Lnurl: _scalar("Lnurl"),
    Memo: _scalar("Memo", _memo),
    Minutes: _scalar("Minutes", _whole("Minutes", 10**9)),
    OnChainAddress: _scalar("OnChainAddress"),
    OnChainTxHash: _scalar("OnChainTxHash"),
    PaymentHash: _scalar("PaymentHash", _text(_HEX_32, "PaymentHash", re.IGNORECASE)),
    OneTimeAuthCode: _scalar("OneTimeAuthCode", _text("[0-9]{6}.*", "OneTimeAuthCode")),
    Phone: _scalar("Phone", _phone),
    SafeInt: _scalar("SafeInt"),
    SatAmount: _scalar("SatAmount", _whole("SatAmount", MAX_AMOUNT)),
    SignedAmount: _scalar("SignedAmount", None, _json_number),
    SignedDisplayMajorAmount: _scalar("SignedDisplayMajorAmount"),
    Timestamp: _scalar("Timestamp"),
    USDCents: _scalar("USDCents", _fractional_cents, _json_number),
    Username: _scalar("Username", _text("[a-z_][a-z0-9_]{2,49}", "Username", re.IGNORECASE)),
    WalletId: _scalar("WalletId", _text(_UUID, "WalletId", re.IGNORECASE)),
}
"""How each type of this module is spelt on the wire."""
