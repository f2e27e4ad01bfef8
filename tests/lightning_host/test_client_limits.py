from __future__ import annotations

from lightning_host.allowance import Allowance
from lightning_host.client_limits import ClientShares, WrongKeys


class Clock:
    """A clock that stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_wrong_keys_cost_ever_more_time() -> None:
    """The first few wrong keys of a client cost nothing, then each costs more, up to 5 s; later all is over."""
    clock = Clock()
    keys = WrongKeys(clock)
    delays = [keys.delay("a") for _ in range(100)]
    assert delays[:5] == [0.0] * 5
    assert delays[5:] == sorted(delays[5:])
    assert (delays[5], delays[-1]) == (0.1, 5.0)
    assert keys.delay("b") == 0.0
    clock.now += 61
    assert keys.delay("a") == 0.0


def test_a_share_is_taken_and_comes_back() -> None:
    """A client does something so often, is told how long to wait, and may again; others are not concerned."""
    clock = Clock()
    shares, allowance = ClientShares(clock), Allowance(times=2, seconds=60)
    assert [shares.spend("a", allowance) for _ in range(3)] == [0, 0, 60]
    assert shares.spend("b", allowance) == 0
    clock.now += 59.5
    assert shares.spend("a", allowance) == 1
    clock.now += 0.5
    assert shares.spend("a", allowance) == 0
    assert shares.spend("a", None) == 0


def test_room_is_bounded() -> None:
    """However many clients there are, the oldest are forgotten and memory is bounded."""
    shares = ClientShares(Clock())
    for number in range(30_000):
        shares.spend(str(number), Allowance(times=1, seconds=60))
    assert len(shares._recent._times) == 20_000  # no public fact shows what is kept in memory
