"""A point in time by which something has to be over, passed down through everything that waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

__all__ = ["Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the running event loop's clock.

    Attributes:
        at: The loop time, in seconds, as `asyncio.timeout_at` takes it.

    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the moment that many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, zero once it has passed."""
        return max(0.0, self.at - asyncio.get_running_loop().time())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.at <= asyncio.get_running_loop().time()

    def share(self, fraction: float) -> Deadline:
        """Return an earlier moment that leaves the rest of the time to somebody else."""
        now = asyncio.get_running_loop().time()
        return Deadline(now + max(0.0, self.at - now) * fraction)

    def at_most(self, seconds: float) -> Deadline:
        """Return this moment, or the one that many seconds from now if that is earlier."""
        return Deadline(min(self.at, asyncio.get_running_loop().time() + seconds))

    async def acquire(self, lock: asyncio.Lock) -> bool:
        """Wait for a lock until this moment; say whether it is held now, which a free lock is in any case."""
        try:
            async with asyncio.timeout_at(self.at):
                return await lock.acquire()
        except TimeoutError:
            return False
