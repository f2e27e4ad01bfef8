"""Who signed a BOLT11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from connection_strings.bolt11.reader import Bolt11

__all__ = ["signer"]

_HALF_SIGNATURE: Final = 32
_LAST_RECOVERY_ID: Final = 3


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
