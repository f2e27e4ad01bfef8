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


def test_nothing_is_known_of_an_empty_path() -> None:
    """A path without points has no latest one, and its price does not change."""
    assert PriceHistory().latest is None
    assert PriceHistory().change(0, 5 * SECOND) == 1


def test_price_changes_in_steps() -> None:
    """A price is that of the last point; before the first point it is that one's."""
    steps = path((10, 1000), (20, 1010), (30, 990))
    changes = [steps.change(5 * SECOND, second * SECOND) for second in (5, 10, 19, 20, 30, 99)]
    assert changes == [1, 1, 1, Decimal("1.01"), Decimal("0.99"), Decimal("0.99")]


def test_change_is_plausible() -> None:
    """A jump counts as far as a price of bitcoin may have gone in that time."""
    jump = path((0, 100), (60, 200))
    assert jump.change(0, MINUTE) == Decimal("1.05")
    assert path((0, 200), (60, 1)).change(0, MINUTE) == Decimal("0.95")


def test_price_that_cannot_be_divided_by() -> None:
    """A price of zero, however it came there, changes to nothing that could be computed with: it counts as unmoved."""
    assert path((0, 0), (10, 5)).change(SECOND, 20 * SECOND) == 1


def test_clock_that_goes_back() -> None:
    """A point at or before the last moment takes that one's place; time never goes back."""
    odd = path((10, 1000), (20, 1010), (15, 1020))
    assert odd.latest == (20 * SECOND, Decimal(1020))
    assert odd.change(10 * SECOND, 17 * SECOND) == 1


def test_only_the_latest_points_are_kept() -> None:
    """A path does not grow without end."""
    long = path(*((second, second) for second in range(1000)))
    assert long.change(0, 968 * SECOND) == 1
    assert long.change(0, 969 * SECOND) > 1


def test_plausible_change_grows_with_time() -> None:
    """Three percent at once, two more a minute, and half at the most."""
    assert plausible_change(0) == plausible_change(-5 * MINUTE) == Decimal("0.03")
    assert plausible_change(MINUTE) == Decimal("0.05")
    assert plausible_change(24 * 60 * MINUTE) == Decimal("0.5")
