"""The benchmark of BOLT11 in a short form: what it compares, not how fast it is."""

from __future__ import annotations

import random

from tests.benchmarks.bolt11_reading import Figures, differing, measure
from tests.support.bolt11s import random_invoice, read_signed


def test_both_do_the_same_in_turns() -> None:
    """Each text goes to the one and then to the other, and the figures are for each text."""
    calls: list[str] = []
    figures = measure(
        lambda text: calls.append(f"package {text}"), lambda text: calls.append(f"driver {text}"), ["ab"] * 3
    )
    assert calls == ["package a", "driver a", "package b", "driver b"] * 3
    assert (len(figures.package), len(figures.driver)) == (3, 3)


def test_medians_are_compared() -> None:
    """An outlier in one round says nothing."""
    assert str(Figures((3_000_000, 4_000_000, 9_000_000), (1, 80_000, 100_000))).split() == [
        *("4000", "us", "80", "us"),
        *("50.0", "times", "as", "fast"),
    ]


def test_a_difference_is_found() -> None:
    """Invoices that are not read the same are told, others are not."""
    dice = random.Random(1)  # noqa: S311 - repeatable on purpose
    texts = [random_invoice(dice) for _ in range(3)]
    assert differing(texts) == []
    assert differing(texts, lambda text: read_signed(texts[0] if text == texts[1] else text)) == [texts[1]]
    assert differing(texts, lambda text: read_signed("" if text == texts[2] else text)) == [texts[2]]
