"""The rate of a custodian who never tells it: learned, followed, and not believed when it is absurd."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flash_driver.flash_api.replies import PriceTick
from flash_driver.money.amount_search import AmountSearch
from flash_driver.money.rate_book import Quote, RateBook
from flash_driver.money.server_price import RateUnknown, ServerPrice
from tests.support.logs import recorded
from tests.support.thorough import cases

START = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = Decimal("0.097531")
SPREAD = Decimal("0.996")
BTC = 100_000_000_000


@dataclass
class Shop:
    """A rate book on a clock of its own, and a custodian to ask.

    Attributes:
        per_sat: The custodian's own rate, in cents per satoshi.

    """

    decimals: int = 6
    step: int = 1
    mode: str = ROUND_HALF_EVEN
    per_sat: Decimal = PRICE * SPREAD
    now: datetime = START

    def __post_init__(self) -> None:
        self.price = ServerPrice(lambda: self.now)
        self.book = RateBook(self.decimals, self.price, lambda: self.now)

    def tick(self, price: Decimal | str = PRICE, *, after: int = 0, told_at: datetime | None = None) -> None:
        """Let the price service speak, that many seconds later."""
        self.now += timedelta(seconds=after)
        self.book.see_price(PriceTick(Decimal(price), told_at or self.now.replace(microsecond=0)))

    def makes(self, cents: Decimal) -> int:
        """What that many cents come to, in millisatoshi."""
        return int((cents * 1000 / self.per_sat / self.step).quantize(Decimal(1), self.mode)) * self.step

    def ask(self, msat: int, *, most: int | None = None, after: int = 10) -> int:
        """Ask for an invoice once, learn from it, and return what it came to."""
        self.now += timedelta(seconds=after)
        quote = self.book.quote(msat, most=None if most is None else Decimal(most))
        got = self.makes(quote.cents)
        self.book.learn(quote, got)
        return got


def quote_of(cents: str) -> Quote:
    """Make a quote as a test needs it."""
    return Quote(Decimal(cents), Decimal("0.000001"), 0, learned=False)


# --- before anything is known ----------------------------------------------------------------------------------------


def test_invoices_of_one_moment_are_one_lesson() -> None:
    """Of many invoices made at once the largest teaches; a surprise among them teaches all the same."""
    shop = Shop()
    shop.tick()
    shop.ask(10_000_000)
    shop.ask(10_000_000)
    lessons: list[int] = []
    real = shop.book._teach
    shop.book._teach = lambda sighting, change: (lessons.append(sighting.msat), real(sighting, change))[1]  # type: ignore[method-assign,func-returns-value]  # looks on
    burst = [shop.ask(msat, after=0) for msat in (5_000_000, 9_000_000, 4_000_000, 20_000_000, 19_000_000, 1_000)]
    assert lessons == [burst[3]]
    shop.per_sat *= Decimal("1.001")
    shop.ask(18_000_000, after=0)
    assert len(lessons) == 2
    shop.ask(1_000_000)
    assert len(lessons) == 3


def test_a_small_invoice_spoils_no_later_one() -> None:
    """Ten satoshi tell the rate roughly: the first larger invoice may be off for that, and none after it."""
    shop = Shop()
    shop.tick()
    cents = (10 * shop.per_sat).quantize(Decimal("0.000001"))
    shop.book.seed([(START, cents, shop.makes(cents))])
    assert shop.makes(cents) == 10_000  # whole satoshi: whether this custodian makes fractions is not known yet
    first, *others = [shop.ask(1_000_000, most=1_010_000) for _ in range(5)]
    assert first > 1_000_000
    assert others == [1_000_000] * 4


def test_nothing_known_is_said() -> None:
    """Without a price and without an invoice there is no number to fall back to, least of all a built-in one."""
    book = Shop().book
    assert not book.known
    with pytest.raises(RateUnknown, match="gives no price and has made no invoice"):
        book.quote(1000)
    with pytest.raises(RateUnknown):
        book.to_msat(Decimal(1))
    with pytest.raises(RateUnknown):
        book.paid_msat(Decimal(1))
    with pytest.raises(RateUnknown):
        _ = book.cents_per_sat


def test_first_quote_is_the_servers_price() -> None:
    """The first request rests on the price alone: cents per satoshi times satoshi."""
    shop = Shop()
    shop.tick()
    quote = shop.book.quote(1_000_000)
    assert (quote.cents, quote.learned) == (Decimal("97.531000"), False)
    assert shop.book.cents_per_sat == (PRICE, START)


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("mode", [ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING])
def test_second_invoice_is_exact(step: int, mode: str) -> None:
    """One invoice teaches what a second one, as large or smaller, needs, however the custodian rounds."""
    shop = Shop(step=step, mode=mode)
    shop.tick()
    shop.ask(5_000_000_000)
    assert shop.ask(5_000_000_000) in (5_000_000_000, 5_000_000_000 - step, 5_000_000_000 + step)
    assert shop.book.quote(1000).learned
    right = [shop.ask(msat) == msat for msat in range(1_000_000, 2_000_000, 27_000)]
    assert all(right[5:])


@pytest.mark.parametrize("mode", [ROUND_FLOOR, ROUND_CEILING])
def test_learns_how_the_custodian_rounds(mode: str) -> None:
    """A custodian that rounds down or up is soon asked in the middle of what it rounds together."""
    shop = Shop(step=1000, mode=mode)
    shop.tick()
    for sat in (10_000_000, 1, 2, 3, 5, 8, 13, 21):
        shop.ask(sat * 1000)
    exact = shop.book.quote(5000).cents * 1000 / shop.per_sat
    assert abs(exact - (5500 if mode == ROUND_FLOOR else 4500)) < 5


@settings(deadline=None, max_examples=cases(20, 300))
@example([28_196_025_544, 1001, 55_307_911_178], ROUND_HALF_EVEN, Decimal("0.001"))
@given(
    st.lists(st.integers(1_000, BTC), min_size=3, max_size=10),
    st.sampled_from([ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING]),
    st.decimals(Decimal("0.001"), Decimal(5), places=9),
)
def test_whatever_was_had_is_had_again(amounts: list[int], mode: str, per_sat: Decimal) -> None:
    """At a rate that stands still, an amount that was missed is had within three requests, whatever came before."""
    shop = Shop(mode=mode, per_sat=per_sat, decimals=9)
    shop.tick(per_sat / SPREAD)
    for msat in amounts:
        shop.ask(msat)
    for msat in amounts:
        search = AmountSearch(msat, None)
        while True:
            quote = search.next_quote(shop.book)
            got = shop.makes(quote.cents)
            shop.book.learn(quote, got)
            if search.settle(quote, got):
                break


def test_follows_the_price() -> None:
    """When the price moves, the next request moves with it, before any invoice has told."""
    shop = Shop()
    shop.tick()
    shop.ask(10_000_000)
    shop.ask(10_000_000)
    shop.tick(PRICE * Decimal("1.02"), after=60)
    shop.per_sat *= Decimal("1.02")
    assert shop.ask(10_000_000) == 10_000_000


def test_old_lessons_give_way_to_the_price() -> None:
    """After ten minutes without an invoice only what follows the price is believed, whatever did better before."""
    shop = Shop()
    for step in range(10):  # the price moves, the custodian does not: it is learned to stand still
        shop.tick(PRICE * (1 + Decimal(step) / 1000), after=30)
        shop.ask(10_000_000)
    shop.tick(PRICE * Decimal("1.05"), after=300)
    still = shop.book.quote(10_000_000).cents
    shop.tick(PRICE * Decimal("1.05"), after=600)
    moved = shop.book.quote(10_000_000).cents
    assert moved / still - 1 > Decimal("0.03")


# --- amounts that must not come to less ------------------------------------------------------------------------------


def test_certain_rate_is_asked_exactly() -> None:
    """Where the rounding forgives all doubt, a tolerance changes nothing."""
    shop = Shop(step=1000)
    shop.tick()
    shop.ask(10_000_000_000)
    shop.ask(10_000_000_000)
    assert shop.ask(1_000_000, most=1_010_000) == 1_000_000


def test_restless_rate_is_asked_with_a_margin() -> None:
    """Where the rate jumps about, the aim is a little higher, half-way to the tolerance at the most."""
    shop = Shop()
    shop.tick()
    for turn in range(12):
        shop.per_sat = PRICE * SPREAD * (1 + Decimal(turn % 3) / 500)
        shop.ask(10_000_000)
    exact = shop.book.quote(10_000_000).cents
    careful = shop.book.quote(10_000_000, most=Decimal(10_100_000)).cents
    assert Decimal("0.001") < careful / exact - 1 <= Decimal("0.0051")
    assert shop.book.quote(10_000_000, most=Decimal(10_000_000)).cents - exact < Decimal("0.000002")


# --- what the server may say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "sNaN", "Infinity", "1e-12", "1e9", "0.000001", "97531"])
def test_absurd_price_changes_nothing(price: str) -> None:
    """A price of nothing, below nothing, or nowhere near the last one leaves the last good one in place."""
    shop = Shop()
    shop.tick()
    shop.tick(price, after=30)
    assert shop.book.cents_per_sat == (PRICE, START)


def test_no_price_changes_nothing() -> None:
    """A server that gives no price, or one that is no number, is the same as one that is silent."""
    shop = Shop()
    shop.tick()
    shop.book.see_price(None)
    assert shop.book.cents_per_sat == (PRICE, START)


def test_older_price_changes_nothing() -> None:
    """A price that was struck before the last one came too late."""
    shop = Shop()
    shop.tick()
    shop.tick(PRICE * 2, told_at=START - timedelta(seconds=1))
    assert shop.book.cents_per_sat == (PRICE, START)


def test_confirmed_jump_is_believed() -> None:
    """A price far from the last one is believed when the next one says the same, not when it says something else."""
    shop = Shop()
    shop.tick()
    with recorded() as story:
        shop.tick(PRICE * 2, after=30)
    assert [entry["event"] for entry in story.entries] == [
        "the server's price is far from its last one, not believed yet"
    ]
    shop.tick(PRICE * 5, after=30)
    assert shop.book.cents_per_sat[0] == PRICE
    shop.tick(PRICE * 5, told_at=shop.now)
    assert shop.book.cents_per_sat[0] == PRICE
    shop.tick(PRICE * Decimal("5.01"), after=30)
    assert shop.book.cents_per_sat[0] == PRICE * Decimal("5.01")


@pytest.mark.parametrize(("cents", "msat"), [("0", 1000), ("-5", 1000), ("5", 0), ("5", -1)])
def test_nonsense_teaches_nothing(cents: str, msat: int) -> None:
    """An invoice that has no rate teaches none."""
    shop = Shop()
    shop.tick()
    shop.book.learn(quote_of(cents), msat)
    assert not shop.book.quote(1000).learned


def test_wrong_invoice_teaches_nothing() -> None:
    """One invoice over twice the amount is an outlier: the next request is right all the same."""
    shop = Shop()
    shop.tick()
    shop.ask(10_000_000)
    shop.now += timedelta(seconds=10)
    quote = shop.book.quote(10_000_000)
    with recorded() as story:
        shop.book.learn(quote, shop.makes(quote.cents) * 2)
    assert [entry["event"] for entry in story.entries] == [
        "the custodian's rate is far from the server's price, not believed"
    ]
    assert shop.ask(10_000_000) == 10_000_000


def test_outlier_within_reach_of_the_price_has_to_be_confirmed() -> None:
    """A custodian ten percent off is believed the second time, and not if the second time says something else."""
    shop = Shop()
    shop.tick()
    shop.ask(10_000_000)
    good = shop.per_sat
    shop.per_sat = good * Decimal("1.1")
    with recorded() as story:
        assert shop.ask(10_000_000, after=1) < 9_200_000
    assert story.entries[0]["event"] == "the custodian's rate is far from its last one, not believed yet"
    shop.per_sat = good * Decimal("0.9")
    assert shop.ask(10_000_000, after=1) > 11_000_000
    shop.per_sat = good
    assert shop.ask(10_000_000, after=1) == 10_000_000
    shop.per_sat = good * Decimal("1.1")
    shop.ask(10_000_000, after=1)
    shop.ask(10_000_000, after=1)
    assert shop.ask(10_000_000, after=1) == 10_000_000


def test_without_a_price_the_custodian_is_the_only_witness() -> None:
    """Once the price is an hour old, a custodian far from it is believed when it says so twice."""
    shop = Shop()
    shop.tick()
    shop.ask(10_000_000)
    shop.per_sat *= 3
    assert shop.ask(10_000_000, after=2 * 3600) < 4_000_000
    assert shop.ask(10_000_000) < 4_000_000
    assert abs(shop.ask(10_000_000) - 10_000_000) < 5
    assert shop.ask(10_000_000) == 10_000_000


def test_price_down_leaves_what_was_learned() -> None:
    """Without any price, what an invoice taught is enough to quote, to tell a rate and to convert."""
    shop = Shop()
    shop.book.learn(quote_of("97.531"), 1_000_000)
    assert shop.book.known
    assert round(shop.book.quote(2_000_000).cents, 3) == Decimal("195.062")
    rate, time = shop.book.cents_per_sat
    assert (round(rate, 6), time) == (PRICE, START)
    assert shop.book.to_msat(Decimal("97.531")) in (999_999, 1_000_000)


# --- conversions -----------------------------------------------------------------------------------------------------


def test_balance_is_worth_the_price_and_a_payment_the_custodians_rate() -> None:
    """What cents are worth is told by the price; what was paid in for them, by the custodian, who keeps a spread."""
    shop = Shop()
    shop.tick()
    assert shop.book.paid_msat(Decimal("97.531")) == 1_000_000
    shop.ask(10_000_000_000)
    assert shop.book.to_msat(Decimal("97.531")) == 1_000_000
    assert shop.book.paid_msat(PRICE * SPREAD * 1000) == 1_000_000


def test_large_amounts_fit_a_double() -> None:
    """The server reads doubles: no quote has more digits than one holds, and the unit says what is left."""
    shop = Shop()
    shop.tick()
    quote = shop.book.quote(21_000_000 * BTC)
    assert len(quote.cents.as_tuple().digits) <= 15
    assert quote.unit == 1
    assert shop.book.quote(BTC).unit == Decimal("0.000001")


def test_tenthousandth_cents() -> None:
    """A USDT wallet is asked with four decimals of a cent (flash-server.md 6)."""
    shop = Shop(decimals=4)
    shop.tick()
    assert shop.book.quote(1000).cents == Decimal("0.0975")
    assert shop.book.quote(1).cents == Decimal("0.0001")
    assert str(shop.book.quote(123_456_789_000).cents) == "12040864.0880"


# --- what is shared ---------------------------------------------------------------------------------------------------


def test_a_price_from_the_future_does_not_freeze_the_rate() -> None:
    """A price dated far ahead of the last one is not believed, so that later ones are not older than it."""
    shop = Shop()
    shop.tick()
    shop.tick("0.0976", told_at=shop.now + timedelta(seconds=901))
    shop.tick("0.0974", after=1)
    assert shop.book.cents_per_sat[0] == Decimal("0.0974")


def test_threads_take_turns() -> None:
    """While one thread is learning, another that quotes waits for it."""
    shop = Shop()
    shop.tick()
    inside, leave, quoted = threading.Event(), threading.Event(), threading.Event()

    def slowly() -> datetime:
        inside.set()
        leave.wait(30)
        return shop.now

    def quote() -> None:
        shop.book.quote(1000)
        quoted.set()

    shop.book._clock = slowly
    learner = threading.Thread(target=shop.book.learn, args=(quote_of("9.7"), 100_000))
    learner.start()
    assert inside.wait(30)
    shop.book._clock = lambda: shop.now
    other = threading.Thread(target=quote)
    other.start()
    assert not quoted.wait(0.1)
    leave.set()
    assert quoted.wait(30)
    for thread in (learner, other):
        thread.join()


# --- what the journal knows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "exact"), [(1, True), (59, True), (61, False), (-5, False)])
def test_a_seed_serves_for_an_hour(minutes: int, *, exact: bool) -> None:
    """What invoices of before have shown is quoted, unless they are older than an hour or dated in the future."""
    shop = Shop()
    shop.tick()
    cents = Decimal("97531.86")
    shop.book.seed([(START - timedelta(minutes=minutes), cents, shop.makes(cents))])
    assert not shop.book.learned
    assert not shop.book.wants_seed
    quote = shop.book.quote(1_000_000)
    assert quote.learned == exact
    assert (shop.makes(quote.cents) == 1_000_000) == exact


def test_a_seed_far_from_the_price_is_not_believed() -> None:
    """An invoice that would short-change the merchant teaches nothing, wherever it comes from."""
    shop = Shop()
    shop.tick()
    shop.book.seed([(START, Decimal(10_000), 50_000_000)])
    assert not shop.book.quote(1_000_000).learned


def test_what_this_process_has_learned_needs_no_seed() -> None:
    """An invoice of now says more than any of before."""
    shop = Shop()
    shop.tick()
    shop.ask(10_000_000)
    assert shop.book.learned
    assert not shop.book.wants_seed
    before = shop.book.quote(1_000_000)
    shop.book.seed([(START, Decimal(1_000), 10_000_000)])
    assert shop.book.quote(1_000_000) == before
