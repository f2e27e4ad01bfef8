"""How an account's connection and its listening stand: said by the parts of the watcher, told to hosts and operators.

::

    OFF ──listen()──> CONNECTING ──first event──> HEARING
                          │                         │ socket lost
                          └──────no socket──────> POLLING ──first event──> HEARING
    any of them ──token refused, or a part broke──> FAILED ──listen()──> CONNECTING
    any of them ──last listener gone──> OFF
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from connection_strings.errors import LightningError

__all__ = ["Health", "Listening", "ListeningState"]


class Listening(Enum):
    """How settlements are learned of.

    Attributes:
        OFF: Nobody listens, so nothing is watched.
        CONNECTING: The subscription is being set up for the first time; unpaid invoices are asked about meanwhile.
        HEARING: The subscription is up and has sent something.
        POLLING: There is no subscription; unpaid invoices are asked about every few seconds, and it is tried again.
        FAILED: Settlements can't be learned of any more; every listener raises the reason.

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
        listening: How settlements are learned of.
        reason: Why it is so, where that is not plain; or what else is wrong.
        since: When it became so.
        connected: Whether the socket is up.
        reconnects: How many times the socket was connected again.
        losses: How many attempts to subscribe have failed in a row.
        last_event_at: When the server last sent an event on the subscription.
        last_answer_at: When the server last answered anything, by whatever way.
        outage: For how long the server has answered nothing, and why; None while it answers.
        pending: How many invoices are being watched: unpaid ones, and those that expired lately.
        lag: For how long the longest waiting of them has been due to be asked about.
        transports: What is known of each transport: `works`, or why it is passed over.
        unknown_payments: How many payments stay unknown: nobody is sending them, and it is not known how they ended.
            None before the first look; while somebody listens there is one each minute.
        unknown_since: When the oldest of them was sent.

    """

    listening: Listening
    reason: str | None
    since: datetime
    connected: bool
    reconnects: int
    losses: int
    last_event_at: datetime | None
    last_answer_at: datetime | None
    outage: str | None
    pending: int
    lag: timedelta
    transports: Mapping[str, str]
    unknown_payments: int | None = None
    unknown_since: datetime | None = None


class ListeningState:
    """What the parts of a watcher have in common.

    Args:
        clock: The wall clock.
        on_failure: Called when settlements can't be learned of any more.

    Attributes:
        listening: How settlements are learned of.
        reason: Why it is so, where that is not plain.
        since: When it became so.
        failure: What every listener raises; None while settlements are learned of.
        broken: Whether a part has ended by an error: then it stays a failure, whatever the others still do.

    """

    def __init__(self, clock: Callable[[], datetime], on_failure: Callable[[], None]) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self.listening = Listening.OFF
        self.reason: str | None = None
        self.since = clock()
        self.failure: LightningError | None = None
        self.broken = False

    @property
    def subscribed(self) -> bool:
        """Whether the subscription is up and has sent something."""
        return self.listening is Listening.HEARING

    def begin(self) -> None:
        """Begin again."""
        self.failure, self.broken = None, False
        self.say(Listening.CONNECTING)

    def say(self, listening: Listening, reason: str | None = None) -> None:
        """Say how things stand now."""
        if listening is not self.listening:
            self.since = self._clock()
        self.listening, self.reason = listening, reason

    def fail(self, error: LightningError) -> None:
        """Say that settlements can't be learned of any more."""
        self.failure = error
        self.say(Listening.FAILED, str(error))
        self._on_failure()
