"""Bech32, compared with the reference implementation."""

from __future__ import annotations

import pytest
from bech32 import CHARSET, bech32_decode, bech32_encode
from hypothesis import example, given
from hypothesis import strategies as st

from connection_strings.bolt11.bech32 import decode, digits, encode

BASE_32 = "0123456789abcdefghijklmnopqrstuv"
PREFIXES = st.text(alphabet=[chr(code) for code in range(33, 127) if not chr(code).isupper()], min_size=1, max_size=83)
GROUPS = st.lists(st.integers(0, 31), max_size=300)


def written(groups: list[int]) -> bytes:
    """Write groups of five bits as base-32 digits."""
    return "".join(BASE_32[group] for group in groups).encode()


@given(PREFIXES, GROUPS)
def test_writes_what_the_reference_writes(prefix: str, groups: list[int]) -> None:
    """Any prefix and data come out letter by letter as the reference implementation writes them."""
    assert encode(prefix, written(groups)) == bech32_encode(prefix, groups)


@given(PREFIXES, GROUPS, st.booleans())
def test_reads_what_the_reference_wrote(prefix: str, groups: list[int], upper: bool) -> None:  # noqa: FBT001 - hypothesis gives it by position
    """Prefix and data come back from what the reference implementation wrote, in either case."""
    text = bech32_encode(prefix, groups)
    assert decode(text.upper() if upper else text) == (prefix, written(groups))


@given(PREFIXES, GROUPS, st.integers(0, 10**6), st.characters(codec="utf-8"))
@example("lnbc", [1, 2, 3], 8, "\u212a")
@example("lnbc", [1, 2, 3], 8, "\u0131")
def test_refuses_what_the_reference_refuses(prefix: str, groups: list[int], place: int, letter: str) -> None:
    """With any one letter changed, a text is refused where the reference implementation refuses it, and only there."""
    text = bech32_encode(prefix, groups)
    at = place % len(text)
    text = text[:at] + letter + text[at + 1 :]
    expected, data = bech32_decode(text)
    if expected is None or data is None:
        with pytest.raises(ValueError, match=r"Bech32|checksum|mixed"):
            decode(text)
    else:
        assert decode(text) == (expected, written(data))


@pytest.mark.parametrize("text", ["", "1", "lnbc", "lnbc1", "lnbc1qqqqq", "LNBC1\u212aQQQQQQ", "lnbc1\ud800qqqqqq"])
def test_refuses_what_is_too_short_or_foreign(text: str) -> None:
    """A text without a separator or a whole checksum, or of other letters, such as the Kelvin sign, is refused."""
    with pytest.raises(ValueError, match="not Bech32"):
        decode(text)


@pytest.mark.parametrize("at", [0, 3, 5, -1])
def test_cases_are_not_mixed(at: int) -> None:
    """One letter in the other case is refused, wherever it is."""
    text = encode("lnbc", digits("qpzryq"))
    places = [place for place, letter in enumerate(text) if letter.isalpha()]
    with pytest.raises(ValueError, match="mixed"):
        decode(text[: places[at]] + text[places[at]].upper() + text[places[at] + 1 :])


def test_letters_are_digits() -> None:
    """The alphabet's letters count from zero."""
    assert digits(CHARSET) == BASE_32.encode()
