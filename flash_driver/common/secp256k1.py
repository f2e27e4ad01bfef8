"""The curve secp256k1 in plain Python, for where the C library is not (SEC 1, SEC 2): 4 ms instead of 0.1.

What is secret is safe in a sandbox only: the time that `sign` takes tells of the key.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final, TypeAlias

__all__ = ["fits", "public_key", "recover", "sign"]

_P: Final = 2**256 - 2**32 - 977
"""The prime of the field."""

_N: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""How many points there are, also a prime."""

_B: Final = 7
_G: Final = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)
_SIZE: Final = 32
_LAST_RECOVERY_ID: Final = 3

_Point: TypeAlias = tuple[int, int]
_Jacobian: TypeAlias = tuple[int, int, int]
"""X, Y, Z of a point (X / Z², Y / Z³); Z is zero at infinity."""

_INFINITY: Final[_Jacobian] = (0, 1, 0)


def recover(signature: bytes, message: bytes) -> bytes:
    """Return the one key, 33 bytes, whose signature over the SHA-256 of a message this is (SEC 1, 4.1.6).

    Args:
        signature: R and S, 32 bytes each, and the recovery id.
        message: What was signed.

    Raises:
        ValueError: There is no such key.

    """
    if len(signature) != 2 * _SIZE + 1:
        raise ValueError("it is no signature")
    r, s, recovery_id = _read(signature[:_SIZE]), _read(signature[_SIZE:-1]), signature[-1]
    x = r + _N * (recovery_id >> 1)
    if recovery_id > _LAST_RECOVERY_ID or not (0 < r < _N and 0 < s < _N and x < _P):
        raise ValueError("it is no signature")
    inverse = pow(r, -1, _N)
    point = _multiply(-_digest(message) * inverse % _N, s * inverse % _N, _lift(x, odd=bool(recovery_id & 1)))
    if point is None:
        raise ValueError("it is the signature of no key")
    return _write_point(point)


def fits(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether R and S are a key's signature over the SHA-256 of a message, with the lower of the two values for S.

    Raises:
        ValueError: The key is none.

    """
    if len(key) != _SIZE + 1 or key[0] not in (2, 3):
        raise ValueError("it is no key")
    point = _lift(_read(key[1:]), odd=key[0] == 3)
    r, s = _read(signature[:_SIZE]), _read(signature[_SIZE : 2 * _SIZE])
    if not (0 < r < _N and 0 < s <= _N // 2):
        return False
    inverse = pow(s, -1, _N)
    found = _multiply(_digest(message) * inverse % _N, r * inverse % _N, point)
    return found is not None and found[0] % _N == r


def public_key(private_key: bytes) -> bytes:
    """Return the key, 33 bytes, that belongs to a secret one of 32 bytes.

    Raises:
        ValueError: It is none.

    """
    return _write_point(_times_g(_read_secret(private_key)))


def sign(private_key: bytes, message: bytes) -> bytes:
    """Sign the SHA-256 of a message: R, S and the recovery id, the same each time (RFC 6979). For a sandbox only.

    Raises:
        ValueError: It is no secret key.

    """
    secret, z = _read_secret(private_key), _digest(message)
    v, k = b"\x01" * _SIZE, b"\x00" * _SIZE
    seed = private_key + (z % _N).to_bytes(_SIZE, "big")
    for separator in (b"\x00", b"\x01"):
        k = hmac.digest(k, v + separator + seed, "sha256")
        v = hmac.digest(k, v, "sha256")
    while True:
        v = hmac.digest(k, v, "sha256")
        nonce = _read(v)
        if 0 < nonce < _N:
            x, y = _times_g(nonce)
            r, s = x % _N, pow(nonce, -1, _N) * (z + x * secret) % _N
            if r and s:
                break
        k = hmac.digest(k, v + b"\x00", "sha256")
        v = hmac.digest(k, v, "sha256")
    recovery_id = (y & 1) | (2 if x >= _N else 0)
    if s > _N // 2:
        s, recovery_id = _N - s, recovery_id ^ 1
    return r.to_bytes(_SIZE, "big") + s.to_bytes(_SIZE, "big") + bytes([recovery_id])


def _read(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _read_secret(octets: bytes) -> int:
    number = _read(octets)
    if len(octets) != _SIZE or not 0 < number < _N:
        raise ValueError("it is no secret key")
    return number


def _digest(message: bytes) -> int:
    return _read(sha256(message).digest())


def _write_point(point: _Point) -> bytes:
    x, y = point
    return bytes([2 + (y & 1)]) + x.to_bytes(_SIZE, "big")


def _lift(x: int, *, odd: bool) -> _Point:
    """Return the point with this x.

    Raises:
        ValueError: There is none.

    """
    square = (pow(x, 3, _P) + _B) % _P
    y = pow(square, (_P + 1) // 4, _P)
    if x >= _P or y * y % _P != square:
        raise ValueError("no point has this x")
    return x, y if y & 1 == odd else _P - y


def _times_g(factor: int) -> _Point:
    point = _multiply(factor, 0, _G)
    if point is None:
        raise ValueError("it is no secret key")
    return point


def _multiply(first: int, second: int, point: _Point) -> _Point | None:
    """Return first times G plus second times a point, both doubled together bit by bit; None for infinity."""
    both = _affine(_add((*_G, 1), point))
    found = _INFINITY
    for bit in range(max(first.bit_length(), second.bit_length()) - 1, -1, -1):
        found = _double(found)
        which = (first >> bit & 1) | (second >> bit & 1) << 1
        added = (None, _G, point, both)[which]
        if added is not None:
            found = _add(found, added)
    return _affine(found)


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    square = y * y % _P
    s, m = 4 * x * square % _P, 3 * x * x % _P
    x = (m * m - 2 * s) % _P
    return x, (m * (s - x) - 8 * square * square) % _P, 2 * y * z % _P


def _add(one: _Jacobian, other: _Point) -> _Jacobian:
    """Add a point whose Z is one."""
    x1, y1, z1 = one
    x2, y2 = other
    if not z1:
        return x2, y2, 1
    square = z1 * z1 % _P
    h, r = (x2 * square - x1) % _P, (y2 * square * z1 - y1) % _P
    if not h:
        return _INFINITY if r else _double(one)
    h2 = h * h % _P
    h3, v = h * h2 % _P, x1 * h2 % _P
    x3 = (r * r - h3 - 2 * v) % _P
    return x3, (r * (v - x3) - y1 * h3) % _P, z1 * h % _P


def _affine(point: _Jacobian) -> _Point | None:
    x, y, z = point
    if not z:
        return None
    inverse = pow(z, -1, _P)
    square = inverse * inverse % _P
    return x * square % _P, y * square * inverse % _P
