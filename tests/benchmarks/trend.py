"""Whether something grows: the straight line through samples that misses them least."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["slope"]


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return by how much y grows with x (least squares); 0 when there are less than two different x."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if spread == 0:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
