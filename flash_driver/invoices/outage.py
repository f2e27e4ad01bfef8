"""Whether the wallet has just failed to answer, so that the next question need not wait to find out again.

A host may look at a hundred open invoices one after the other. While Flash is silent each look would take as long as a
question may take; so after a failure the next ones fail at once, and now and then one of them tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable
from flash_driver.transports.delivery import TemporarilyRefused

if TYPE_CHECKING:
    from connection_strings.errors import LightningError

__all__ = ["Outage"]

_SECOND: Final = 10**9
_FIRST_PAUSE: Final = 1 * _SECOND
_LONGEST_PAUSE: Final = 8 * _SECOND
_SLOW: Final = _SECOND // 4
_TRIAL: Final = 10 * _SECOND
"""For how long one question tries while the others go on failing at once."""


class Outage:
    """Remembers that no way to the wallet worked; times are nanoseconds of a steady clock.

    The pause before the next trial is one second, then twice as long each time, eight seconds at the most.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._over_at = 0
        self._reasons: dict[str, str] = {}

    def insist(self, doing: str, now: int) -> None:
        """Let a question be asked, unless it is known that it would not be answered.

        Args:
            doing: What the question is for, such as `looking up the invoice`.
            now: The time.

        Raises:
            BackendUnavailable: The wallet has just failed to answer another question.

        """
        if self._failures == 0:
            return
        if now < self._over_at:
            raise BackendUnavailable(doing, self._reasons, executed=False)
        self._over_at = now + _TRIAL

    def answered(self) -> None:
        """The wallet answers."""
        self._failures = 0

    def failed(self, error: LightningError, took: int, now: int) -> None:
        """Take in how a question failed; only one that was waited for in vain means an outage.

        Args:
            error: Why it failed.
            took: How long it took; what fails at once need not be remembered.
            now: The time.

        """
        if not isinstance(error, BackendUnavailable) or isinstance(error, TemporarilyRefused) or took < _SLOW:
            self.answered()
            return
        self._reasons = error.reasons
        self._over_at = now + min(_LONGEST_PAUSE, _FIRST_PAUSE << min(self._failures, 8))
        self._failures += 1
