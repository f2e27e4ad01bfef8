"""How often the amount asked for is the amount in the BOLT11, and after how many requests.

    python -m tests.benchmarks.money --amounts 10000

Random amounts from 1 sat to 1 BTC, evenly over the orders of magnitude, are asked of the sandbox's custodian by the
driver's own rate book and correction loop, in scenarios of currency, rounding and market; without network, on a clock
of their own, the same for the same seed. The first twenty amounts of each scenario teach the rate and are not counted.

Columns: share of amounts had at the first, second and third request, and refused; of these refused, how many could not
be had at any request because the currency does not resolve them; invoices asked for per amount; and the share had at
the first request where the rate was *steady*: it did not leave, since an invoice at least as large had shown it, what
half a rounding step of this invoice forgives.
"""

from __future__ import annotations

import argparse
import logging
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from tests.benchmarks.market import Movement, Scenario, Tally, run

if TYPE_CHECKING:
    from flash_driver.sandbox.options import Currency, InvoiceRounding, InvoiceUnit

__all__ = ["SCENARIOS", "main", "row"]

_ONE: Final = Decimal(1)


def _scenarios() -> dict[str, list[Scenario]]:
    """Every scenario, under the heading that it is printed with."""
    line, walk, jump = Movement.LINE, Movement.WALK, Movement.JUMP
    drifts = [Decimal(text) for text in ("0.01", "0.1", "1")]
    units: tuple[InvoiceUnit, ...] = ("sat", "msat")
    roundings: tuple[InvoiceRounding, ...] = ("half-even", "down", "up")
    currencies: tuple[Currency, ...] = ("USD", "USDT")
    return {
        "the rate stands still": [
            Scenario(currency=currency, unit=unit, rounding=rounding)
            for currency in currencies
            for unit in units
            for rounding in roundings
        ],
        "other spreads": [
            Scenario(unit=unit, spread=Decimal(spread)) for unit in units for spread in ("-0.02", "0", "0.05")
        ],
        "the price that is told is another feed's, off by 0.02 %": [
            Scenario(unit=unit, movement=movement, drift=drift, feed_noise=Decimal("0.02"))
            for movement, drift in ((Movement.STILL, Decimal(0)), (jump, drifts[1]))
            for unit in units
        ],
        "the rate goes straight, without a pause, which no feed does": [
            Scenario(unit=unit, movement=line, drift=drift) for drift in drifts[:2] for unit in units
        ],
        "the rate goes by chance": [
            Scenario(unit=unit, movement=walk, drift=drift) for drift in drifts for unit in units
        ],
        "the rate changes with the price's ticks": [
            Scenario(unit=unit, movement=jump, drift=drift) for drift in drifts for unit in units
        ],
        "the spread goes by chance": [
            Scenario(unit=unit, spread_drift=drift) for drift in drifts[:2] for unit in units
        ],
        "one percent more will do, less will not": [
            Scenario(unit=unit, movement=movement, drift=drift, tolerance=_ONE)
            for movement in (jump, walk)
            for drift in drifts
            for unit in units
        ],
    }


SCENARIOS: Final = _scenarios()


def row(scenario: Scenario, tally: Tally) -> str:
    """One line of the table."""
    shares = " ".join(tally.share(place) for place in range(len(tally.by_request)))
    per_amount = f"{Decimal(tally.requests) / max(1, tally.amounts):.2f}"
    spread = f"{scenario.spread * 100:.1f}"
    steady = f"{tally.share(0, steady=True)} of {sum(tally.steady):5}"
    return f"{scenario} {spread:>5} % {shares} {tally.impossible:5} {per_amount:>6}  {steady}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amounts", type=int, default=10_000, help="random amounts per scenario")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same figures")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    began = time.monotonic()
    print(f"{arguments.amounts} amounts per scenario, seed {arguments.seed}; shares in percent\n")  # noqa: T201 - prints
    print("wallet unit rounding  market drift       spread  first second  third  none can't  asked  first if steady")  # noqa: T201 - prints
    for heading, scenarios in SCENARIOS.items():
        print(f"\n{heading}")  # noqa: T201 - prints
        for scenario in scenarios:
            print(row(scenario, run(scenario, arguments.amounts, arguments.seed)), flush=True)  # noqa: T201 - prints
    print(f"\n{time.monotonic() - began:.0f} s")  # noqa: T201 - prints


if __name__ == "__main__":
    main()
