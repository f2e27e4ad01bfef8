"""Flash's limit on invoice creation: so many per time and account, then a block (flash-server.md 4)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

__all__ = ["RateLimit", "RateLimiter"]

_SYNTAX: Final = re.compile(r"(?P<points>[1-9]\d*)/(?P<seconds>[1-9]\d*)(?:/(?P<block>[1-9]\d*))?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many points per so many seconds; who asks for more is blocked for a while."""

    points: int
    per: timedelta
    block: timedelta

    @classmethod
    def parse(cls, text: str) -> RateLimit | None:
        """Read `20/120`, `20/120/300` (with the block's length) or `off`."""
        if text == "off":
            return None
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise ValueError("rate_limit must read like 20/120, 20/120/300 or off")
        seconds = {name: int(match[name] or 300) for name in ("seconds", "block")}
        return cls(int(match["points"]), timedelta(seconds=seconds["seconds"]), timedelta(seconds=seconds["block"]))


class RateLimiter:
    """Counts what each account asked for."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._asked: dict[str, deque[datetime]] = {}
        self._blocked_until: dict[str, datetime] = {}

    def allow(self, account_id: str, now: datetime) -> bool:
        """Take a point of the account's, if one is left and it isn't blocked."""
        if self._limit is None:
            return True
        if now < self._blocked_until.get(account_id, now):
            return False
        asked = self._asked.setdefault(account_id, deque())
        while asked and asked[0] + self._limit.per <= now:
            asked.popleft()
        if len(asked) >= self._limit.points:
            self._blocked_until[account_id] = now + self._limit.block
            return False
        asked.append(now)
        return True
