"""Which invoice to ask about next, and when none: an entry per invoice, no task, no timer.

Knows no clock and no server. Times are seconds of any steady clock, so that a jump of the wall clock moves
nothing. Under more load than can be asked in time the newest and the longest waiting take turns: a customer who waits
is answered, and no invoice is forgotten.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flash_driver.settlements.timing import Pace, WatchTiming

__all__ = ["Entry", "Gate", "Schedule", "next_attempt", "next_question"]

_STALE_ALLOWED: Final = 64


def next_question(pace: Pace, entry: Entry, now: float, grace: float, *, subscribed: bool) -> float:
    """Return when to ask about an invoice again that was found unpaid, or is called expired.

    Its expiry and the end of the grace time are never slept through: the answers then decide about EXPIRED.
    """
    age, final = now - entry.begun, entry.expires + grace
    if entry.late:
        return now + min(pace.slowest_late, max(pace.late, now - entry.expires))
    if now >= final:
        return now + replace(pace.fruitless, longest=pace.slowest).pause(entry.fruitless + 1)
    first = pace.subscribed if subscribed else pace.polling
    pause = min(pace.slowest, max(first, min(age, pace.young), age / 10))
    return min(now + pause, entry.expires if now < entry.expires else final)


def next_attempt(pace: Pace, entry: Entry, now: float) -> float:
    """Return when to ask again after a question that brought nothing."""
    return now + pace.fruitless.pause(entry.fruitless)


class _Place(IntEnum):
    """Where an entry is."""

    OUT = 0
    LATER = 1
    READY = 2
    URGENT = 3


class Entry:
    """What is remembered of a watched invoice beyond its row in the journal.

    Attributes:
        begun: When it was made.
        expires: When its BOLT11 expires.
        due: When to ask about it.
        fruitless: How many questions in a row brought nothing.
        late: Whether it is called expired, so that only a late payment is looked for.

    """

    __slots__ = ("again", "begun", "due", "expires", "fruitless", "late", "place")

    def __init__(self, begun: float, expires: float, *, late: bool = False) -> None:
        self.begun = begun
        self.expires = expires
        self.due = begun
        self.fruitless = 0
        self.late = late
        self.place = _Place.OUT
        self.again = _Place.OUT


class Schedule:
    """Watched invoices by payment hash, each due once at most.

    Attributes:
        changed: Set when an invoice was taken up or made due: there may be something to take before `next_due` said.

    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._entries: dict[str, Entry] = {}
        self._later: list[tuple[float, str]] = []
        self._ready: OrderedDict[str, None] = OrderedDict()
        self._urgent: deque[str] = deque()
        self._newest_next = True

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, payment_hash: str) -> bool:
        return payment_hash in self._entries

    def __getitem__(self, payment_hash: str) -> Entry:
        return self._entries[payment_hash]

    def add(self, payment_hash: str, entry: Entry, due: float) -> None:
        """Take an invoice up; one that is known already stays as it is."""
        if payment_hash not in self._entries:
            self._entries[payment_hash] = entry
            self.schedule(payment_hash, due)
            self.changed.set()

    def discard(self, payment_hash: str) -> None:
        """Forget an invoice."""
        if self._entries.pop(payment_hash, None) is not None:
            self._ready.pop(payment_hash, None)
            self._tidy()

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._later.clear()
        self._ready.clear()
        self._urgent.clear()

    def schedule(self, payment_hash: str, due: float) -> None:
        """Ask about an invoice then; at once if the server announced something while it was being asked about."""
        entry = self._entries.get(payment_hash)
        if entry is None:
            return
        again, entry.again = entry.again, _Place.OUT
        if again is _Place.URGENT:
            self._put_first(payment_hash, entry)
            return
        if again is _Place.READY:
            entry.place = _Place.READY
            self._ready[payment_hash] = None
            return
        self._ready.pop(payment_hash, None)
        entry.due, entry.place = due, _Place.LATER
        heapq.heappush(self._later, (due, payment_hash))
        self._tidy()

    def hurry(self, payment_hash: str) -> bool:
        """Ask about an invoice before all others: the server announced something. Returns whether it is watched."""
        entry = self._entries.get(payment_hash)
        if entry is None:
            return False
        if entry.place is _Place.OUT:
            entry.again = _Place.URGENT
        elif entry.place is not _Place.URGENT:
            self._ready.pop(payment_hash, None)
            self._put_first(payment_hash, entry)
        self.changed.set()
        return True

    def hurry_all(self, now: float, *, late: bool) -> None:
        """Make every invoice due: events may have been missed.

        Args:
            now: The time.
            late: Whether to include those that are called expired.

        """
        chosen = [item for item in self._entries.items() if late or not item[1].late]
        for payment_hash, entry in sorted(chosen, key=lambda item: item[1].begun):
            if entry.place is _Place.OUT:
                entry.again = max(entry.again, _Place.READY)
            elif entry.place is not _Place.URGENT:
                entry.due, entry.place = now, _Place.READY
                self._ready[payment_hash] = None
                self._ready.move_to_end(payment_hash)
        self._tidy()
        self.changed.set()

    def take(self, now: float, *, urgent_only: bool = False) -> tuple[str, bool] | None:
        """Take out the invoice to ask about next, and whether it is urgent; `schedule` or `discard` puts it back."""
        while self._urgent:
            payment_hash = self._urgent.popleft()
            entry = self._entries.get(payment_hash)
            if entry is not None and entry.place is _Place.URGENT:
                entry.place = _Place.OUT
                return payment_hash, True
        if urgent_only:
            return None
        self._wake(now)
        if not self._ready:
            return None
        payment_hash, _ = self._ready.popitem(last=self._newest_next)
        self._newest_next = not self._newest_next
        self._entries[payment_hash].place = _Place.OUT
        return payment_hash, False

    def next_due(self, now: float) -> float | None:
        """Return when there will be something to take; None when nothing is scheduled."""
        if self._urgent or self._ready:
            return now
        while self._later and not self._is_due(*self._later[0]):
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def lag(self, now: float) -> float:
        """Return for how long the longest waiting invoice has been due, in seconds."""
        self._wake(now)
        return max(0.0, now - self._entries[next(iter(self._ready))].due) if self._ready else 0.0

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, payment_hash = heapq.heappop(self._later)
            if self._is_due(due, payment_hash):
                self._entries[payment_hash].place = _Place.READY
                self._ready[payment_hash] = None

    def _is_due(self, due: float, payment_hash: str) -> bool:
        entry = self._entries.get(payment_hash)
        return entry is not None and entry.place is _Place.LATER and entry.due == due

    def _put_first(self, payment_hash: str, entry: Entry) -> None:
        entry.place = _Place.URGENT
        self._urgent.append(payment_hash)

    def _tidy(self) -> None:
        """Drop what was scheduled again or forgotten, before it outnumbers what counts."""
        if len(self._later) > 2 * len(self._entries) + _STALE_ALLOWED:
            self._later = [item for item in self._later if self._is_due(*item)]
            heapq.heapify(self._later)


class Gate:
    """Says when the next question may be asked; times are seconds of a steady clock.

    Attributes:
        opens_at: When that is.

    """

    def __init__(self, timing: WatchTiming) -> None:
        self._timing = timing
        self._troubles = 0
        self._trouble_until = 0.0
        self._closed_until = 0.0
        self.opens_at = 0.0

    def trouble(self, now: float) -> None:
        """No transport worked: wait, longer each time; several answers of the same time count once."""
        if now >= self._trouble_until:
            self._troubles += 1
            self._trouble_until = now + self._timing.trouble.pause(self._troubles)
            self.opens_at = max(self._trouble_until, self._closed_until)

    def close_for(self, now: float, seconds: float) -> None:
        """The server takes no more for now."""
        self._closed_until = max(self._closed_until, now + min(seconds, self._timing.longest_closure))
        self.opens_at = max(self._trouble_until, self._closed_until)

    def lift(self) -> None:
        """Something was answered: the trouble is over."""
        self._troubles, self._trouble_until = 0, 0.0
        self.opens_at = self._closed_until
