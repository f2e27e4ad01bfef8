"""Keys and passwords: read from headers, compared whole."""

from __future__ import annotations

import base64

import pytest

from connection_strings import Secret
from lightning_host.credentials import basic_password, matches, token_of

KEYS = (Secret("first-key"), Secret("second-key"))


@pytest.mark.parametrize(
    ("shown", "fits"), [("first-key", True), ("second-key", True), ("first", False), ("", False), ("\ud800", False)]
)
def test_any_of_the_keys_fits(shown: str, fits: bool) -> None:  # noqa: FBT001 - a case
    """A key fits when it is one of them, to the last character."""
    assert any(matches(shown, key) for key in KEYS) is fits


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("token abc", "abc"),
        ("Token  abc ", "abc"),
        ("token ", None),
        ("", None),
        ("Bearer abc", None),
        ("tokenabc", None),
    ],
)
def test_token_header(header: str, key: str | None) -> None:
    """BTCPay's header is `token KEY`, and nothing else."""
    assert token_of(header) == key


def basic(pair: bytes) -> str:
    """Write a Basic header."""
    return f"Basic {base64.b64encode(pair).decode()}"


@pytest.mark.parametrize(
    ("header", "password"),
    [
        (basic(b":secret"), "secret"),
        (basic(b"user:secret:with:colons"), "secret:with:colons"),
        (basic(b"user:"), None),
        (basic(b"no colon"), None),
        (basic(b":\xff"), None),
        ("Basic ???", None),
        ("Basic", None),
        ("", None),
        ("token abc", None),
    ],
)
def test_basic_header(header: str, password: str | None) -> None:
    """The password of RFC 7617, whatever the user's name; None for anything else."""
    assert basic_password(header) == password
