"""When a server last answered; and where it does not, telling that once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from flash_driver.common.clocks import utc_now
from flash_driver.common.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Contact"]

_OUTAGE_SECONDS: Final = 10.0
"""How long nothing is answered before it is called an outage: a restart of the server takes less."""
_APART_SECONDS: Final = 120.0
"""How far apart two failures may be for nothing to have been answered between them: it may just not have been asked."""

_log: Final = get_logger()


class Contact:
    """Whether the server of an account answers, by whatever way.

    An outage is logged when it has lasted ten seconds, and its end, each once and both at WARNING: who is told of the
    one waits for the other. It takes a request that was made in vain: a WebSocket that can't be opened alone is none,
    as long as nothing else is asked.

    Args:
        clock: The wall clock.
        steady: A steady clock, in seconds.

    Attributes:
        last_answer_at: When the server last answered, or sent an event; None when it has not yet.

    """

    def __init__(self, clock: Callable[[], datetime] = utc_now, steady: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steady = steady
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._why = ""
        self._told = False
        self.last_answer_at: datetime | None = None

    @property
    def trouble(self) -> str | None:
        """Since when nothing is answered, and why, while there is an outage."""
        if not self._told:
            return None
        return f"the server has not answered for {self._lasted:.0f} s: {self._why}"

    def answered(self) -> None:
        """The server has answered something, be it a refusal."""
        self.last_answer_at = self._clock()
        if self._told:
            _log.warning("the server answers again", seconds=round(self._lasted))
        self._failing_since, self._told = None, False

    def failed(self, why: str) -> None:
        """A request got no answer by any way; `why` is for a person."""
        now = self._steady()
        apart = not self._told and now - self._failed_at > _APART_SECONDS
        if self._failing_since is None or apart:
            self._failing_since = now
        self._failed_at, self._why = now, why
        if not self._told and self._lasted >= _OUTAGE_SECONDS:
            self._told = True
            _log.warning("the server does not answer", seconds=round(self._lasted), why=why)

    def not_heard(self, why: str) -> None:
        """The subscription could not be set up: no answer either, where requests are made in vain already."""
        if self._failing_since is not None:
            self.failed(why)

    @property
    def _lasted(self) -> float:
        return 0.0 if self._failing_since is None else self._steady() - self._failing_since
