"""What an NTAG 424 DNA adds to its URL at each tap: who it is and how often it was read, encrypted and signed (SUN).

`p` is one block of AES-128: a tag byte, the UID and the read counter, encrypted with the card's key 1. `c` is a short
CMAC of the same facts, under a session key that key 2 gives (NXP AN12196, chapter 3; Bolt Card specification).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

if TYPE_CHECKING:
    from connection_strings import Secret

__all__ = ["Sun", "cmac", "mac_of", "read_sun"]

_BLOCK: Final = 16
_PICC_TAG: Final = 0xC7
"""The tag byte of a card that mirrors a UID of seven bytes and the read counter."""

_UID: Final = slice(1, 8)
_COUNTER: Final = slice(8, 11)
_SESSION_LABEL: Final = bytes.fromhex("3cc300010080")
_P: Final = re.compile(r"[0-9a-fA-F]{32}")
_C: Final = re.compile(r"[0-9a-fA-F]{16}")


@dataclass(frozen=True, slots=True)
class Sun:
    """What a card said of itself at one tap.

    Attributes:
        uid: The seven bytes that name the chip, in lower-case hex.
        counter: How often it has been read, from 0 to 2^24 - 1; each tap makes it grow.

    """

    uid: str
    counter: int


def read_sun(encryption_key: Secret, signing_key: Secret, p: str, c: str) -> Sun | None:
    """Decrypt and check what a card added to its URL.

    Args:
        encryption_key: The card's key 1, in hex.
        signing_key: The card's key 2, in hex.
        p: The encrypted facts, 32 digits of hex.
        c: The signature, 16 digits of hex.

    Returns:
        The facts, None when a card with these keys did not say that.

    """
    if _P.fullmatch(p) is None or _C.fullmatch(c) is None:
        return None
    # One block, and a vector of zeros: each card has a key of its own, and no two counters are alike.
    decryptor = Cipher(AES(bytes.fromhex(encryption_key.reveal())), CBC(bytes(_BLOCK))).decryptor()
    facts = decryptor.update(bytes.fromhex(p)) + decryptor.finalize()
    uid, counter = facts[_UID], facts[_COUNTER]
    if facts[0] != _PICC_TAG or not hmac.compare_digest(mac_of(signing_key, uid, counter), bytes.fromhex(c)):
        return None
    return Sun(uid.hex(), int.from_bytes(counter, "little"))


def mac_of(signing_key: Secret, uid: bytes, counter: bytes) -> bytes:
    """Return the eight bytes with which a card signs; the counter is in the card's order, least byte first."""
    session_key = cmac(bytes.fromhex(signing_key.reveal()), _SESSION_LABEL + uid + counter)
    return cmac(session_key, b"")[1::2]


def cmac(key: bytes, message: bytes) -> bytes:
    """Return the AES-CMAC of a message (RFC 4493)."""
    signer = CMAC(AES(key))
    signer.update(message)
    return signer.finalize()
