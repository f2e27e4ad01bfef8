"""Real BOLT11 invoices, signed by a key of the sandbox's own, with preimages that open their hashes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from connection_strings.bolt11 import bech32
from connection_strings.bolt11.reader import read
from flash_driver.common import secp256k1

try:
    from coincurve import PrivateKey, PublicKey
except ImportError:  # the C library is not everywhere
    _recover, _sign = secp256k1.recover, secp256k1.sign
else:

    def _recover(signature: bytes, message: bytes) -> bytes:
        return bytes(PublicKey.from_signature_and_message(signature, message).format())

    def _sign(private_key: bytes, message: bytes) -> bytes:
        return bytes(PrivateKey(private_key).sign_recoverable(message))


__all__ = [
    "MAX_MSAT",
    "PREFIXES",
    "InvoiceSigner",
    "Network",
    "NotAnInvoiceError",
    "ReadInvoice",
    "SignedInvoice",
    "read_invoice",
]

Network: TypeAlias = Literal["mainnet", "signet", "regtest"]

PREFIXES: Final[dict[Network, str]] = {"mainnet": "bc", "signet": "tbs", "regtest": "bcrt"}
"""What a BOLT11 of each network begins with, after `ln`."""

MAX_MSAT: Final = 500 * 100_000_000 * 1000
"""500 BTC: the custodian takes no more."""

_PICO_BTC_PER_MSAT: Final = 10
_MULTIPLIERS: Final = ("p", "n", "u", "m", "")
"""Each a thousand times the one before (BOLT 11)."""

_DIGITS: Final = b"0123456789abcdefghijklmnopqrstuv"
_TIMESTAMP_DIGITS: Final = 7
_LONGEST_FIELD: Final = 1023
_FEATURES: Final = 1 << 8 | 1 << 14 | 1 << 17
"""Needs the onion of variable length and the payment secret, takes payments in parts (BOLT 9)."""

_MIN_FINAL_CLTV_EXPIRY: Final = 18


class NotAnInvoiceError(ValueError):
    """A text is not a BOLT11 invoice."""


@dataclass(frozen=True, slots=True)
class ReadInvoice:
    """What a BOLT11 says to someone who did not make it.

    Attributes:
        network: mainnet, testnet, signet or regtest.

    """

    payment_request: str
    payment_hash: str
    network: str
    msat: int | None
    expires_at: datetime


@lru_cache(maxsize=4096)
def read_invoice(payment_request: str) -> ReadInvoice:
    """Read a BOLT11; the last ones are kept, because each question about an invoice brings it along.

    Raises:
        NotAnInvoiceError: It is none.

    """
    try:
        found = read(payment_request)
        _recover(found.signature, found.signed)
        expires_at = datetime.fromtimestamp(found.timestamp_seconds + found.expiry_seconds, tz=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise NotAnInvoiceError("Invalid payment request") from error
    return ReadInvoice(
        payment_request=payment_request,
        payment_hash=found.payment_hash.hex(),
        network="mainnet" if found.network == "bitcoin" else found.network,
        msat=found.amount_msat,
        expires_at=expires_at,
    )


@dataclass(frozen=True, slots=True)
class SignedInvoice:
    """A BOLT11 together with what only its maker knows."""

    payment_request: str
    payment_hash: str
    payment_secret: str
    preimage: str
    msat: int | None
    created_at: datetime
    expires_at: datetime


class InvoiceSigner:
    """Makes and signs invoices in the name of one node.

    Attributes:
        private_key: The node's, 32 bytes; it signs nothing but the invoices of a sandbox.

    """

    def __init__(self) -> None:
        self.private_key = secrets.token_bytes(32)

    def sign(
        self,
        *,
        msat: int | None,
        description: str,
        now: datetime,
        expiry: timedelta,
        description_hash: str | None = None,
        network: str = PREFIXES["regtest"],
        preimage: str | None = None,
    ) -> SignedInvoice:
        """Make an invoice; a description hash takes the place of the description.

        Args:
            msat: The amount, or None for an invoice whose payer chooses it.
            description: What the payer reads.
            now: When it is made.
            expiry: How long it can be paid.
            description_hash: SHA-256 of a longer description, in hex.
            network: Prefix of the network it is for.
            preimage: What it pays for, in hex; by default a new one.

        Raises:
            ValueError: The description is longer than 639 bytes, the amount below 1 msat, or a time negative.

        """
        secret = bytes.fromhex(preimage) if preimage else secrets.token_bytes(32)
        payment_hash, payment_secret = sha256(secret).digest(), secrets.token_bytes(32)
        created_at = now.replace(microsecond=0)
        digits = (
            _number(int(created_at.timestamp())).rjust(_TIMESTAMP_DIGITS, b"0")
            + _field("p", bech32.digits_of(payment_hash))
            + _field("s", bech32.digits_of(payment_secret))
            + (
                _field("h", bech32.digits_of(bytes.fromhex(description_hash)))
                if description_hash
                else _field("d", bech32.digits_of(description.encode()))
            )
            + _field("x", _number(int(expiry.total_seconds())))
            + _field("c", _number(_MIN_FINAL_CLTV_EXPIRY))
            + _field("9", _number(_FEATURES))
        )
        return SignedInvoice(
            payment_request=self._sign(f"ln{network}{_amount(msat)}", digits),
            payment_hash=payment_hash.hex(),
            payment_secret=payment_secret.hex(),
            preimage=secret.hex(),
            msat=msat,
            created_at=created_at,
            expires_at=created_at + expiry,
        )

    def _sign(self, prefix: str, digits: bytes) -> str:
        """Put prefix, fields and a signature together, which is over whole bytes, the last one filled up with zeros."""
        bits = len(digits) * 5
        signed = prefix.encode() + (int(digits, 32) << -bits % 8).to_bytes((bits + 7) // 8, "big")
        return bech32.encode(prefix, digits + bech32.digits_of(_sign(self.private_key, signed)))


def _amount(msat: int | None) -> str:
    """Write an amount as short as it can be, with the largest multiplier that leaves it whole (BOLT 11)."""
    if msat is None:
        return ""
    if msat < 1:
        raise ValueError("an amount is at least a millisatoshi")
    number, place = msat * _PICO_BTC_PER_MSAT, 0
    while number % 1000 == 0 and place < len(_MULTIPLIERS) - 1:
        number, place = number // 1000, place + 1
    return f"{number}{_MULTIPLIERS[place]}"


def _field(name: str, data: bytes) -> bytes:
    """Put type and length in front of a field's data."""
    if len(data) > _LONGEST_FIELD:
        raise ValueError(f"field {name} is longer than {_LONGEST_FIELD} digits")
    return bech32.digits(name) + _number(len(data)).rjust(2, b"0") + data


def _number(number: int) -> bytes:
    """Write a number in as few base-32 digits as hold it."""
    if number < 0:
        raise ValueError("a BOLT11 has no negative numbers")
    digits = b""
    while number or not digits:
        number, digit = divmod(number, 32)
        digits = _DIGITS[digit : digit + 1] + digits
    return digits
