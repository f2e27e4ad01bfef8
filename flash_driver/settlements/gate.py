"""Holds all questions back while asking is of no use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flash_driver.settlements.timing import WatchTiming

__all__ = ["Gate"]


class Gate:
    """Says when the next question may be asked; times are seconds of a steady clock."""

    def __init__(self, timing: WatchTiming) -> None:
        self._timing = timing
        self._troubles = 0
        self._trouble_until = 0.0
        self._closed_until = 0.0

    @property
    def opens_at(self) -> float:
        """When the next question may be asked."""
        return max(self._trouble_until, self._closed_until)

    def trouble(self, now: float) -> None:
        """No transport worked: wait, longer each time; several answers of the same time count once."""
        if now >= self._trouble_until:
            self._troubles += 1
            self._trouble_until = now + self._timing.trouble.pause(self._troubles)

    def close_for(self, now: float, seconds: float) -> None:
        """The server takes no more for now."""
        self._closed_until = max(self._closed_until, now + min(seconds, self._timing.longest_closure))

    def lift(self) -> None:
        """Something was answered: the trouble is over."""
        self._troubles, self._trouble_until = 0, 0.0
