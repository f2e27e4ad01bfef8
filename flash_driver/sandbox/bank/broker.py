"""Publish and subscribe: how a settlement reaches the subscriptions that wait for it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Broker", "account_topic", "invoice_topic"]


def account_topic(account_id: str) -> str:
    """Name what `myUpdates` of an account listens to."""
    return f"account:{account_id}"


def invoice_topic(payment_hash: str) -> str:
    """Name what `lnInvoicePaymentStatus` of an invoice listens to."""
    return f"invoice:{payment_hash}"


class Broker:
    """Hands each event to everybody who is subscribed to its topic at that moment, and to nobody later."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[Any]]] = {}

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Queue[Any]]:
        """Collect the topic's events in a queue."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queues.setdefault(topic, set()).add(queue)
        try:
            yield queue
        finally:
            self._queues[topic].discard(queue)
            if not self._queues[topic]:
                del self._queues[topic]

    def publish(self, topic: str, event: object) -> None:
        """Send an event to the topic's subscribers."""
        for queue in self._queues.get(topic, ()):
            queue.put_nowait(event)

    def is_heard(self, topic: str) -> bool:
        """Whether anybody listens."""
        return topic in self._queues
