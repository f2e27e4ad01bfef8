"""Flash's limits on creating invoices: points in a fixed window, then a block (flash-server.md 4 and 12)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

__all__ = ["Bucket", "RateLimit", "RateLimiter", "RateLimiters"]

Bucket: TypeAlias = Literal["own", "public"]
"""`own` is filled by the account's own mutation, `public` by anybody who creates invoices on its behalf."""

_SYNTAX: Final = re.compile(r"(?P<points>[1-9]\d*)/(?P<seconds>[1-9]\d*)(?:/(?P<block>[1-9]\d*))?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A number of points per window; the point after the last one starts a block."""

    points: int
    per: timedelta
    block: timedelta

    @classmethod
    def parse(cls, text: str) -> RateLimit | None:
        """Read `20/120`, `20/120/300` (with the length of the block, by default 300 s) or `off`.

        Raises:
            ValueError: It is none of these.

        """
        if text == "off":
            return None
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise ValueError("rate_limit must read like 20/120, 20/120/300 or off")
        seconds = {name: int(match[name] or 300) for name in ("seconds", "block")}
        return cls(int(match["points"]), timedelta(seconds=seconds["seconds"]), timedelta(seconds=seconds["block"]))


@dataclass(slots=True)
class _Window:
    """What one account used: the window begins with its first point and ends as a whole."""

    ends: datetime
    used: int = 0
    blocked: bool = False


class RateLimiter:
    """Counts the points of one bucket, account by account."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._windows: dict[str, _Window] = {}

    def allow(self, account_id: str, now: datetime) -> bool:
        """Take a point, if one is left; the first refusal starts the block, and later ones do not make it longer."""
        if self._limit is None:
            return True
        window = self._windows.get(account_id)
        if window is None or window.ends <= now:
            window = self._windows[account_id] = _Window(now + self._limit.per)
        if window.blocked:
            return False
        window.used += 1
        if window.used > self._limit.points:
            window.blocked, window.ends = True, now + self._limit.block
        return not window.blocked

    def snapshot(self, account_id: str, now: datetime) -> dict[str, Any]:
        """Tell how many points of the current window are used, and whether the account is blocked."""
        window = self._windows.get(account_id)
        if self._limit is None or window is None or window.ends <= now:
            return {"used": 0, "blocked": False}
        return {"used": min(window.used, self._limit.points), "blocked": window.blocked}


@dataclass(slots=True)
class RateLimiters:
    """The two buckets; a block of one says nothing of the other."""

    limit: RateLimit | None
    buckets: dict[Bucket, RateLimiter] = field(init=False)

    def __post_init__(self) -> None:
        self.buckets = {"own": RateLimiter(self.limit), "public": RateLimiter(self.limit)}

    def allow(self, bucket: Bucket, account_id: str, now: datetime) -> bool:
        """Take a point from a bucket, if one is left."""
        return self.buckets[bucket].allow(account_id, now)

    def snapshot(self, account_id: str, now: datetime) -> dict[Bucket, dict[str, Any]]:
        """Tell the state of both buckets of an account."""
        return {name: each.snapshot(account_id, now) for name, each in self.buckets.items()}
