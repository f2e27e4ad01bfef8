"""A market in a box: the sandbox's custodian and a price service on a clock of their own, and a merchant who asks.

No network and no waiting; the same seed gives the same story.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Final

from connection_strings.errors import AmountMismatch
from flash_driver.flash_api.replies import PriceTick
from flash_driver.money.amount_search import MOST_REQUESTS, AmountSearch
from flash_driver.money.rate_book import RateBook
from flash_driver.money.server_price import ServerPrice
from flash_driver.sandbox.bank.custodian import Custodian

if TYPE_CHECKING:
    from flash_driver.sandbox.options import Currency, InvoiceRounding, InvoiceUnit

__all__ = ["Market", "Movement", "Scenario", "Tally", "run"]

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DECIMALS: Final = {"USD": 6, "USDT": 4}
_SEC: Final = 1_000_000
_WARM_UP: Final = 20
_TICK_EVERY: Final = 30 * _SEC
_WALK_EVERY: Final = _SEC
_TRIP: Final = 80_000
_PRICE: Final = Decimal("97531.86")


class Movement(Enum):
    """How the price goes, at the scenario's percent per minute."""

    STILL = "still"
    LINE = "line"
    WALK = "walk"
    JUMP = "jump"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A custodian, a market and a merchant.

    Attributes:
        movement: LINE goes straight and turns every five minutes or so, WALK is Brownian (a step a second), JUMP
            changes with each tick of the price service only.
        drift: Percent a minute (for WALK and JUMP: the standard deviation).
        spread_drift: Percent a minute that the spread itself wanders.
        feed_noise: Percent by which each tick of the price service is off by chance: the custodian has another feed.
        tolerance: None for an exact amount; else how many percent more will do.
        gap_seconds: Mean time between two invoices.
        ticks: Whether the price service is heard, every 30 s.
        largest_sat: Amounts are spread evenly over the orders of magnitude from 1 sat to this.

    """

    currency: Currency = "USD"
    unit: InvoiceUnit = "msat"
    rounding: InvoiceRounding = "half-even"
    movement: Movement = Movement.STILL
    drift: Decimal = Decimal(0)
    spread: Decimal = Decimal("0.004")
    spread_drift: Decimal = Decimal(0)
    feed_noise: Decimal = Decimal(0)
    tolerance: Decimal | None = None
    gap_seconds: int = 10
    ticks: bool = True
    largest_sat: int = 100_000_000

    def __str__(self) -> str:
        moved = self.drift or self.spread_drift or self.feed_noise
        return f"{self.currency:4} {self.unit:4} {self.rounding:9} {self.movement.value:5} {moved:>4} %/min"


@dataclass
class Tally:
    """How many amounts were had at the first, second and third request, and how many not at all.

    Attributes:
        by_request: Index 0 is the first request, the last one counts refusals.
        steady: The same, of the amounts for which the rate moved less than the rounding forgives (half a step) since
            it was last shown to that precision, by a tick or by an invoice as large.
        impossible: Of the refused ones, those that no number of cents leads to at any one rate.
        requests: How many invoices were asked for in all.

    """

    by_request: list[int] = field(default_factory=lambda: [0] * (MOST_REQUESTS + 1))
    steady: list[int] = field(default_factory=lambda: [0] * (MOST_REQUESTS + 1))
    impossible: int = 0
    requests: int = 0

    @property
    def amounts(self) -> int:
        """How many amounts were asked for."""
        return sum(self.by_request)

    def share(self, place: int, *, steady: bool = False) -> str:
        """A count as a percentage, with two decimals."""
        counts = self.steady if steady else self.by_request
        return f"{Decimal(100 * counts[place]) / sum(counts):6.2f}" if any(counts) else "     -"


class Market:
    """The custodian and its price, moved along in time."""

    def __init__(self, scenario: Scenario, dice: random.Random) -> None:
        self._scenario = scenario
        self._dice = dice
        self.now = 0
        self.custodian = Custodian(
            usd_per_btc=_PRICE,
            spread=scenario.spread,
            drift_percent_per_minute=Decimal(0),
            unit=scenario.unit,
            rounding=scenario.rounding,
            clock=self.clock,
        )
        self.price = ServerPrice(self.clock)
        self.book = RateBook(_DECIMALS[scenario.currency], self.price, self.clock)
        self._turn_at, self._walk_at, self._tick_at = 0, _WALK_EVERY, 0

    def clock(self) -> datetime:
        """Return the time of this market."""
        return _START + timedelta(microseconds=self.now)

    def move_to(self, moment: int) -> None:
        """Let time pass until then, and happen what happens meanwhile."""
        while (event := min(self._turn_at, self._walk_at, self._tick_at)) <= moment:
            self.now = event
            if event == self._turn_at:
                self._turn()
            elif event == self._walk_at:
                self._walk()
            else:
                self._tick()
        self.now = moment

    def _turn(self) -> None:
        self._turn_at += self._dice.randint(1, 600) * _SEC
        if self._scenario.movement is Movement.LINE:
            price = self.custodian.usd_per_btc
            up = price < _PRICE * 9 / 10 or (price < _PRICE * 11 / 10 and self._dice.random() < 0.5)
            self.custodian.set_price(drift_percent_per_minute=self._scenario.drift if up else -self._scenario.drift)

    def _walk(self) -> None:
        self._walk_at += _WALK_EVERY
        if self._scenario.movement is Movement.WALK:
            self._shift(_WALK_EVERY)
        if self._scenario.spread_drift:
            change = self._normal() * self._scenario.spread_drift / 100 * Decimal(_WALK_EVERY) / (60 * _SEC)
            self.custodian.set_price(spread=1 - self.custodian.bid / self.custodian.usd_per_btc + change)

    def _tick(self) -> None:
        if self._scenario.movement is Movement.JUMP:
            self._shift(_TICK_EVERY)
        self._tick_at += _TICK_EVERY
        if self._scenario.ticks or not self.book.known:
            self.tell_price()

    def tell_price(self) -> None:
        """Let the price service tell its price, as when it is asked."""
        quote = self.custodian.quote()
        price = Decimal(quote.sat_base).scaleb(-quote.sat_offset)
        if self._scenario.feed_noise:
            price *= 1 + self._normal() * self._scenario.feed_noise / 100
        self.price.see(PriceTick(price, datetime.fromtimestamp(quote.timestamp, UTC)))

    def _shift(self, length: int) -> None:
        part = (Decimal(length) / (60 * _SEC)).sqrt()
        self.custodian.set_price(
            usd_per_btc=self.custodian.usd_per_btc * (1 + self._normal() * self._scenario.drift / 100 * part)
        )

    def _normal(self) -> Decimal:
        return Decimal(self._dice.gauss(0, 1))


def run(scenario: Scenario, amounts: int, seed: int = 1) -> Tally:
    """Ask for random amounts, one after the other, and count how many requests each took."""
    dice = random.Random(seed)  # noqa: S311 - a game, no secret
    tally = Tally()
    market = Market(scenario, dice)
    book = market.book
    memory = _Memory(1000 if scenario.unit == "sat" else 1)
    for number in range(amounts + _WARM_UP):
        market.move_to(market.now + dice.randint(_SEC // 10, 2 * scenario.gap_seconds * _SEC))
        sat = min(scenario.largest_sat, int(Decimal(scenario.largest_sat) ** Decimal(dice.random())))
        steady = memory.steady(sat, market.custodian.bid)
        place, impossible = _ask(scenario, market, book, sat * 1000, tally)
        memory.show(sat, market.custodian.bid)
        if number < _WARM_UP:
            tally = Tally()
            continue
        tally.by_request[place] += 1
        tally.impossible += impossible
        if steady and not impossible:
            tally.steady[place] += 1
    return tally


def _ask(scenario: Scenario, market: Market, book: RateBook, msat: int, tally: Tally) -> tuple[int, bool]:
    """Ask until it is right, as the driver does; return at which request it was, and whether it could not be."""
    search = AmountSearch(msat, scenario.tolerance)
    for place in range(MOST_REQUESTS + 1):
        try:
            quote = search.next_quote(book)
        except AmountMismatch:
            if search.best_msat is not None:
                return place - 1, False
            return MOST_REQUESTS, not _possible(scenario, market, msat)
        market.move_to(market.now + _TRIP // 2)
        tally.requests += 1
        got = market.custodian.msat_for(market.custodian.accept(quote.cents, scenario.currency))
        market.move_to(market.now + _TRIP // 2)
        book.learn(quote, got)
        if search.settle(quote, got):
            return place, False
    raise AssertionError("a search ends by itself")


def _possible(scenario: Scenario, market: Market, msat: int) -> bool:
    """Whether any number of cents leads to this amount at the rate of this moment."""
    unit = Decimal(1).scaleb(-_DECIMALS[scenario.currency])
    near = (msat * market.custodian.bid / 10**9).quantize(unit)
    return any(market.custodian.msat_for(near + offset * unit) == msat for offset in range(-12, 13))


class _Memory:
    """What has been shown of the rate so far, and where it went since."""

    def __init__(self, step_msat: int) -> None:
        self._step_msat = step_msat
        self._path: list[Decimal] = []
        self._shown: dict[int, int] = {}

    def show(self, sat: int, bid: Decimal) -> None:
        """An invoice of this size showed the rate; what smaller ones showed is no longer needed."""
        self._path.append(bid)
        here = len(self._path) - 1
        self._shown = {size: place for size, place in self._shown.items() if size > sat} | {sat: here}

    def steady(self, sat: int, bid: Decimal) -> bool:
        """Whether the rate never left the place where it was last shown, as far as such an invoice can tell."""
        places = [place for size, place in self._shown.items() if size >= sat]
        if not places:
            return False
        path = [*self._path[places[-1] :], bid]
        moved = (max(path) - min(path)) / path[0]
        return moved * sat * 1000 * 2 < self._step_msat
