from __future__ import annotations

import pytest

from connection_strings.checks import read_payment_hash


def test_either_case_is_read_and_lower_case_is_given() -> None:
    """A payment hash is compared as text, so it has one spelling."""
    assert read_payment_hash("AB" * 32) == read_payment_hash("ab" * 32) == "ab" * 32


@pytest.mark.parametrize(
    "value",
    [None, 5, b"ab" * 32, [], {}, "", "ab" * 31, "ab" * 33, "g" * 64, "ab" * 31 + "a\n", "٣" * 64, "a" * 4_000_000],
)
def test_anything_else_is_none(value: object) -> None:
    """Other types, lengths and digits, also those that other scripts call digits, are no payment hash."""
    assert read_payment_hash(value) is None
