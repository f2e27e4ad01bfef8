"""Reads a BOLT11: the fields that a wallet looks at (BOLT 11). The signature is not checked here.

The package `bolt11` reads more, and takes 3 ms for an invoice of 290 characters; this reader takes 0.05 ms. Signature
aside it refuses what the package refuses, but for an empty `c` or `f` field, which it passes over. It refuses besides
what BOLT 11 forbids and the package takes: two payment hashes or secrets; `d` and `h` side by side; letters in mixed
case; amounts of nothing, with leading zeros, a fraction of a millisatoshi or more than there is; and padding that is
not zero, or longer than it need be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from connection_strings.bolt11 import bech32
from connection_strings.money import LightMoney

__all__ = ["LONGEST", "Bolt11", "read"]

LONGEST: Final = 7089
"""How many characters a BOLT11 may have: what the largest QR code holds, and LND's limit."""

_NETWORKS: Final = {"bc": "bitcoin", "tb": "testnet", "tbs": "signet", "bcrt": "regtest"}
_PREFIX: Final = re.compile(r"ln(?P<network>bcrt|bc|tbs|tb)(?:(?P<number>[1-9][0-9]{0,19})(?P<multiplier>[munp]?))?")
_PICO_BTC: Final = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}
_PICO_BTC_PER_MSAT: Final = 10
_MAX_MSAT: Final = LightMoney.MAX.msat

_TIMESTAMP_DIGITS: Final = 7
_HEAD_DIGITS: Final = 3
"""A field's type and the length of its data."""

_SIGNATURE_DIGITS: Final = 104

_PAYMENT_HASH, _PAYMENT_SECRET, _PAYEE, _DESCRIPTION, _DESCRIPTION_HASH, _EXPIRY, _FEATURES = bech32.digits("psndhx9")
"""The types of fields, by the letters that the specification calls them."""

_LENGTHS: Final = {_PAYMENT_HASH: 52, _PAYMENT_SECRET: 52, _DESCRIPTION_HASH: 52, _PAYEE: 53}
_ONLY_ONE: Final = {_PAYMENT_HASH: "payment hash", _PAYMENT_SECRET: "payment secret"}
_DEFAULT_EXPIRY_SECONDS: Final = 3600

_KNOWN_FEATURES: Final = frozenset({8, 14, 16, 24, 36, 48})
"""What wallets of today understand when an invoice requires it (BOLT 9): onions of variable length, the payment secret,
payments in parts, blinded routes, attribution of failures, payment metadata."""


@dataclass(frozen=True, slots=True)
class Bolt11:
    """What a BOLT11 says.

    Attributes:
        network: bitcoin, testnet, signet or regtest.
        amount_msat: In millisatoshi, None when the payer chooses.
        timestamp_seconds: When it was signed, in seconds since 1970.
        expiry_seconds: How long it can be paid from then on; any number, however large.
        payment_hash: Field `p`, 32 bytes.
        payment_secret: Field `s`, 32 bytes.
        description: Field `d`, None when there is a hash instead.
        description_hash: Field `h`, 32 bytes, None when there is a text instead.
        payee: Field `n`, the key of the node that made it, 33 bytes; None when only the signature tells.
        features: Field `9`, the bits of BOLT 9 that the payer meets.
        signed: What the signature is over.
        signature: 64 bytes of R and S, and the recovery id.

    """

    network: str
    amount_msat: int | None
    timestamp_seconds: int
    expiry_seconds: int
    payment_hash: bytes
    payment_secret: bytes
    description: str | None
    description_hash: bytes | None
    payee: bytes | None
    features: int
    signed: bytes = field(repr=False, compare=False)
    signature: bytes = field(repr=False, compare=False)

    @property
    def unknown_required_features(self) -> list[int]:
        """The features that a payer must understand and no wallet known to this reader does: paying must fail."""
        return [
            bit
            for bit in range(0, self.features.bit_length(), 2)
            if self.features >> bit & 1 and bit not in _KNOWN_FEATURES
        ]


def read(text: str) -> Bolt11:
    """Read a BOLT11, in lower or in upper case.

    A second `p` or `s` is refused: a text must not mean two payments. Of several fields of another type the first
    counts, as in LND, since writers put the preferred one first; BTCPay Server takes the last. Unknown fields are
    passed over, and so are `p`, `s`, `h` and `n` of a wrong length: BOLT 11 says in one place that these fail, and
    shows among its examples that they don't; wallets follow the example.

    Raises:
        ValueError: It is not a BOLT11; the words say why, and quote nothing.

    """
    if len(text) > LONGEST:
        raise ValueError("it is too long")
    prefix, digits = bech32.decode(text)
    network, amount_msat = _read_prefix(prefix)
    if len(digits) < _TIMESTAMP_DIGITS + _SIGNATURE_DIGITS:
        raise ValueError("it is too short")
    data, signature = digits[:-_SIGNATURE_DIGITS], digits[-_SIGNATURE_DIGITS:]
    fields = _read_fields(data)
    description, description_hash = fields.get(_DESCRIPTION), fields.get(_DESCRIPTION_HASH)
    if (description is None) == (description_hash is None):
        raise ValueError("it must have either a description or the hash of one")
    if _PAYMENT_HASH not in fields or _PAYMENT_SECRET not in fields:
        raise ValueError("it has no payment hash or no payment secret")
    expiry, payee, features = fields.get(_EXPIRY), fields.get(_PAYEE), fields.get(_FEATURES)
    return Bolt11(
        network=network,
        amount_msat=amount_msat,
        timestamp_seconds=int(data[:_TIMESTAMP_DIGITS], 32),
        expiry_seconds=_DEFAULT_EXPIRY_SECONDS if expiry is None else _number(expiry),
        payment_hash=_octets(fields[_PAYMENT_HASH]),
        payment_secret=_octets(fields[_PAYMENT_SECRET]),
        description=None if description is None else _text(description),
        description_hash=None if description_hash is None else _octets(description_hash),
        payee=None if payee is None else _octets(payee),
        features=int(features, 32) if features else 0,
        signed=prefix.encode() + _padded_octets(data),
        signature=_octets(signature),
    )


def _read_prefix(prefix: str) -> tuple[str, int | None]:
    """Read network and amount in millisatoshi, None without one."""
    found = _PREFIX.fullmatch(prefix)
    if found is None:
        raise ValueError("it does not start with ln, a network and an amount")
    network = _NETWORKS[found["network"]]
    if found["number"] is None:
        return network, None
    msat, rest = divmod(int(found["number"]) * _PICO_BTC[found["multiplier"]], _PICO_BTC_PER_MSAT)
    if rest:
        raise ValueError("its amount has a fraction of a millisatoshi")
    if msat > _MAX_MSAT:
        raise ValueError("its amount is more than there is bitcoin")
    return network, msat


def _read_fields(data: bytes) -> dict[int, bytes]:
    """Cut what stands behind the timestamp into fields, the first of each type, by the digit of its type."""
    fields: dict[int, bytes] = {}
    at, end = _TIMESTAMP_DIGITS, len(data)
    while at < end:
        start = at + _HEAD_DIGITS
        if start > end:
            raise ValueError("its last field is cut off")
        kind, length = data[at], int(data[at + 1 : start], 32)
        at = start + length
        if at > end:
            raise ValueError("its last field is cut off")
        if _LENGTHS.get(kind, length) != length:
            continue
        if kind in fields and kind in _ONLY_ONE:
            raise ValueError(f"it has more than one {_ONLY_ONE[kind]}")
        fields.setdefault(kind, data[start:at])
    return fields


def _octets(digits: bytes) -> bytes:
    """Read whole bytes, behind which less than one digit of padding stands (BIP 173)."""
    length, spare = divmod(len(digits) * 5, 8)
    number, padding = divmod(_number(digits), 1 << spare) if digits else (0, 0)
    if padding or spare >= 5:
        raise ValueError("a field has padding that is not right")
    return number.to_bytes(length, "big")


def _padded_octets(digits: bytes) -> bytes:
    """Read bytes, the last one filled up with zeros."""
    bits = len(digits) * 5
    return (int(digits, 32) << -bits % 8).to_bytes((bits + 7) // 8, "big")


def _number(digits: bytes) -> int:
    if not digits:
        raise ValueError("a number is missing")
    return int(digits, 32)


def _text(digits: bytes) -> str:
    try:
        return _octets(digits).decode()
    except UnicodeDecodeError:
        raise ValueError("its description is not UTF-8") from None
