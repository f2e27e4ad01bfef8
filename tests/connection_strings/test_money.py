from __future__ import annotations

import operator
import pickle
from dataclasses import FrozenInstanceError
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connection_strings import LightMoney
from connection_strings.money import MSAT_PER_BTC, MSAT_PER_SAT

if TYPE_CHECKING:
    from collections.abc import Callable

MAX = 21_000_000 * MSAT_PER_BTC

amounts = st.integers(-MAX, MAX).map(LightMoney)
halves = st.integers(-MAX // 2, MAX // 2).map(LightMoney)
constructors = pytest.mark.parametrize(
    "make", [LightMoney, LightMoney.from_msat, LightMoney.from_sat, LightMoney.from_btc], ids=lambda make: make.__name__
)


class TestMake:
    """Making an amount."""

    def test_units(self) -> None:
        """One amount, in three units and four ways."""
        thousand = LightMoney(1_000_000)

        assert thousand == LightMoney.from_msat(1_000_000)
        assert thousand == LightMoney.from_sat(1_000) == LightMoney.from_sat(Decimal("1000.000"))
        assert thousand == LightMoney.from_btc(Decimal("0.00001"))
        assert thousand == LightMoney.parse("1000 sat")

    def test_exact_to_the_millisatoshi(self) -> None:
        """BTCPay's own odd amount survives every unit."""
        odd = LightMoney(10_001)

        assert odd == LightMoney.from_sat(Decimal("10.001"))
        assert odd == LightMoney.from_btc(Decimal("0.00000010001"))
        assert (odd.sat, odd.btc) == (Decimal("10.001"), Decimal("0.00000010001"))

    @given(st.integers(-MAX, MAX))
    def test_units_round_trip(self, msat: int) -> None:
        """Out to satoshi or bitcoin and back is the same amount."""
        amount = LightMoney(msat)

        assert amount == LightMoney.from_sat(amount.sat) == LightMoney.from_btc(amount.btc)
        assert msat == int(amount.sat * MSAT_PER_SAT) == int(amount.btc * MSAT_PER_BTC)

    def test_does_not_depend_on_the_decimal_context(self) -> None:
        """A host that rounds its own decimals to three digits does not round amounts."""
        amount = LightMoney(123_456_789)
        with localcontext(prec=3):
            assert amount.sat == Decimal("123456.789")
            assert amount == LightMoney.from_sat(Decimal("123456.789")) == LightMoney.parse("123456.789 sat")

    @constructors
    @given(value=st.floats())
    def test_no_float(self, make: Callable[[Any], LightMoney], value: float) -> None:
        """No float makes an amount, not even a whole one."""
        with pytest.raises(TypeError, match=r"not float$"):
            make(value)

    @constructors
    @pytest.mark.parametrize("value", [True, "1", None, b"1", 1j])
    def test_no_other_type(self, make: Callable[[Any], LightMoney], value: object) -> None:
        """Nothing but a number makes an amount."""
        with pytest.raises(TypeError, match=rf"not {type(value).__name__}$"):
            make(value)

    def test_no_decimal_millisatoshi(self) -> None:
        """Millisatoshi are counted, with an int."""
        with pytest.raises(TypeError, match=r"^msat is a whole number \(int\), not Decimal$"):
            LightMoney(Decimal(1))  # type: ignore[arg-type]  # a wrong type is the point

    @pytest.mark.parametrize(
        "sat", ["0.0001", "0.0005", "-0.0001", "1000.0001", "1E-999999", "1E-99999999999", "0." + "1" * 100]
    )
    def test_no_fraction_of_a_millisatoshi(self, sat: str) -> None:
        """What can't be paid is refused, not rounded."""
        with pytest.raises(ValueError, match=r"^an amount has no fraction below one millisatoshi$"):
            LightMoney.from_sat(Decimal(sat))

    @pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
    def test_finite(self, value: str) -> None:
        """What is no number is refused."""
        with pytest.raises(ValueError, match=r"^an amount is a finite number$"):
            LightMoney.from_btc(Decimal(value))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: LightMoney(MAX + 1),
            lambda: LightMoney(-MAX - 1),
            lambda: LightMoney.from_sat(MAX // MSAT_PER_SAT + 1),
            lambda: LightMoney.from_sat(Decimal("2100000000000000.001")),
            lambda: LightMoney.from_btc(21_000_001),
            lambda: LightMoney.from_btc(Decimal("-21000000.00000000001")),
            lambda: LightMoney.from_btc(Decimal("1E+999999999")),
            lambda: LightMoney.parse("1" * 5_000 + " sat"),
            lambda: LightMoney.MAX + LightMoney(1),
            lambda: LightMoney.MAX * 2,
        ],
    )
    def test_bounds(self, make: Callable[[], LightMoney]) -> None:
        """No more than 21 million bitcoin, however it comes about."""
        with pytest.raises(ValueError, match=r"^an amount can't exceed 21 million bitcoin$"):
            make()

    def test_constants(self) -> None:
        """ZERO and MAX are what they say."""
        assert LightMoney(0) == LightMoney.ZERO
        assert LightMoney.from_btc(21_000_000) == LightMoney.MAX


class TestText:
    """An amount as text."""

    @pytest.mark.parametrize(
        ("text", "msat"),
        [
            ("1000 sat", 1_000_000),
            ("1000sat", 1_000_000),
            ("  1000   SAT  ", 1_000_000),
            ("10001 msat", 10_001),
            ("10001", 10_001),
            ("0.001 BTC", 100_000_000),
            ("0.001 sat", 1),
            ("+1 sat", 1_000),
            ("-1.5 sat", -1_500),
            ("0 BTC", 0),
        ],
    )
    def test_parse(self, text: str, msat: int) -> None:
        """A number and a unit, blanks and case don't count; no unit is millisatoshi."""
        assert LightMoney.parse(text) == LightMoney(msat)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "sat",
            "x sat",
            "1e3 sat",
            "1_000 sat",
            "1,5 sat",
            ".5 sat",
            "5. sat",
            "1 2 sat",
            "NaN",
            "٣ sat",
            "1 sat sat",
        ],
    )
    def test_no_plain_number(self, text: str) -> None:
        """What is not a plain decimal number is refused."""
        with pytest.raises(ValueError, match=r"^an amount is a plain decimal number with a unit, such as `1000 sat`$"):
            LightMoney.parse(text)

    @pytest.mark.parametrize("text", ["1.0", "0.5", "-1.0", " 0.00001 ", "1000.000"])
    def test_a_decimal_point_needs_a_unit(self, text: str) -> None:
        """BTCPay Server prints a bitcoin as `1.0`; nobody may read a millisatoshi of it."""
        with pytest.raises(ValueError, match=r"^an amount with a decimal point needs a unit: BTC, sat or msat$"):
            LightMoney.parse(text)

    @pytest.mark.parametrize("text", ["\x1c1 sat", "1 sat\x1f", "1\x1esat"])
    def test_separators_are_no_blanks(self, text: str) -> None:
        """What Python strips and .NET does not is no blank here."""
        with pytest.raises(ValueError, match="plain decimal number"):
            LightMoney.parse(text)

    @pytest.mark.parametrize("text", ["1 USD", "1 sats", "1 bit", "1 cents"])
    def test_no_unit(self, text: str) -> None:
        """Another unit is refused, with those that are known."""
        with pytest.raises(ValueError, match=r"^the unit of an amount is msat, sat or BTC$"):
            LightMoney.parse(text)

    @pytest.mark.parametrize("text", ["0.5 msat", "0.0001 sat", "0.000000000001 BTC"])
    def test_no_fraction_of_a_millisatoshi(self, text: str) -> None:
        """What can't be paid can't be parsed."""
        with pytest.raises(ValueError, match="fraction"):
            LightMoney.parse(text)

    @pytest.mark.parametrize(
        ("msat", "text"),
        [
            (0, "0 sat"),
            (1_000, "1 sat"),
            (-1_000, "-1 sat"),
            (1, "1 msat"),
            (-1_500, "-1500 msat"),
            (10_001, "10001 msat"),
        ],
    )
    def test_str(self, msat: int, text: str) -> None:
        """Whole satoshi are shown as such, anything finer as millisatoshi."""
        assert str(LightMoney(msat)) == text

    @given(amounts)
    def test_round_trip(self, amount: LightMoney) -> None:
        """What is shown can be parsed."""
        assert LightMoney.parse(str(amount)) == amount

    @given(st.text())
    def test_one_kind_of_error(self, text: str) -> None:
        """Any text parses or raises ValueError."""
        try:
            LightMoney.parse(text)
        except ValueError:
            return


class TestArithmetic:
    """Calculating with amounts."""

    @given(halves, halves)
    def test_sum_and_difference(self, left: LightMoney, right: LightMoney) -> None:
        """Sums and differences are those of the millisatoshi."""
        assert (left + right).msat == left.msat + right.msat
        assert (left - right).msat == left.msat - right.msat
        assert left + right == right + left
        assert left + right - right == left

    @given(st.integers(-1_000, 1_000), st.integers(-MAX // 1_000, MAX // 1_000))
    def test_multiple(self, factor: int, msat: int) -> None:
        """A multiple by a whole number, from either side."""
        assert LightMoney(msat) * factor == factor * LightMoney(msat) == LightMoney(msat * factor)

    @given(amounts)
    def test_sign(self, amount: LightMoney) -> None:
        """Negation turns the sign, `abs` drops it."""
        assert (-amount).msat == -amount.msat
        assert abs(amount).msat == abs(amount.msat)
        assert amount + -amount == LightMoney.ZERO

    @given(amounts)
    def test_truth(self, amount: LightMoney) -> None:
        """Only zero is false."""
        assert bool(amount) is (amount.msat != 0)
        assert not LightMoney.ZERO

    @given(st.lists(st.integers(0, 10**15).map(LightMoney), min_size=1))
    def test_order(self, given_amounts: list[LightMoney]) -> None:
        """Amounts are ordered, summed, and have a least and a greatest, as their millisatoshi."""
        counted = [amount.msat for amount in given_amounts]

        assert [amount.msat for amount in sorted(given_amounts)] == sorted(counted)
        assert (min(given_amounts).msat, max(given_amounts).msat) == (min(counted), max(counted))
        assert sum(given_amounts, LightMoney.ZERO).msat == sum(counted)

    @given(st.integers(-MAX, MAX), st.integers(1, 200))
    def test_split(self, msat: int, parts: int) -> None:
        """The parts add up, and differ by one millisatoshi at most."""
        split = LightMoney(msat).split(parts)

        assert len(split) == parts
        assert sum(split, LightMoney.ZERO) == LightMoney(msat)
        assert max(split) - min(split) <= LightMoney(1)

    def test_split_into_nothing(self) -> None:
        """There is no way to divide by nothing."""
        with pytest.raises(ValueError, match=r"^an amount is split into one part or more$"):
            LightMoney(1).split(0)

    @pytest.mark.parametrize("parts", [2.0, True, "2", Decimal(2)])
    def test_split_by_a_whole_number(self, parts: Any) -> None:
        """The number of parts is counted, with an int."""
        with pytest.raises(TypeError, match=rf"^the number of parts is an int, not {type(parts).__name__}$"):
            LightMoney(1).split(parts)

    @pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.lt, operator.ge, operator.mul])
    @pytest.mark.parametrize("other", [1.0, Decimal(1), "1", True, None])
    def test_amounts_only(self, operation: Callable[[Any, Any], object], other: object) -> None:
        """An amount is neither added to nor compared with a bare number, and multiplied by an int only."""
        with pytest.raises(TypeError):
            operation(LightMoney(1), other)
        with pytest.raises(TypeError):
            operation(other, LightMoney(1))

    @pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.lt])
    def test_no_bare_number(self, operation: Callable[[Any, Any], object]) -> None:
        """An int is no amount: nothing says of what."""
        with pytest.raises(TypeError):
            operation(LightMoney(1), 1)

    @pytest.mark.parametrize("operation", [operator.truediv, operator.floordiv, operator.mod])
    def test_no_division(self, operation: Callable[[Any, Any], object]) -> None:
        """Division would lose millisatoshi: `split` does not."""
        with pytest.raises(TypeError):
            operation(LightMoney(1), 2)

    def test_no_product_of_amounts(self) -> None:
        """An amount times an amount means nothing."""
        with pytest.raises(TypeError):
            LightMoney(1) * LightMoney(1)  # type: ignore[operator]  # a wrong type is the point


class TestValue:
    """An amount is a value."""

    def test_frozen(self) -> None:
        """An amount never changes."""
        with pytest.raises(FrozenInstanceError):
            LightMoney(1).msat = 2  # type: ignore[misc]  # that it can't be is the point

    def test_equality(self) -> None:
        """Equal amounts hash alike; an amount is not a number."""
        assert len({LightMoney(1_000), LightMoney.from_sat(1)}) == 1
        assert LightMoney(1) != 1  # type: ignore[comparison-overlap]  # that they never are is the point

    def test_pickle(self) -> None:
        """An amount survives a pickle."""
        assert pickle.loads(pickle.dumps(LightMoney(5))) == LightMoney(5)  # noqa: S301 - made on this very line
