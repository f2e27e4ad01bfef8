"""The server's time, from what it sends, never ahead of its clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flash_driver.invoices.server_clock import ServerClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = 10**9


class Steady:
    """A steady clock that a test moves, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        """Tell the time."""
        return self.now


def test_nothing_is_known_before_the_server_spoke() -> None:
    """A server that told no time has passed nothing for certain."""
    clock = ServerClock(Steady())
    assert not clock.known
    assert not clock.has_passed(NOON - timedelta(days=1), 0)


def test_time_is_carried_forward() -> None:
    """The bound moves with the steady clock, and can be told for any moment of it."""
    steady = Steady()
    clock = ServerClock(steady)
    clock.heard(NOON)
    assert clock.known
    assert clock.has_passed(NOON, steady.now)
    assert not clock.has_passed(NOON + timedelta(microseconds=1), steady.now)
    later = steady.now + 10 * SECOND
    assert clock.has_passed(NOON + timedelta(seconds=10), later)
    assert not clock.has_passed(NOON + timedelta(seconds=10), later - SECOND)


def test_the_freshest_word_counts() -> None:
    """A price from a cache is older than what is known; a word that came faster than the first is news."""
    steady = Steady()
    clock = ServerClock(steady)
    clock.heard(NOON)
    clock.heard(NOON - timedelta(minutes=10))
    assert clock.has_passed(NOON, steady.now)
    steady.now += 3 * SECOND
    clock.heard(NOON + timedelta(seconds=4))
    assert clock.has_passed(NOON + timedelta(seconds=4), steady.now)
    assert not clock.has_passed(NOON + timedelta(seconds=5), steady.now)
