"""A price over time: known at some moments, told for others."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from flash_driver.money.price_history import MINUTE, SECOND, PriceHistory, moment_of, plausible_change


def path(*points: tuple[int, int]) -> PriceHistory:
    """Make a path of points, each a second and a price."""
    made = PriceHistory()
    for second, price in points:
        made.add(second * SECOND, Decimal(price))
    return made


def test_moments_are_whole_microseconds() -> None:
    """A time becomes a whole number, without passing through a float."""
    assert moment_of(datetime(1970, 1, 1, 0, 0, 1, 234567, tzinfo=UTC)) == 1_234_567
    assert moment_of(datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)) % SECOND == 1


def test_empty_path_is_false() -> None:
    """A path without points says so."""
    assert not PriceHistory()
    assert path((0, 1))


def test_held_price_steps() -> None:
    """A held price is that of the last point; before the first point it is that one's."""
    steps = path((10, 100), (20, 110), (30, 90))
    assert [steps.held(second * SECOND) for second in (5, 10, 19, 20, 30, 99)] == [100, 100, 100, 110, 90, 90]


def test_clock_that_goes_back() -> None:
    """A point at or before the last moment takes that one's place; time never goes back."""
    odd = path((10, 100), (20, 110), (15, 120))
    assert odd.latest == (20 * SECOND, Decimal(120))
    assert odd.held(17 * SECOND) == 100


def test_only_the_latest_points_are_kept() -> None:
    """A path does not grow without end."""
    long = path(*((second, second) for second in range(1000)))
    assert long.held(0) == 968


def test_plausible_change_grows_with_time() -> None:
    """Three percent at once, two more a minute, and half at the most."""
    assert plausible_change(0) == plausible_change(-5 * MINUTE) == Decimal("0.03")
    assert plausible_change(MINUTE) == Decimal("0.05")
    assert plausible_change(24 * 60 * MINUTE) == Decimal("0.5")
