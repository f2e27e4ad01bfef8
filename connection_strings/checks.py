"""Checks of values that a host hands in, the same for all of them."""

from __future__ import annotations

from connection_strings.errors import InvalidRequest

__all__ = ["check_page", "check_type"]


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
