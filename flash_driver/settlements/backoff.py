"""How long the watcher waits for what, and when it had better not ask at all."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff", "Gate", "Spacing"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long the watcher waits for what, in seconds.

    Attributes:
        connect: For socket and subscription.
        ask: For the answer to a question.
        backoff: Before connecting again: at random up to this, twice that the next time, and so on.
        longest_backoff: The most of that.
        trouble: Before asking again when no transport worked; doubles up to `longest_trouble`.
        longest_trouble: The most of that.
        longest_closure: The most to wait when the server takes no more for now, whatever it says: that may be meant for
            new invoices.
        stable: For how long a subscription has to hold before its loss is a first loss again.
        refusal: For how long the token has to be refused over and over before it is called dead.
        reload: Between two looks into the journal for invoices of other processes, which may have died.

    """

    connect: float = 6.0
    ask: float = 10.0
    backoff: float = 0.5
    longest_backoff: float = 30.0
    trouble: float = 0.25
    longest_trouble: float = 10.0
    longest_closure: float = 60.0
    stable: float = 5.0
    refusal: float = 2.0
    reload: float = 300.0

    def longest_pause(self, losses: int) -> float:
        """Return the longest pause before connecting again after so many losses in a row, one or more."""
        return min(self.longest_backoff, self.backoff * 2.0 ** min(losses - 1, 16))


@dataclass(frozen=True, slots=True)
class Spacing:
    """How long to pause between two questions, in seconds.

    Attributes:
        usual: While nobody waits.
        least: While invoices wait for their turn; the longer the first of them has, the nearer the pause comes to it.

    """

    usual: float
    least: float

    def after(self, lag: float) -> float:
        """Return the pause after a question when the longest waiting invoice has been due for so many seconds."""
        return max(self.least, self.usual / (1 + lag))


class Gate:
    """Holds all questions back while asking is no use."""

    def __init__(self, patience: Backoff) -> None:
        self._patience = patience
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
            pause = self._patience.trouble * 2.0 ** min(self._troubles, 16)
            self._trouble_until = now + min(self._patience.longest_trouble, pause)
            self._troubles += 1

    def close_for(self, now: float, seconds: float) -> None:
        """The server takes no more for now."""
        self._closed_until = max(self._closed_until, now + min(seconds, self._patience.longest_closure))

    def lift(self) -> None:
        """Something was answered: the trouble is over."""
        self._troubles, self._trouble_until = 0, 0.0
