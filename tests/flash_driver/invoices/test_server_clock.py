"""The server's time, from what it sends, never ahead of its clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flash_driver.invoices.server_clock import Instant, ServerClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = 10**9


class Steady:
    """A steady clock that a test moves, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        """Tell the time."""
        return self.now


def at(steady: Steady, wall: datetime = NOON - timedelta(days=400)) -> Instant:
    """Return the present moment, by a wall clock that is slow unless told otherwise."""
    return Instant(wall, steady.now)


def test_nothing_is_known_before_the_server_spoke() -> None:
    """A server that told no time has passed nothing for certain, whatever this machine's clock says."""
    steady = Steady()
    clock = ServerClock(steady)
    assert not clock.known
    assert not clock.has_passed(NOON - timedelta(days=1), at(steady, NOON))
    assert clock.earliest(at(steady, NOON)) == NOON


def test_time_is_carried_forward() -> None:
    """The bound moves with the steady clock, and can be told for any moment of it."""
    steady = Steady()
    clock = ServerClock(steady)
    clock.heard_from_custodian(NOON)
    assert clock.known
    assert clock.has_passed(NOON, at(steady))
    assert not clock.has_passed(NOON + timedelta(microseconds=1), at(steady))
    later = NOON + timedelta(seconds=10)
    steady.now += 9 * SECOND
    assert not clock.has_passed(later, at(steady))
    steady.now += SECOND
    assert clock.has_passed(later, at(steady))
    assert clock.earliest(at(steady)) == later


def test_the_freshest_word_counts() -> None:
    """A price from a cache is older than what is known; a word that came faster than the first is news."""
    steady = Steady()
    clock = ServerClock(steady)
    clock.heard_from_custodian(NOON)
    clock.heard_from_custodian(NOON - timedelta(minutes=10))
    assert clock.has_passed(NOON, at(steady))
    steady.now += 3 * SECOND
    clock.heard_from_custodian(NOON + timedelta(seconds=4))
    assert clock.has_passed(NOON + timedelta(seconds=4), at(steady))
    assert not clock.has_passed(NOON + timedelta(seconds=5), at(steady))


def test_flash_alone_is_not_trusted() -> None:
    """Flash's clock may run ahead of the custodian's: its word counts only where this machine's clock agrees."""
    steady = Steady()
    clock = ServerClock(steady)
    clock.heard_from_flash(NOON + timedelta(seconds=40))
    assert not clock.has_passed(NOON + timedelta(seconds=30), at(steady, NOON))
    assert clock.has_passed(NOON, at(steady, NOON))
    assert not clock.has_passed(NOON + timedelta(days=1), at(steady, NOON + timedelta(days=2)))
