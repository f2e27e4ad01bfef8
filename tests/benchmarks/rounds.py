"""Rounds in which everything is measured once, in a new random order, so that a noisy moment hits no one alone."""

from __future__ import annotations

import random
import statistics
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

__all__ = ["Spread", "play_rounds", "spread"]

Cell = TypeVar("Cell", bound="Hashable")
Spread = dict[str, dict[str, float]]
"""Of each figure its median, least and greatest: {"cpu": {"median": 20.1, "least": 18.0, "most": 25.2}}."""


def play_rounds(
    cells: Sequence[Cell], rounds: int, measure: Callable[[Cell], Mapping[str, Any]]
) -> dict[Cell, list[Mapping[str, Any]]]:
    """Measure each cell once a round; gives the figures of each in the order of the rounds."""
    found: dict[Cell, list[Mapping[str, Any]]] = defaultdict(list)
    draw = random.Random(1)  # noqa: S311 - an order, no secret; the same in every run
    for number in range(rounds):
        for cell in draw.sample(cells, len(cells)):
            found[cell].append(measure(cell))
        if sys.stderr.isatty():
            sys.stderr.write(f"\r  round {number + 1} of {rounds} ")
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * 30 + "\r")
    return {cell: found[cell] for cell in cells}


def spread(samples: Sequence[Mapping[str, Any]]) -> Spread:
    """Return median, least and greatest of each figure over the rounds."""
    return {
        name: {
            "median": statistics.median(values := [float(sample[name]) for sample in samples]),
            "least": min(values),
            "most": max(values),
        }
        for name in samples[0]
    }
