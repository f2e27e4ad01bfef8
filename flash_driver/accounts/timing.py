"""Every wait, pace and limit of one account, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from flash_driver.payments.attempt import Persistence
from flash_driver.settlements.timing import WatchTiming
from flash_driver.transports.session import SessionTiming
from flash_driver.transports.websocket.handshake import Limits

__all__ = ["Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an account waits for what, and how much it holds.

    Attributes:
        connections: Of WebSocket connections.
        session: Of finding out whether the token still lives.
        watching: Of watching invoices and telling listeners.
        payments: Of asking how a payment ended.
        last_calls_seconds: How long a close waits for calls under way: as long as an invoice may take.

    """

    connections: Limits = field(default_factory=Limits)
    session: SessionTiming = field(default_factory=SessionTiming)
    watching: WatchTiming = field(default_factory=WatchTiming)
    payments: Persistence = field(default_factory=Persistence)
    last_calls_seconds: float = 5.0
