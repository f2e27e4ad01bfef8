"""One GraphQL subscription as its reader sees it: events in order, then the reason why there are no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.transports.websocket.protocol import Next

__all__ = ["COMPLETED_BY_SERVER", "Subscription", "SubscriptionEnded"]

COMPLETED_BY_SERVER: Final = "the server completed it"
"""Why a subscription ended that the server ended in good order."""


class SubscriptionEnded(Exception):
    """No more events will come; says why."""


class Subscription:
    """The events of one GraphQL subscription, in order.

    Args:
        operation_id: Its id on the socket.
        max_queued: How many events may wait for the reader.
        unsubscribe: Tells the connection, and through it the server, that nobody reads any more.

    """

    def __init__(self, operation_id: str, max_queued: int, unsubscribe: Callable[[Subscription], None]) -> None:
        self.operation_id = operation_id
        self._max_queued = max_queued
        self._unsubscribe = unsubscribe
        self._events: asyncio.Queue[Next | None] = asyncio.Queue()
        self._ended: str | None = None

    def deliver(self, event: Next) -> bool:
        """Take an event from the connection; a reader that falls too far behind loses the subscription, not events.

        Returns:
            Whether more events will be taken.

        """
        if self._ended is None and self._events.qsize() >= self._max_queued:
            self.end("its reader fell too far behind")
        elif self._ended is None:
            self._events.put_nowait(event)
        return self._ended is None

    def end(self, why: str) -> None:
        """Tell the reader, behind the events already queued, that no more come."""
        if self._ended is None:
            self._ended = why
            self._events.put_nowait(None)

    async def receive(self) -> Next:
        """Wait for the next event.

        Raises:
            SubscriptionEnded: No more will come; also if asked again.

        """
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise SubscriptionEnded(self._ended)
        return event

    async def aclose(self) -> None:
        """End the subscription on the server."""
        self.end("it was closed")
        self._unsubscribe(self)
