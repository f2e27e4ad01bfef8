from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from flash_driver.sandbox.bank.rate_limit import RateLimit, RateLimiter, RateLimiters

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.conftest import Clock


def test_a_limit_reads_as_flash_documents_it() -> None:
    """Twenty per two minutes, then five minutes of nothing."""
    assert RateLimit.parse("20/120") == RateLimit(20, timedelta(minutes=2), timedelta(minutes=5))
    assert RateLimit.parse("1/2/3") == RateLimit(1, timedelta(seconds=2), timedelta(seconds=3))
    assert RateLimit.parse("off") is None


@pytest.mark.parametrize("text", ["", "0/1", "1/0", "1", "1/2/3/4", "-1/2", "on"])
def test_other_texts_are_no_limit(text: str) -> None:
    """A limit that can't be read is refused."""
    with pytest.raises(ValueError, match="rate_limit must read like"):
        RateLimit.parse(text)


def test_too_many_are_followed_by_a_block(clock: Clock) -> None:
    """The point after the last one starts the block, and asking while blocked does not lengthen it."""
    limiter = RateLimiter(RateLimit.parse("2/10/60"))
    assert [limiter.allow("a", clock()) for _ in range(3)] == [True, True, False]
    clock.advance(seconds=59)
    assert not limiter.allow("a", clock())
    assert limiter.snapshot("a", clock()) == {"used": 2, "blocked": True}
    clock.advance(seconds=1)
    assert limiter.allow("a", clock())
    assert limiter.snapshot("a", clock()) == {"used": 1, "blocked": False}


def test_a_window_ends_as_a_whole(clock: Clock) -> None:
    """All points come back together, counted from the first of them."""
    limiter = RateLimiter(RateLimit.parse("2/10"))
    assert limiter.allow("a", clock())
    clock.advance(seconds=6)
    assert limiter.allow("a", clock())
    clock.advance(seconds=4)
    assert [limiter.allow("a", clock()) for _ in range(3)] == [True, True, False]


def test_buckets_do_not_share_points(clock: Clock) -> None:
    """A block of the public bucket is no block of the account's own."""
    limiters = RateLimiters(RateLimit.parse("1/10"))
    assert [limiters.allow("public", "a", clock()) for _ in range(2)] == [True, False]
    assert limiters.allow("own", "a", clock())
    assert limiters.snapshot("a", clock()) == {
        "own": {"used": 1, "blocked": False},
        "public": {"used": 1, "blocked": True},
    }


def test_accounts_do_not_share_points(clock: Clock) -> None:
    """Each account has its own points."""
    limiter = RateLimiter(RateLimit.parse("1/10"))
    assert limiter.allow("a", clock())
    assert limiter.allow("b", clock())


def test_no_limit_allows_everything(clock: Clock) -> None:
    """`off` means off."""
    limiter = RateLimiter(None)
    assert all(limiter.allow("a", clock()) for _ in range(100))
