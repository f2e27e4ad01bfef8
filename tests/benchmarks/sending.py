"""What the payee of an amountless BOLT11 gets, against the amount named.

    python -m tests.benchmarks.sending --amounts 4000

Random amounts from 1 sat to 1 BTC, evenly over the orders of magnitude, one a minute on average, are bought from the
sandbox's custodian. Before each payment the driver asks for the price, and what an own invoice over 5,000 sat would
cost; 80 ms later the money is sent. No network and no waiting; the same seed gives the same figures. The first line of
each pair is what the driver sent before it learned the rate of sending: what the amount is worth at the price.
"""

from __future__ import annotations

import argparse
import logging
import random
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import structlog

from flash_driver.money.sending_rate import SendingRate
from tests.benchmarks.market import Market, Movement, Scenario

__all__ = ["SCENARIOS", "Shortfall", "main", "run"]

_SEC: Final = 1_000_000
_TRIP: Final = 80_000
_GAP: Final = 60 * _SEC
_OWN_INVOICE_MSAT: Final = 5_000_000
_UNIT_MSAT: Final = 2
_MOST_SAT: Final = Decimal(100_000_000)
_DECIMALS: Final = {"USD": 6, "USDT": 4}
_STEPS: Final = {"USD": Decimal("0.01"), "USDT": Decimal(1)}

SCENARIOS: Final = {
    "stands still, USD": Scenario(),
    "stands still, USDT": Scenario(currency="USDT"),
    "stands still, spread 2 %": Scenario(spread=Decimal("0.02")),
    "moves with the ticks, 1 % a minute": Scenario(movement=Movement.JUMP, drift=Decimal(1)),
    "by chance each second, 0.1 % in a minute": Scenario(movement=Movement.WALK, drift=Decimal("0.1")),
    "the spread goes by chance, 0.1 % in a minute": Scenario(spread_drift=Decimal("0.1")),
    "the price that is told is off by 0.02 %": Scenario(feed_noise=Decimal("0.02")),
}


@dataclass(frozen=True)
class Shortfall:
    """How what arrived differs from what was named, over many payments.

    Attributes:
        less: How many payees got less than was named, in percent.
        least: The largest difference below, in percent of the amount.
        median: The difference in the middle, in percent: above zero is more than named.
        most: The largest difference above.

    """

    less: Decimal
    least: Decimal
    median: Decimal
    most: Decimal

    def __str__(self) -> str:
        return f"{self.less:7.2f} {self.least:9.4f} {self.median:9.4f} {self.most:9.4f}"


def run(scenario: Scenario, amounts: int, *, learning: bool, seed: int = 1) -> Shortfall:
    """Pay random amounts one after the other, and compare what arrives with them to two millisatoshi.

    Args:
        scenario: The custodian and the market.
        amounts: How many payments.
        learning: Whether the rate of sending is learned.
        seed: Of the random amounts and of the market.

    """
    dice = random.Random(seed)  # noqa: S311 - a game, no secret
    market = Market(scenario, dice)
    decimals, step = _DECIMALS[scenario.currency], _STEPS[scenario.currency]
    rate = SendingRate(decimals, market.price, market.clock)
    differences = []
    for _ in range(amounts):
        market.move_to(market.now + dice.randint(_SEC, 2 * _GAP))
        named = int(_MOST_SAT ** Decimal(dice.random())) * 1000
        market.tell_price()
        if learning:
            cost = market.custodian.cost_of(_OWN_INVOICE_MSAT).quantize(step, ROUND_HALF_EVEN)
            rate.learn(_OWN_INVOICE_MSAT, cost, step)
        cents = rate.quote(named)
        market.move_to(market.now + _TRIP)
        arrives = market.custodian.msat_bought(market.custodian.accept(cents, scenario.currency))
        difference = Decimal(arrives - named)
        differences.append(difference * 100 / named if abs(difference) > _UNIT_MSAT else Decimal(0))
    differences.sort()
    less = Decimal(100 * sum(each < 0 for each in differences)) / amounts
    return Shortfall(less, min(differences[0], Decimal(0)), differences[amounts // 2], max(differences[-1], Decimal(0)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amounts", type=int, default=4000, help="payments per scenario")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same figures")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"{'':45} {'less, %':>7} {'least, %':>9} {'median, %':>9} {'most, %':>9}")  # noqa: T201 - prints
    for name, scenario in SCENARIOS.items():
        for learning in (False, True):
            told = run(scenario, arguments.amounts, learning=learning, seed=arguments.seed)
            print(f"{name if not learning else '':45} {told}", flush=True)  # noqa: T201 - prints


if __name__ == "__main__":
    main()
