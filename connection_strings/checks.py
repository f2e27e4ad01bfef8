"""Checks of values from outside, the same in every house."""

from __future__ import annotations

from connection_strings.errors import InvalidRequest

__all__ = ["check_page", "check_type", "read_payment_hash"]

_HEX_DIGITS = frozenset("0123456789abcdef")
_LENGTH = 64


def check_page(after: str | None, offset_index: int) -> None:
    """Refuse a beginning of a page that is no text, or a number of rows to pass over that is none."""
    check_type("after", after, str, None)
    check_type("offset_index", offset_index, int)
    if offset_index < 0:
        raise InvalidRequest("offset_index", "must be zero or more")


def check_type(name: str, value: object, *allowed: type | None) -> None:
    """Refuse a value that is none of these types; a `bool` is no number here."""
    for kind in allowed:
        if value is None if kind is None else isinstance(value, kind) and not isinstance(value, bool):
            return
    names = " or ".join(kind.__name__ for kind in allowed if kind is not None)
    raise InvalidRequest(name, f"must be {names}, not {type(value).__name__}")


def read_payment_hash(value: object) -> str | None:
    """Return a payment hash in lower-case hex, or None for anything else.

    Args:
        value: What is said to be one: 32 octets as 64 hex digits, in either case (BOLT 11, field `p`).

    """
    if not isinstance(value, str) or len(value) != _LENGTH:
        return None
    text = value.lower()
    return text if _HEX_DIGITS.issuperset(text) else None
