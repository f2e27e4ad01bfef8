"""How many may be there at once: in all, and of one client."""

from __future__ import annotations

import enum
import logging
import time
from collections import Counter
from typing import Final

__all__ = ["RETRY_SECONDS", "ConcurrencyLimit", "TooMany"]

RETRY_SECONDS: Final = 10
"""When one who was turned away may ask again."""

_log: Final = logging.getLogger("lightning_host")
_QUIET_SECONDS: Final = 60.0


class TooMany(enum.Enum):
    """Why somebody is turned away; the value is the HTTP status that says so."""

    OF_CLIENT = 429
    IN_ALL = 503


class ConcurrencyLimit:
    """Counts who is there.

    Args:
        what: What is counted, in the plural, for the log.
        most: How many there may be in all.
        most_per_client: How many of one client.

    """

    def __init__(self, what: str, *, most: int, most_per_client: int) -> None:
        self._what = what
        self._most = most
        self._most_per_client = most_per_client
        self._by_client: Counter[str] = Counter()
        self._count = 0
        self._quiet_until = 0.0

    def __len__(self) -> int:
        return self._count

    def enter(self, client: str | None) -> TooMany | None:
        """Count one in, unless there are too many; None for a client brings only the whole bound into play.

        Returns:
            None when it was counted in: `leave` when it goes. Else why not.

        """
        if client is not None and self._by_client[client] >= self._most_per_client:
            self._warn(f"{client} has {self._most_per_client} {self._what}; a reverse proxy belongs in TRUSTED_PROXIES")
            return TooMany.OF_CLIENT
        if self._count >= self._most:
            self._warn(f"there are {self._most} {self._what}")
            return TooMany.IN_ALL
        self._count += 1
        if client is not None:
            self._by_client[client] += 1
        return None

    def leave(self, client: str | None) -> None:
        """Count one out that was counted in."""
        self._count -= 1
        if client is not None:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]

    def _warn(self, why: str) -> None:
        """Tell the operator, but not as often as somebody can cause it."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.warning("turned away: %s", why)
