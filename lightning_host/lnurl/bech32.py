"""Bech32 (BIP 173) without its limit of 90 characters, as LUD-01 encodes a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["encode_lnurl"]

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH: Final = 6
_PREFIX: Final = "lnurl"


def encode_lnurl(url: str) -> str:
    """Encode a URL as an LNURL, in capitals: QR codes take fewer dots for them."""
    data = list(_in_fives(url.encode()))
    return f"{_PREFIX}1{''.join(_ALPHABET[each] for each in data + _checksum(data))}".upper()


def _in_fives(octets: bytes) -> Iterable[int]:
    """Cut bytes into groups of five bits, the last one filled up with zeros."""
    held, bits = 0, 0
    for octet in octets:
        held, bits = held << 8 | octet, bits + 8
        while bits >= 5:
            bits -= 5
            yield held >> bits & 31
        held &= (1 << bits) - 1
    if bits:
        yield held << (5 - bits) & 31


def _checksum(data: list[int]) -> list[int]:
    expanded = [ord(letter) >> 5 for letter in _PREFIX] + [0] + [ord(letter) & 31 for letter in _PREFIX]
    rest = _polymod([*expanded, *data, *[0] * _CHECKSUM_LENGTH]) ^ 1
    return [rest >> 5 * (_CHECKSUM_LENGTH - 1 - place) & 31 for place in range(_CHECKSUM_LENGTH)]


def _polymod(values: Iterable[int]) -> int:
    """Return the remainder of the BCH code (BIP 173)."""
    rest = 1
    for value in values:
        top = rest >> 25
        rest = (rest & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            rest ^= generator if top >> place & 1 else 0
    return rest
