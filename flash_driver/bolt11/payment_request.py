"""BOLT11 payment requests: decoded, and checked before anybody sees them.

A reader that host and driver share takes them apart; who signed one, and what is believed of it, is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from connection_strings.bolt11.reader import read
from connection_strings.destination import other_than_bolt11
from connection_strings.errors import InvalidReply, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from connection_strings.bolt11.reader import Bolt11

__all__ = ["PaymentRequest", "decode", "decode_reply", "signer"]

_SCHEME: Final = "lightning:"

_NETWORK_NAMES: Final = {"mainnet": "bitcoin", "bitcoin": "bitcoin"} | {
    name: name for name in ("testnet", "signet", "regtest")
}
_LONGEST: Final = 7089
"""As many characters as the largest QR code holds; no wallet takes a longer request."""
_HALF_SIGNATURE: Final = 32
_LAST_RECOVERY_ID: Final = 3


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What a BOLT11 says.

    Attributes:
        bolt11: The text itself, lower case.
        network: bitcoin, testnet, signet or regtest.
        payment_hash: Lower-case hex.
        amount_msat: In millisatoshi, None when the payer chooses.
        description: Field `d`, None when there is a hash instead.
        description_hash: Field `h` in lower-case hex, None when there is a text instead.
        created_at: When it was signed.
        expires_at: When it stops being payable.
        unknown_features: Features that it requires of a payer and that no wallet known here has (BOLT 9).

    """

    bolt11: str
    network: str
    payment_hash: str
    amount_msat: int | None
    description: str | None
    description_hash: str | None
    created_at: datetime
    expires_at: datetime
    unknown_features: tuple[int, ...] = ()

    def check(
        self,
        *,
        network: str | None,
        payment_hash: str,
        amountless: bool,
    ) -> None:
        """Compare with what was asked for.

        When it expires is between server and payer: one that has just come is payable, whatever this machine's clock
        says.

        Raises:
            InvalidReply: It is for another network or hash, has an amount where none was asked or none where one was,
                or leaves no time to pay.

        """
        expected = _NETWORK_NAMES.get(network or self.network)
        if expected is not None and expected != self.network:
            raise InvalidReply(f"the server made an invoice for the network {self.network}, expected {expected}")
        if payment_hash != self.payment_hash:
            raise InvalidReply("the server's invoice has another payment hash than the server said")
        if amountless and self.amount_msat is not None:
            raise InvalidReply("the server put an amount into an invoice that was to have none")
        if not amountless and self.amount_msat is None:
            raise InvalidReply("the server made an invoice without the amount that was asked for")
        if self.expires_at <= self.created_at:
            raise InvalidReply("the server made an invoice that leaves no time to pay")


def decode(bolt11: str) -> PaymentRequest:
    """Decode a BOLT11 that a person or a host handed in; `lightning:` in front is taken off.

    Raises:
        InvalidRequest: It is not a BOLT11.

    """
    if not isinstance(bolt11, str):
        raise InvalidRequest("bolt11", f"must be the text of a BOLT11, not {type(bolt11).__name__}")
    text = bolt11.strip()
    if text[: len(_SCHEME)].lower() == _SCHEME:
        text = text[len(_SCHEME) :]
    try:
        return _decode(text)
    except ValueError as error:
        words = other_than_bolt11(text) or f"is not a BOLT11 payment request ({error})"
        raise InvalidRequest("bolt11", words) from None


def decode_reply(bolt11: str) -> PaymentRequest:
    """Decode a BOLT11 that the server sent.

    Raises:
        InvalidReply: It is not a BOLT11.

    """
    try:
        return _decode(bolt11)
    except ValueError as error:
        raise InvalidReply(f"the server's invoice is not a BOLT11 ({error})") from None


def _decode(bolt11: str) -> PaymentRequest:
    if len(bolt11) > _LONGEST:
        raise ValueError("it is too long")
    found = read(bolt11)
    signer(found)
    try:
        created_at = datetime.fromtimestamp(found.timestamp_seconds, UTC)
        expires_at = datetime.fromtimestamp(found.timestamp_seconds + found.expiry_seconds, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError("it expires beyond all time") from None
    return PaymentRequest(
        bolt11=bolt11.lower(),
        network=found.network,
        payment_hash=found.payment_hash.hex(),
        amount_msat=found.amount_msat,
        description=found.description,
        description_hash=None if found.description_hash is None else found.description_hash.hex(),
        created_at=created_at,
        expires_at=expires_at,
        unknown_features=tuple(found.unknown_required_features),
    )


def signer(invoice: Bolt11) -> bytes:
    """Check the signature of a BOLT11, and return the key of the node that signed it, 33 bytes.

    Without field `n` that is the one key that fits the signature and its recovery id. With it the signature must fit
    that key, and have the lower of its two values for S (BOLT 11).

    Raises:
        ValueError: The signature is not right.

    """
    recover, fits = _curve()
    named, signature = invoice.payee, invoice.signature
    try:
        if named is None:
            return recover(signature, invoice.signed)
        if signature[-1] <= _LAST_RECOVERY_ID and fits(named, signature, invoice.signed):
            return named
    except ValueError:
        pass  # what the curve says of it is of no use to a reader
    raise ValueError("its signature is not right")


def _curve() -> tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes, bytes], bool]]:
    """Return what recovers a key, and what checks a signature: the C library where it is installed."""
    try:
        from coincurve import PublicKey  # noqa: PLC0415 - loads C code in 70 ms, needed late
    except ImportError:
        from flash_driver.common import secp256k1  # noqa: PLC0415 - seldom needed

        return secp256k1.recover, secp256k1.fits

    def recover(signature: bytes, message: bytes) -> bytes:
        return bytes(PublicKey.from_signature_and_message(signature, message).format())

    def fits(key: bytes, signature: bytes, message: bytes) -> bool:
        return bool(PublicKey(key).verify(_der(signature), message))

    return recover, fits


def _der(signature: bytes) -> bytes:
    """Write R and S as the C library reads them when no key is to be recovered: two integers of ASN.1."""
    halves = (signature[:_HALF_SIGNATURE], signature[_HALF_SIGNATURE:-1])
    numbers = [int.from_bytes(half, "big") for half in halves]
    octets = [number.to_bytes(number.bit_length() // 8 + 1, "big") for number in numbers]
    body = b"".join(b"\x02" + bytes([len(each)]) + each for each in octets)
    return b"\x30" + bytes([len(body)]) + body
