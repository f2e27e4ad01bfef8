"""Counting who is there, in all and by client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_host.web.crowd import Crowd, TooMany

if TYPE_CHECKING:
    import pytest


def test_bounds_hold_by_client_and_in_all() -> None:
    """A client has its own bound, all together have theirs, and whoever leaves makes room for both."""
    crowd = Crowd("pages", most=3, most_per_client=2)
    assert [crowd.enter("one"), crowd.enter("one")] == [None, None]
    assert crowd.enter("one") is TooMany.OF_CLIENT
    assert crowd.enter("two") is None
    assert crowd.enter("two") is TooMany.IN_ALL
    assert len(crowd) == 3
    crowd.leave("one")
    assert crowd.enter("one") is None


def test_client_without_a_name_has_no_bound_of_its_own() -> None:
    """Whoever brings many clients is counted in all, and no more."""
    crowd = Crowd("connections", most=3, most_per_client=1)
    assert [crowd.enter(None) for _ in range(4)] == [None, None, None, TooMany.IN_ALL]
    crowd.leave(None)
    assert crowd.enter("one") is None


def test_those_who_left_are_forgotten() -> None:
    """However many clients come and go, nothing is kept of them."""
    crowd = Crowd("pages", most=10, most_per_client=1)
    for number in range(1_000):
        assert crowd.enter(str(number)) is None
        crowd.leave(str(number))
    assert (len(crowd), len(crowd._by_client)) == (0, 0)


def test_operator_is_told_but_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    """The log says who was turned away and what may be the cause, once and not for each."""
    crowd = Crowd("pages", most=1, most_per_client=1)
    for _ in range(100):
        crowd.enter("192.0.2.7")
    assert caplog.messages == ["turned away: 192.0.2.7 has 1 pages; a reverse proxy belongs in TRUSTED_PROXIES"]
