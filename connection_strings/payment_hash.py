"""Payment hashes as text: the one check that every house makes."""

from __future__ import annotations

__all__ = ["read_payment_hash"]

_HEX_DIGITS = frozenset("0123456789abcdef")
_LENGTH = 64


def read_payment_hash(value: object) -> str | None:
    """Return a payment hash in lower-case hex, or None for anything else.

    Args:
        value: What is said to be one: 32 octets as 64 hex digits, in either case (BOLT 11, field `p`).

    """
    if not isinstance(value, str) or len(value) != _LENGTH:
        return None
    text = value.lower()
    return text if _HEX_DIGITS.issuperset(text) else None
