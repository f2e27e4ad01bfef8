"""How an account's connection and its listening stand, for hosts and operators.

::

    OFF ──listen()──> CONNECTING ──first event──> HEARING
                          │                         │ socket lost
                          └──────no socket──────> POLLING ──first event──> HEARING
    any of them ──token refused, or the journal lost──> FAILED ──listen()──> CONNECTING
    any of them ──last listener gone──> OFF
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

__all__ = ["Health", "Listening"]


class Listening(Enum):
    """How settlements are heard of.

    Attributes:
        OFF: Nobody listens, so nothing is watched.
        CONNECTING: The subscription is being set up for the first time; unpaid invoices are asked about meanwhile.
        HEARING: The subscription is up and has sent something.
        POLLING: There is no subscription; unpaid invoices are asked about every few seconds, and it is tried again.
        FAILED: Nothing can be heard or asked any more; every listener raises the reason.

    """

    OFF = "off"
    CONNECTING = "connecting"
    HEARING = "hearing"
    POLLING = "polling"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A snapshot.

    Attributes:
        listening: How settlements are heard of.
        reason: Why it is so, where that is not plain.
        since: When it became so.
        connected: Whether the socket is up.
        reconnects: How many times the socket was connected again.
        losses: How many attempts to hear have failed in a row.
        last_event_at: When the server last sent an event on the subscription.
        pending: How many unpaid invoices are being watched.
        lag: For how long the longest waiting of them has been due to be asked about.
        transports: What is known of each transport: `works`, or why it is passed over.

    """

    listening: Listening
    reason: str | None
    since: datetime
    connected: bool
    reconnects: int
    losses: int
    last_event_at: datetime | None
    pending: int
    lag: timedelta
    transports: Mapping[str, str]
