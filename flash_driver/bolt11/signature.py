"""Who signed a BOLT11."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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
    from coincurve import PublicKey  # noqa: PLC0415 - loads C code in 70 ms, needed late

    named, signature = invoice.payee, invoice.signature
    try:
        if named is None:
            return bytes(PublicKey.from_signature_and_message(signature, invoice.signed).format())
        fits = PublicKey(named).verify(_der(signature), invoice.signed) and signature[-1] <= _LAST_RECOVERY_ID
    except ValueError:
        fits = False
    if not fits or named is None:
        raise ValueError("its signature is not right")
    return named


def _der(signature: bytes) -> bytes:
    """Write R and S as the C library reads them when no key is to be recovered: two integers of ASN.1."""
    halves = (signature[:_HALF_SIGNATURE], signature[_HALF_SIGNATURE:-1])
    numbers = [int.from_bytes(half, "big") for half in halves]
    octets = [number.to_bytes(number.bit_length() // 8 + 1, "big") for number in numbers]
    body = b"".join(b"\x02" + bytes([len(each)]) + each for each in octets)
    return b"\x30" + bytes([len(body)]) + body
