from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connection_strings.text import did_you_mean


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("flahs", "; did you mean flash?"),
        ("flash", "; did you mean flash?"),
        ("wallet_id", "; did you mean wallet-id?"),
        ("x", ""),
        ("", ""),
    ],
)
def test_nearest_name(word: str, hint: str) -> None:
    """A near miss names the nearest known name, anything else says nothing."""
    assert did_you_mean(word, {"flash", "wallet-id", "phoenixd"}) == hint


def test_nothing_known() -> None:
    """Without known names there is no hint."""
    assert did_you_mean("flash", []) == ""


@given(word=st.text(), known=st.lists(st.text(max_size=8)))
def test_same_hint_in_any_order(word: str, known: list[str]) -> None:
    """The hint depends on the names, not on their order."""
    assert did_you_mean(word, known) == did_you_mean(word, reversed(known))
