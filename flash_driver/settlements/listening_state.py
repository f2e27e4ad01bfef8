"""How listening stands: said by the parts of the watcher, told by `health`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.settlements.health import Listening

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from connection_strings.errors import LightningError

__all__ = ["ListeningState"]


class ListeningState:
    """What the parts of a watcher have in common.

    Args:
        clock: The wall clock.
        on_failure: Called when nothing can be heard or asked any more.

    Attributes:
        listening: How settlements are heard of.
        reason: Why it is so, where that is not plain.
        since: When it became so.
        failure: What every listener raises; None while settlements are heard or asked for.
        broken: Whether a part has died: then it stays a failure, whatever the others still hear.

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
    def hearing(self) -> bool:
        """Whether the subscription is up and has sent something."""
        return self.listening is Listening.HEARING

    def begin(self) -> None:
        """Begin anew."""
        self.failure, self.broken = None, False
        self.say(Listening.CONNECTING)

    def say(self, listening: Listening, reason: str | None = None) -> None:
        """Say how things stand now."""
        if listening is not self.listening:
            self.since = self._clock()
        self.listening, self.reason = listening, reason

    def fail(self, error: LightningError) -> None:
        """Say that nothing can be heard or asked any more."""
        self.failure = error
        self.say(Listening.FAILED, str(error))
        self._on_failure()
