"""What the server's clock says at least, whatever this machine's says.

A merchant's machine may be hours off. The server's own times tell better: a BOLT11 that has just come was made before
it came, and a price was struck before it came. So each is a time that the server's clock has passed; from then on it is
carried forward on the steady clock, which no wall clock moves. What results is never ahead of the server's clock: it
lags by what the message took, by the second that a timestamp is rounded down to, and by the age of a cached price
(about ten minutes at most, flash-server.md 3.3).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ServerClock"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NANOSECONDS: Final = 1000


class ServerClock:
    """A lower bound of the server's time.

    Args:
        steady: A steady clock, in nanoseconds.

    """

    def __init__(self, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._steady = steady
        self._ahead_of_steady: timedelta | None = None

    @property
    def known(self) -> bool:
        """Whether the server has told its time."""
        return self._ahead_of_steady is not None

    def heard(self, moment: datetime) -> None:
        """Take in a time that the server has passed by now."""
        ahead = moment - _EPOCH - _span(self._steady())
        if self._ahead_of_steady is None or ahead > self._ahead_of_steady:
            self._ahead_of_steady = ahead

    def has_passed(self, moment: datetime, at: int) -> bool:
        """Whether the server's clock had certainly passed a moment when the steady clock stood at `at`."""
        return self._ahead_of_steady is not None and _EPOCH + self._ahead_of_steady + _span(at) >= moment


def _span(nanoseconds: int) -> timedelta:
    return nanoseconds // _NANOSECONDS * _MICROSECOND
