"""What reading and writing a BOLT11 costs, and that it comes out right: `python -m tests.benchmarks.bolt11_reading`.

Random invoices in all forms are read by the package `bolt11` and by the driver, in turns, and what they read is
compared field by field. Then both read, and write, one invoice as the sandbox makes it. Each figure is the median of
five rounds, CPU time in microseconds for each invoice.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

import bolt11

from flash_driver.sandbox.bank.signer import InvoiceSigner
from tests.support.bolt11s import random_invoice, read_by_package, read_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connection_strings.bolt11.reader import Bolt11

__all__ = ["Figures", "differing", "main", "measure"]

_ROUNDS: Final = 5
_TYPICAL: Final = 100
"""How often a round reads and writes the typical invoice."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Nanoseconds of CPU for each invoice, in each round: of the package and of the driver."""

    package: tuple[int, ...]
    driver: tuple[int, ...]

    def __str__(self) -> str:
        """Write the medians in microseconds, and how many times as fast the driver is."""
        package, driver = median(self.package), median(self.driver)
        return f"{package / 1000:8.0f} us {driver / 1000:8.0f} us {package / driver:6.1f} times as fast"


def differing(texts: Sequence[str], driver: Callable[[str], Bolt11] = read_signed) -> list[str]:
    """Return the invoices of which package and driver do not read the same."""
    return [text for text in texts if not _same(text, driver)]


def _same(text: str, driver: Callable[[str], Bolt11]) -> bool:
    try:
        return driver(text) == read_by_package(text)
    except ValueError:
        return False


def measure(
    package: Callable[[str], object], driver: Callable[[str], object], rounds: Sequence[Sequence[str]]
) -> Figures:
    """Let both do the same with each text, in turns."""
    figures: list[tuple[int, int]] = []
    for texts in rounds:
        spent = [0, 0]
        for text in texts:
            for place, work in enumerate((package, driver)):
                began = time.thread_time_ns()
                work(text)
                spent[place] += time.thread_time_ns() - began
        figures.append((spent[0] // len(texts), spent[1] // len(texts)))
    return Figures(tuple(each for each, _ in figures), tuple(each for _, each in figures))


def _typical() -> list[tuple[str, Figures]]:
    """Measure with one invoice as the sandbox makes it."""
    signer, now = InvoiceSigner(), datetime.now(UTC)

    def write(_text: str = "") -> str:
        expiry = timedelta(minutes=1)
        return signer.sign(msat=1_004_016, description="coffee and a cake", now=now, expiry=expiry).payment_request

    text = write()
    found, key = bolt11.decode(text), signer.private_key.hex()
    rounds = [[text] * _TYPICAL] * _ROUNDS
    return [
        (f"reads one of {len(text)} characters", measure(bolt11.decode, read_signed, rounds)),
        (f"writes one of {len(text)} characters", measure(lambda _text: bolt11.encode(found, key), write, rounds)),
    ]


def main() -> None:
    """Compare, and print the table; the exit status is 1 if anything was read differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--invoices", type=int, default=10_000, help="random invoices, at least 5")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same invoices")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)  # noqa: S311 - repeatable on purpose
    texts = [random_invoice(dice) for _ in range(max(_ROUNDS, arguments.invoices))]
    others = differing(texts)
    print(f"{len(texts)} random invoices, seed {arguments.seed}: {len(others)} read differently")  # noqa: T201 - prints
    print(*others, sep="\n", end="")  # noqa: T201 - prints
    at_random = measure(bolt11.decode, read_signed, [texts[place::_ROUNDS] for place in range(_ROUNDS)])
    length = sum(map(len, texts)) // len(texts)
    print(f"\n{'':34}    package      driver")  # noqa: T201 - prints
    for what, figures in [(f"reads a random one, {length} characters", at_random), *_typical()]:
        print(f"{what:34}{figures}")  # noqa: T201 - prints
    sys.exit(1 if others else 0)


if __name__ == "__main__":
    main()
