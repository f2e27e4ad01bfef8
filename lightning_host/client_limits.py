"""What single clients did of late, remembered in memory: each replica counts for itself, in a bounded room.

What all clients together may cause is counted in the database (budgets.py); this keeps one of them from taking all of
it, without a query per request of a stranger.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_host.allowance import Allowance

__all__ = ["ClientShares", "WrongKeys"]

_MOST_CLIENTS: Final = 20_000
_FORGET_SECONDS: Final = 60
_FREE: Final = 5
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0
_DOUBLINGS: Final = 6


class _Recent:
    """The times of each client's last events; the client that has been silent longest is forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def of(self, client: str, seconds: float) -> deque[float]:
        """Return the times of a client's events within the last seconds, oldest first; append to it to add one."""
        times = self._times.setdefault(client, deque())
        self._times.move_to_end(client)
        while times and times[0] <= self._clock() - seconds:
            times.popleft()
        while len(self._times) > _MOST_CLIENTS:
            self._times.popitem(last=False)
        return times


class ClientShares:
    """Lets each client do something so often, whatever others do."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent = _Recent(clock)

    def spend(self, client: str, allowance: Allowance | None) -> int:
        """Take one out of a client's share.

        Returns:
            0 when it was taken; else nothing was, and this is how many seconds later the next can be.

        """
        if allowance is None:
            return 0
        times = self._recent.of(client, allowance.seconds)
        if len(times) >= allowance.times:
            return max(1, -int(-(times[0] + allowance.seconds - self._clock()) // 1))
        times.append(self._clock())
        return 0


class WrongKeys:
    """Answers a client that shows wrong keys ever more slowly; a right key is never kept waiting.

    Nobody is locked out: behind a proxy that is not trusted, a stranger and the shop have one address.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent = _Recent(clock)

    def delay(self, client: str) -> float:
        """Count a wrong key, and return how many seconds its answer waits: 0 at first, then ever more, up to 5."""
        times = self._recent.of(client, _FORGET_SECONDS)
        if len(times) <= _FREE + _DOUBLINGS:
            times.append(self._clock())
        beyond = len(times) - _FREE
        return min(_FIRST_DELAY * 2 ** (beyond - 1), _LONGEST_DELAY) if beyond > 0 else 0.0

    async def slow_down(self, client: str) -> None:
        """Wait as long as `delay` says before a wrong key is answered."""
        await asyncio.sleep(self.delay(client))
