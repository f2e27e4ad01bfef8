"""How an account's connection and its listening stand, for hosts and operators."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Health", "Listening"]


class Listening(Enum):
    """How settlements are heard of."""

    OFF = "off"
    CONNECTING = "connecting"
    HEARING = "hearing"
    POLLING = "polling"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A snapshot.

    Attributes:
        listening: How settlements are heard of; OFF while nobody listens.
        reason: Why it is so, where that is not plain.
        connected: Whether the socket is up.
        connections: How many times the socket was connected.
        last_event_at: When the server last sent an event on the subscription.
        watched: How many unpaid invoices are being watched.
        transports: What is known of each transport: `works`, or why it is passed over.

    """

    listening: Listening
    reason: str | None
    connected: bool
    connections: int
    last_event_at: datetime | None
    watched: int
    transports: Mapping[str, str]
