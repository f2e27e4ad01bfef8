"""Waiting for news of an account, on any event loop."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["News", "Topic", "Wakeup"]


class Topic(Enum):
    """What can be new in an account.

    Attributes:
        MADE: The host has another invoice.
        SETTLED: An invoice was settled, or more is known of a settled one.

    """

    MADE = "made"
    SETTLED = "settled"


class Wakeup:
    """Wakes all who wait at once; one that starts waiting before it looks can miss nothing.

    Args:
        on_wait: Called whenever somebody starts to wait, so that what wakes them can begin its work.

    """

    def __init__(self, on_wait: Callable[[], None] | None = None) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._on_wait = on_wait

    def wake(self) -> None:
        """Wake everybody; may be called from any thread."""
        for future in list(self._waiting):
            # The loop of a waiter that is gone may be closed.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_finish, future)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[asyncio.Future[None]]:
        """Yield a future that is done at the next `wake`; look at what may have changed before awaiting it."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            if self._on_wait is not None:
                self._on_wait()
            yield future
        finally:
            self._waiting.discard(future)
            future.cancel()


@dataclass(frozen=True, slots=True)
class News:
    """Wakes those who wait for news of one account: each topic wakes only those who read what it is about.

    Attributes:
        made: Wakes who waits for an invoice to be made.
        settled: Wakes who waits for an invoice to be settled, or to become complete.

    """

    made: Wakeup
    settled: Wakeup

    def wake(self, topic: Topic | None = None) -> None:
        """Wake those who wait for a topic, None for every topic; may be called from any thread."""
        if topic is not Topic.SETTLED:
            self.made.wake()
        if topic is not Topic.MADE:
            self.settled.wake()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
