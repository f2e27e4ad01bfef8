"""Counting who is there, in all and by client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_host.web.concurrency_limit import ConcurrencyLimit, TooMany

if TYPE_CHECKING:
    import pytest


def test_bounds_hold_by_client_and_in_all() -> None:
    """A client has its own bound, all together have theirs, and one that leaves makes room for both."""
    limit = ConcurrencyLimit("pages", most=3, most_per_client=2)
    assert [limit.enter("one"), limit.enter("one")] == [None, None]
    assert limit.enter("one") is TooMany.OF_CLIENT
    assert limit.enter("two") is None
    assert limit.enter("two") is TooMany.IN_ALL
    assert len(limit) == 3
    limit.leave("one")
    assert limit.enter("one") is None


def test_client_without_a_name_has_no_bound_of_its_own() -> None:
    """One that brings many clients is counted in all, and no more."""
    limit = ConcurrencyLimit("connections", most=3, most_per_client=1)
    assert [limit.enter(None) for _ in range(4)] == [None, None, None, TooMany.IN_ALL]
    limit.leave(None)
    assert limit.enter("one") is None


def test_those_who_left_are_forgotten() -> None:
    """However many clients come and go, nothing is kept of them."""
    limit = ConcurrencyLimit("pages", most=10, most_per_client=1)
    for number in range(1_000):
        assert limit.enter(str(number)) is None
        limit.leave(str(number))
    assert (len(limit), len(limit._by_client)) == (0, 0)


def test_operator_is_told_but_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    """The log says who was turned away and what may be the cause, once and not for each."""
    limit = ConcurrencyLimit("pages", most=1, most_per_client=1)
    for _ in range(100):
        limit.enter("192.0.2.7")
    assert caplog.messages == ["turned away: 192.0.2.7 has 1 pages; a reverse proxy belongs in TRUSTED_PROXIES"]
