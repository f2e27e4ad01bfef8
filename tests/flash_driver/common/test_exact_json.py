from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_driver.common import exact_json as wire


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.50", "1.50"),
        ("1E+2", "100"),
        ("1E-7", "0.0000001"),
        ("0E-6", "0.000000"),
        ("-0.000001", "-0.000001"),
        ("12345678901234567890.123456", "12345678901234567890.123456"),
    ],
)
def test_decimals_are_written_plainly(number: str, text: str) -> None:
    """A Decimal goes out digit by digit and without an exponent, which Flash's parser would not take."""
    assert wire.encode({"a": [Decimal(number)]}) == f'{{"a":[{text}]}}'


def test_decimals_are_written_wherever_they_stand() -> None:
    """Objects, lists and tuples are searched for Decimals; everything else is left alone."""
    assert wire.encode({"a": {"b": (Decimal("0.1"), 2, "x", None, True)}}) == '{"a":{"b":[0.1,2,"x",null,true]}}'


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "sNaN"])
def test_numbers_that_are_none_are_not_written(number: str) -> None:
    """What JSON can't say is an error here, not at the server."""
    with pytest.raises(ValueError, match="not finite"):
        wire.encode({"amount": Decimal(number)})


def test_half_a_character_is_not_written() -> None:
    """Text that is no Unicode is an error here."""
    with pytest.raises(ValueError, match="surrogates"):
        wire.encode({"memo": "\ud83c"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", Decimal("0.1")),
        ("1e-7", Decimal("1e-7")),
        ("1.10", Decimal("1.10")),
        ("12345678901234567890123", 12345678901234567890123),
        ("-0.0", Decimal("-0.0")),
        ('"\\u00e9"', "\u00e9"),
        ("[]", []),
    ],
)
def test_numbers_are_read_exactly(text: str, value: object) -> None:
    """A number with a fraction is read as the Decimal that was written, a whole one as an int."""
    assert (wire.decode(text), str(wire.decode(text.encode()))) == (value, str(value))


def test_no_float_is_ever_read() -> None:
    """Money never becomes a float on its way in."""
    found = wire.decode('{"a":[1.5,{"b":2.0e0}],"c":-1E5}')
    assert [type(found["a"][0]), type(found["a"][1]["b"]), type(found["c"])] == [Decimal, Decimal, Decimal]


MALFORMED: dict[str, str | bytes] = {
    "nothing": "",
    "half an object": '{"a":',
    "half a text": '{"a":"b',
    "HTML": "<html><body>502</body></html>",
    "two values": "1 2",
    "not a number": "NaN",
    "infinity": "Infinity",
    "single quotes": "{'a':1}",
    "trailing comma": "[1,]",
    "half a character": '"\\ud800"',
    "not UTF-8": b'"\xff"',
    "a text of half a character": "\ud800",
    "nested beyond reason": "[" * 100_000,
    "objects nested beyond reason": '{"a":' * 100_000,
    "exponent beyond all bounds": "1e999999999999999999999",
    "tiny beyond all bounds": "1e-99999999999999999999",
    "whole number beyond all bounds": "1" * 5000,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_json(text: str | bytes) -> None:
    """What is not JSON, or is meant to hurt, is one kind of error."""
    with pytest.raises(wire.MalformedJSON):
        wire.decode(text)


def test_error_shows_nothing_of_the_bytes() -> None:
    """The message of the error says where, not what."""
    with pytest.raises(wire.MalformedJSON) as caught:
        wire.decode('{"preimage":"c0ffee"} c0ffee')
    assert "c0ffee" not in str(caught.value)
    assert caught.value.__suppress_context__


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False, places=6).map(abs),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    """Reading undoes writing, exactly."""
    assert wire.decode(wire.encode(value)) == value


@given(st.binary() | st.text())
def test_reading_raises_nothing_else(text: str | bytes) -> None:
    """Whatever arrives is JSON or MalformedJSON."""
    with suppress(wire.MalformedJSON):
        wire.decode(text)
