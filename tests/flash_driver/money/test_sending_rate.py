"""The rate of sending: learned from what the server says that payments cost, and rounded for the payee."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_driver.flash_api.replies import PriceTick
from flash_driver.money.rate_book import RateBook
from flash_driver.money.sending_rate import SendingRate
from flash_driver.money.server_price import RateUnknown, ServerPrice

START = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = Decimal("0.097531")


@dataclass
class Custodian:
    """Sells bitcoin at a rate of its own, on a clock of its own.

    Attributes:
        over: By which factor its rate lies above the price.
        step: What it rounds the cost of a payment to when it is asked, in cents.
        decimals: How many decimals of a cent it sells for.

    """

    over: Decimal = Decimal("1.004")
    step: Decimal = Decimal("0.01")
    decimals: int = 6
    price: Decimal = PRICE
    now: datetime = START

    def __post_init__(self) -> None:
        self.told = ServerPrice(lambda: self.now)
        self.rate = SendingRate(self.decimals, self.told, lambda: self.now)
        self.tell()

    def tell(self, *, after: timedelta = timedelta(0)) -> None:
        """Tell the price, that much later."""
        self.now += after
        self.told.see(PriceTick(self.price, self.now))

    def answers(self, msat: int) -> None:
        """Answer what a payment costs."""
        cost = (msat * self.price * self.over / 1000).quantize(self.step, ROUND_HALF_EVEN)
        self.rate.learn(msat, cost, self.step)

    def sells(self, msat: int) -> int:
        """Return what arrives, in millisatoshi, when this amount is named."""
        cents = self.rate.quote(msat)
        assert cents == cents.quantize(Decimal(1).scaleb(-self.decimals))
        return int((cents * 1000 / (self.price * self.over)).to_integral_value(ROUND_FLOOR))


@pytest.mark.parametrize(("step", "decimals", "spare"), [("0.01", 6, 30), ("1", 4, 2500)])
def test_the_payee_gets_at_least_the_amount_named(step: str, decimals: int, spare: int) -> None:
    """One answer teaches the rate of sending; the payee then gets the amount, and hardly more, in both currencies."""
    custodian = Custodian(step=Decimal(step), decimals=decimals)
    assert custodian.sells(5_000_000) < 4_990_000
    custodian.answers(5_000_000)
    assert 5_000_000 <= custodian.sells(5_000_000) <= 5_000_000 + spare * 5


@given(
    lesson=st.integers(100_000, 10**11),
    named=st.integers(1, 10**11),
    over=st.decimals("0.96", "1.04", places=6),
    usdt=st.booleans(),
)
def test_never_less_once_it_is_known_well(lesson: int, named: int, over: Decimal, usdt: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever the custodian takes, an answer that shows its rate to half a percent lets no payee get less."""
    custodian = Custodian(over, Decimal(1 if usdt else "0.01"), 4 if usdt else 6)
    custodian.answers(lesson)
    if custodian.step * 250 < lesson * custodian.price / 1000:
        arrives = custodian.sells(named)
        smallest = Decimal(1000).scaleb(-custodian.decimals) / (custodian.price * custodian.over)
        assert named <= arrives <= named * Decimal("1.00505") + smallest + 1


def test_a_coarse_answer_moves_the_price_no_further_than_it_proves() -> None:
    """Whole cents of a small payment prove little: the price is kept, as near as that allows."""
    custodian = Custodian(step=Decimal(1), decimals=4)
    custodian.answers(100_000)
    assert custodian.rate.quote(1_000_000) == Decimal("97.5310")


def test_it_follows_the_price() -> None:
    """What was learned is by how much the rate lies above the price, so it holds when the price has moved."""
    custodian = Custodian()
    custodian.answers(50_000_000)
    custodian.price *= Decimal("1.01")
    custodian.tell(after=timedelta(minutes=1))
    assert 1_000_000 <= custodian.sells(1_000_000) <= 1_000_010


def test_a_changed_rate_is_learned_at_once() -> None:
    """An answer that contradicts the earlier ones takes their place."""
    custodian = Custodian()
    custodian.answers(50_000_000)
    custodian.over = Decimal("1.012")
    custodian.answers(50_000_000)
    assert 1_000_000 <= custodian.sells(1_000_000) <= 1_000_010


def test_a_coarse_answer_takes_nothing_from_a_fine_one() -> None:
    """What proves less and agrees leaves a finer answer in its place, which grows no younger by that."""
    custodian = Custodian(step=Decimal(1), decimals=4)
    custodian.answers(10_000_000_000)
    exact = custodian.rate.quote(1_000_000)
    custodian.tell(after=timedelta(minutes=9))
    custodian.answers(5_000_000)
    assert custodian.rate.quote(1_000_000) == exact
    custodian.tell(after=timedelta(minutes=2))
    custodian.answers(5_000_000)
    assert custodian.rate.quote(1_000_000) > exact


def test_what_was_learned_grows_old() -> None:
    """After ten minutes nothing is left of it but the price."""
    custodian = Custodian()
    custodian.answers(50_000_000)
    custodian.tell(after=timedelta(minutes=11))
    assert custodian.rate.quote(1_000_000) == Decimal("97.531000")


@pytest.mark.parametrize("cents", ["0", "-5", "48.7655", "195.062"])
def test_an_absurd_answer_changes_nothing(cents: str) -> None:
    """Money is sent at no rate that lies more than five percent from the server's price."""
    custodian = Custodian()
    custodian.rate.learn(1_000_000, Decimal(cents), custodian.step)
    assert custodian.rate.quote(1_000_000) == Decimal("97.531000")


def test_nothing_is_sent_or_learned_without_a_price_of_now() -> None:
    """However well the rate was learned, the server has to tell its price within the last minute."""
    custodian = Custodian()
    custodian.answers(50_000_000)
    custodian.now += timedelta(seconds=61)
    with pytest.raises(RateUnknown):
        custodian.rate.quote(1000)
    untaught = SendingRate(6, custodian.told, lambda: custodian.now)
    untaught.learn(1_000_000, Decimal("97.9"), Decimal("0.01"))
    custodian.tell()
    assert untaught.quote(1_000_000) == Decimal("97.531000")


def test_it_learns_nothing_from_receiving() -> None:
    """What invoices taught lies on the other side of the price: the two rates know nothing of each other."""
    custodian = Custodian()
    receiving = RateBook(6, custodian.told, lambda: custodian.now)
    receiving.learn(receiving.quote(1_000_000_000), 1_005_000_000)
    assert receiving.quote(1_000_000).cents < Decimal("97.2")
    assert custodian.rate.quote(1_000_000) == Decimal("97.531000")
