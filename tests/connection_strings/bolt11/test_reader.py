"""The BOLT11 reader, compared with the package `bolt11`, which nobody here wrote."""

from __future__ import annotations

import contextlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from bech32 import CHARSET
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from connection_strings.bolt11.reader import Bolt11, read
from tests.support.bolt11s import Draft, octets, random_invoice, read_by_package, read_signed
from tests.support.thorough import cases

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "bolt11.json").read_text()
)
EXAMPLES = [row["bolt11"] for row in VECTORS["valid"] + VECTORS["left_to_the_payer"]]
KEY = PrivateKey(b"\x11" * 32)
STRICTER = "more than one|must have either a description|upper and lower case|does not start with ln|its amount|padding"
"""What is said of the texts that the package takes and BOLT 11 does not: the deliberate differences."""


def draft() -> Draft:
    """Return the specification's coffee, for tests that change it."""
    return Draft.of(VECTORS["valid"][1]["bolt11"])


def changed(**fields: list[int] | None) -> str:
    """Write the coffee with other fields: put in the place of those of this letter, behind the others, or left out."""
    coffee = draft()
    for letter, value in fields.items():
        coffee.fields = [field for field in coffee.fields if field[0] != letter]
        coffee.fields += [] if value is None else [(letter, value)]
    return coffee.write(KEY)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_read_as_the_package_reads_them(text: str) -> None:
    """Every valid example of BOLT 11 says the same to both, payee and payment secret included."""
    assert read_signed(text) == read_by_package(text)


@pytest.mark.parametrize("row", VECTORS["invalid"], ids=lambda row: str(row["name"]))
def test_invalid_examples_are_refused(row: dict[str, Any]) -> None:
    """No invalid example is read."""
    with pytest.raises(ValueError, match=r"^(it|its|upper)"):
        read_signed(row["bolt11"])


@pytest.mark.timeout(cases(240, 900))  # the package is slow
@pytest.mark.many_cases
def test_random_invoices_are_read_as_the_package_reads_them() -> None:
    """Invoices of all networks, amounts, descriptions and fields say the same to both."""
    dice = random.Random(11)  # noqa: S311 - repeatable on purpose
    for text in (random_invoice(dice) for _ in range(cases(60, 2000))):
        assert read_signed(text) == read_by_package(text), text


# --- what is wrong with it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"p": None}, "no payment hash"),
        ({"p": [0] * 51}, "no payment hash"),
        ({"s": None}, "no payment secret"),
        ({"s": [0] * 53}, "no payment secret"),
        ({"d": None}, "either a description or the hash"),
        ({"d": None, "h": [0] * 51}, "either a description or the hash"),
        ({"h": [0] * 52}, "either a description or the hash"),
        ({"d": octets(b"\xff")}, "not UTF-8"),
        ({"x": []}, "a number is missing"),
        ({"p": [0] * 51 + [1]}, "padding"),
        ({"s": [0] * 51 + [8]}, "padding"),
        ({"d": [*octets(b"x"), 0]}, "padding"),
        ({"d": [0, 1]}, "padding"),
        ({"n": [*octets(KEY.public_key.format())[:-1], 0]}, "signature"),
        ({"n": [0] * 53}, "signature"),
        ({"n": octets(PrivateKey(b"\x22" * 32).public_key.format())}, "signature"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, list[int] | None], words: str) -> None:
    """What BOLT 11 demands and what can't be read is said, also behind a right signature and checksum."""
    with pytest.raises(ValueError, match=words):
        read_signed(changed(**fields))


def test_named_payee_must_have_signed() -> None:
    """With field `n`, the node that it names is the payee."""
    assert read_signed(changed(n=octets(KEY.public_key.format()))).payee == KEY.public_key.format()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("recovery_id", [4, 27, 255])
def test_recovery_id_has_four_values(recovery_id: int, *, named: bool) -> None:
    """A recovery id beyond 3 is no signature, whether or not it is needed."""
    coffee = draft()
    coffee.fields += [("n", octets(KEY.public_key.format()))] if named else []
    with pytest.raises(ValueError, match="signature"):
        read_signed(coffee.write(KEY, recovery_id=recovery_id))


@pytest.mark.parametrize("rest", [[1], [13, 0], [13, 0, 1], [13, 31, 31, 0]])
def test_field_that_is_cut_off(rest: list[int]) -> None:
    """A field that ends before its length does is refused."""
    coffee = draft()
    coffee.rest = rest
    with pytest.raises(ValueError, match="cut off"):
        read_signed(coffee.write(KEY))


def test_first_of_several_counts() -> None:
    """Of several fields of a type the first counts; one of a wrong length is none."""
    coffee = draft()
    first = read_signed(coffee.write(KEY))
    coffee.fields += [("d", octets(b"tea")), ("x", [1]), ("9", [31, 31]), ("p", [0] * 53), ("s", [0] * 51)]
    coffee.fields.insert(0, ("p", [1] * 51))
    assert read_signed(coffee.write(KEY)) == first


@pytest.mark.parametrize(("letter", "words"), [("p", "more than one payment hash"), ("s", "more than one payment sec")])
@pytest.mark.parametrize("same", [True, False])
def test_two_hashes_or_secrets_are_refused(letter: str, words: str, *, same: bool) -> None:
    """BOLT 11 says exactly one: a text that could mean two payments is none, be they the same."""
    coffee = draft()
    value = next(value for name, value in coffee.fields if name == letter) if same else [0] * 52
    coffee.fields.append((letter, value))
    with pytest.raises(ValueError, match=words):
        read(coffee.write(KEY))


@pytest.mark.parametrize(
    ("bit", "unknown"), [(8, []), (14, []), (16, []), (17, []), (20, [20]), (100, [100]), (101, [])]
)
def test_features_that_a_payer_must_understand(bit: int, unknown: list[int]) -> None:
    """An even bit of field `9` is required of the payer (BOLT 9); one that no wallet knows is named."""
    bits = 1 << bit
    groups = [bits >> 5 * place & 31 for place in reversed(range(bit // 5 + 1))]
    assert read(changed(**{"9": groups})).unknown_required_features == unknown
    assert read(changed(**{"9": None})).features == 0


def test_empty_description_is_one() -> None:
    """A description without letters is a description."""
    assert read_signed(changed(d=[])).description == ""


def test_largest_amount_in_the_smallest_unit() -> None:
    """All bitcoin there is can be written in pico-bitcoin, too."""
    coffee = draft()
    coffee.prefix = "lnbc21000000000000000000p"
    assert read_signed(coffee.write(KEY)).amount_msat == 21_000_000 * 10**11


# --- whatever is wrong with it ---------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Draft, str]:
    """Change fields of an invoice at random, and sign it, so that nothing but the fields speaks against it."""
    invoice = Draft.of(draw(st.sampled_from(EXAMPLES)))
    fields = invoice.fields
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(fields) - 1))
        letter, value = fields[place]
        match draw(st.sampled_from(["group", "letter", "drop", "twice", "cut", "longer", "new"])):
            case "group" if value:
                at = draw(st.integers(0, len(value) - 1))
                fields[place] = (letter, [*value[:at], draw(st.integers(0, 31)), *value[at + 1 :]])
            case "letter":
                fields[place] = (draw(st.sampled_from(CHARSET)), value)
            case "drop" if len(fields) > 1:
                del fields[place]
            case "twice":
                fields.append((letter, value[::-1]))
            case "cut":
                fields[place] = (letter, value[: draw(st.integers(0, len(value)))])
            case "longer":
                fields[place] = (letter, value + draw(st.lists(st.integers(0, 31), max_size=3)))
            case _:
                fields.append((draw(st.sampled_from(CHARSET)), draw(st.lists(st.integers(0, 31), max_size=60))))
    invoice.prefix = draw(
        st.just(invoice.prefix) | st.from_regex(r"ln(bc|tb|bcrt|tbs|sb)[0-9]{0,4}[munpx]?", fullmatch=True)
    )
    invoice.rest = draw(st.just([]) | st.lists(st.integers(0, 31), max_size=4))
    return invoice, invoice.write(KEY)


def package_reads(text: str) -> Bolt11 | None:
    """Return what the package reads, None where it refuses."""
    try:
        return read_by_package(text)
    except Exception:  # noqa: BLE001 - the package raises whatever its parts raise
        return None


def driver_reads(text: str) -> Bolt11 | str:
    """Return what the driver reads, its words where it refuses."""
    try:
        return read_signed(text)
    except ValueError as error:
        return str(error)


@settings(max_examples=cases(60, 2000), deadline=None)
@given(damaged())
def test_damaged_fields_are_never_read_where_the_package_refuses(made: tuple[Draft, str]) -> None:
    """Either both read the same, or this reader refuses in its own words; where only it refuses, BOLT 11 says so."""
    invoice, text = made
    expected, found = package_reads(text), driver_reads(text)
    if expected is None and isinstance(found, Bolt11):
        assert any(letter in "cf" and not value for letter, value in invoice.fields), "the one thing taken besides"
    elif expected is not None and isinstance(found, str):
        assert re.search(STRICTER, found)
    elif expected is not None:
        assert found == expected


@settings(max_examples=cases(60, 2000), deadline=None)
@given(
    st.sampled_from(EXAMPLES),
    st.lists(st.tuples(st.sampled_from(["put", "in", "out", "swap"]), st.integers(0, 10**6), st.characters())),
)
def test_damaged_texts_are_refused_in_words(text: str, changes: list[tuple[str, int, str]]) -> None:
    """Letters put in, taken out, changed or swapped end in the documented error or in what the package reads."""
    for what, place, letter in changes:
        at = place % len(text)
        middle = {"put": letter, "in": letter + text[at], "out": "", "swap": text[at : at + 2][::-1]}[what]
        text = text[:at] + middle + text[at + (2 if what == "swap" else 1) :]
        text = text or "l"
    with contextlib.suppress(ValueError):
        assert read_signed(text) == package_reads(text)
