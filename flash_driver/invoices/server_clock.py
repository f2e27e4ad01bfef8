"""What time it is at the server at least, whatever this machine's clock says.

Two clocks decide about an invoice and may differ: the custodian's, which signs the BOLT11 and takes the payment, and
Flash's, which answers EXPIRED (flash-server.md 3.5). A BOLT11 that has just come was signed before it came, and a price
was struck before it came. So each tells a time that its clock has passed; it is carried forward on the steady clock,
which no wall clock moves. The bound is never ahead of its clock: it lags by what the message took, by the second that a
timestamp is rounded down to, and by the age of a cached price (about ten minutes at most, flash-server.md 3.3).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Instant", "ServerClock"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NANOSECONDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment on both clocks of this machine.

    Attributes:
        wall: By the wall clock, which may be wrong.
        steady: By the steady clock, in nanoseconds.

    """

    wall: datetime
    steady: int


class ServerClock:
    """Lower bounds of the custodian's time and of Flash's.

    Args:
        steady: A steady clock, in nanoseconds.

    """

    def __init__(self, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._steady = steady
        self._custodian: timedelta | None = None
        self._flash: timedelta | None = None

    @property
    def known(self) -> bool:
        """Whether the server has told any time."""
        return self._custodian is not None or self._flash is not None

    def heard_from_custodian(self, moment: datetime) -> None:
        """Take in the time of a BOLT11 that has just come."""
        self._custodian = self._later(self._custodian, moment)

    def heard_from_flash(self, moment: datetime) -> None:
        """Take in the time of a price that has just come."""
        self._flash = self._later(self._flash, moment)

    def has_passed(self, moment: datetime, at: Instant) -> bool:
        """Whether the custodian's clock had passed a moment at an instant, as far as that can be trusted.

        The custodian's own word is enough. Else two clocks have to agree that know nothing of each other: Flash's and
        this machine's. One alone may be fast.
        """
        if self._bound(self._custodian, at.steady) >= moment:
            return True
        return min(self._bound(self._flash, at.steady), at.wall) >= moment

    def earliest(self, at: Instant) -> datetime:
        """Return the earliest time that it may have been at an instant; the wall clock's where no server told one."""
        if not self.known:
            return at.wall
        return max(self._bound(self._custodian, at.steady), self._bound(self._flash, at.steady))

    def _later(self, known: timedelta | None, moment: datetime) -> timedelta:
        ahead = moment - _EPOCH - _span(self._steady())
        return ahead if known is None else max(known, ahead)

    @staticmethod
    def _bound(ahead_of_steady: timedelta | None, steady: int) -> datetime:
        return _EPOCH if ahead_of_steady is None else _EPOCH + ahead_of_steady + _span(steady)


def _span(nanoseconds: int) -> timedelta:
    return nanoseconds // _NANOSECONDS * _MICROSECOND
