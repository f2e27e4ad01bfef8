"""A price over time, known at some moments, and how far it may have gone by now.

Moments are whole microseconds, so that no float comes near the money.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

__all__ = ["MINUTE", "SECOND", "PriceHistory", "moment_of", "plausible_change"]

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT: Final = 32

_CHANGE_AT_ONCE: Final = Decimal("0.03")
_CHANGE_PER_MINUTE: Final = Decimal("0.02")
_MOST_CHANGE: Final = Decimal("0.5")


def moment_of(time: datetime) -> int:
    """Return a time as whole microseconds."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def plausible_change(elapsed: int) -> Decimal:
    """Return by which fraction a price of bitcoin may have changed in this many microseconds; more is an outlier."""
    return min(_MOST_CHANGE, _CHANGE_AT_ONCE + _CHANGE_PER_MINUTE * max(0, elapsed) / MINUTE)


class PriceHistory:
    """The points of a price, oldest first.

    Attributes:
        latest: The last point, None before the first.

    """

    def __init__(self) -> None:
        # Replaced and never changed, so that other threads may read it meanwhile.
        self._points: tuple[tuple[int, Decimal], ...] = ()
        self.latest: tuple[int, Decimal] | None = None

    def add(self, at: int, price: Decimal) -> None:
        """Take in a point; one at or before the last moment takes the last one's place."""
        before = self._points[1 - _KEPT :]
        if before and at <= before[-1][0]:
            at, before = before[-1][0], before[:-1]
        self.latest = at, price
        self._points = (*before, self.latest)

    def change(self, since: int | None, at: int) -> Decimal:
        """By which factor it changed between two moments, as far as that is plausible; 1 where nothing is known.

        A price stays what it was until the next point.
        """
        if since is None or not self._points or (before := self._held(since)) <= 0 or before == (now := self._held(at)):
            return Decimal(1)
        most = plausible_change(at - since)
        return min(1 + most, max(1 - most, now / before))

    def _held(self, at: int) -> Decimal:
        points = self._points
        for moment, price in reversed(points):
            if moment <= at:
                return price
        return points[0][1]
