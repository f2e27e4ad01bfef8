"""Which unpaid invoice to ask about next: an entry per invoice, no task, no timer.

Pure: knows no clock and no server. Times are seconds of any steady clock, so that a jump of the wall clock moves
nothing. Under more load than can be asked in time the newest and the longest waiting take turns: a customer who stands
at the till is answered, and nobody is forgotten.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

__all__ = ["Entry", "Pace", "Schedule"]

_STALE_ALLOWED: Final = 64


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an unpaid invoice is asked about, in seconds.

    Attributes:
        quick: The first pause while nothing is heard; later ones are a tenth of the invoice's age.
        heard: The first pause while settlements are heard; later ones are the invoice's age. The server drops events
            (flash-server.md 3.5), so hearing alone is not enough.
        slowest: The longest pause.
        retry: The first pause after a question that brought nothing; each further one is twice as long.
        slowest_retry: The longest of those while the invoice may still be paid.

    """

    quick: float = 2.0
    heard: float = 60.0
    slowest: float = 300.0
    retry: float = 1.0
    slowest_retry: float = 30.0

    def next_question(self, entry: Entry, now: float, grace: float, *, hearing: bool) -> float:
        """Return when to ask about an invoice that was found unpaid.

        Its expiry and the end of the grace time are never slept through: the answers then decide about EXPIRED.
        """
        age, final = now - entry.begun, entry.expires + grace
        if now >= final:
            return now + min(self.slowest, self.retry * 2.0 ** min(entry.vain, 16))
        pause = max(self.heard, age) if hearing else max(self.quick, age / 10)
        milestone = entry.expires if now < entry.expires else final
        return min(now + min(pause, self.slowest), milestone)

    def next_attempt(self, entry: Entry, now: float) -> float:
        """Return when to ask again after a question that brought nothing."""
        return now + min(self.slowest_retry, self.retry * 2.0 ** min(max(0, entry.vain - 1), 16))


class _Lane(IntEnum):
    """Where an entry is."""

    OUT = 0
    LATER = 1
    READY = 2
    URGENT = 3


class Entry:
    """What is remembered of an unpaid invoice beyond its row in the journal.

    Attributes:
        begun: When it was made.
        expires: When its BOLT11 expires.
        due: When to ask about it.
        vain: How many questions in a row brought nothing.

    """

    __slots__ = ("again", "begun", "due", "expires", "managed", "vain")

    def __init__(self, begun: float, expires: float) -> None:
        self.begun = begun
        self.expires = expires
        self.due = begun
        self.vain = 0
        self.managed = _Lane.OUT
        self.again = _Lane.OUT


class Schedule:
    """Unpaid invoices by payment hash, each due once at most."""

    def __init__(self) -> None:
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

    @property
    def scheduled(self) -> int:
        """How many places the entries take in all connections, stale ones included."""
        return len(self._later) + len(self._ready) + len(self._urgent)

    def add(self, payment_hash: str, entry: Entry, due: float) -> None:
        """Take an invoice up; one that is known already stays as it is."""
        if payment_hash not in self._entries:
            self._entries[payment_hash] = entry
            self.schedule(payment_hash, due)

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
        """Ask about an invoice then; at once if something was heard of it while it was being asked about."""
        entry = self._entries.get(payment_hash)
        if entry is None:
            return
        again, entry.again = entry.again, _Lane.OUT
        if again is _Lane.URGENT:
            self._put_first(payment_hash, entry)
            return
        if again is _Lane.READY:
            entry.managed = _Lane.READY
            self._ready[payment_hash] = None
            return
        self._ready.pop(payment_hash, None)
        entry.due, entry.managed = due, _Lane.LATER
        heapq.heappush(self._later, (due, payment_hash))
        self._tidy()

    def hurry(self, payment_hash: str) -> None:
        """Ask about an invoice before all others: something was heard of it."""
        entry = self._entries[payment_hash]
        if entry.managed is _Lane.OUT:
            entry.again = _Lane.URGENT
        elif entry.managed is not _Lane.URGENT:
            self._ready.pop(payment_hash, None)
            self._put_first(payment_hash, entry)

    def hurry_all(self, now: float) -> None:
        """Make every invoice due: events may have been missed."""
        self._later.clear()
        for payment_hash, entry in sorted(self._entries.items(), key=lambda item: item[1].begun):
            if entry.managed is _Lane.OUT:
                entry.again = max(entry.again, _Lane.READY)
            elif entry.managed is not _Lane.URGENT:
                entry.due, entry.managed = now, _Lane.READY
                self._ready[payment_hash] = None
                self._ready.move_to_end(payment_hash)

    def take(self, now: float, *, urgent_only: bool = False) -> tuple[str, bool] | None:
        """Take out the invoice to ask about next, and whether it is urgent; `schedule` or `discard` puts it back."""
        while self._urgent:
            payment_hash = self._urgent.popleft()
            entry = self._entries.get(payment_hash)
            if entry is not None and entry.managed is _Lane.URGENT:
                entry.managed = _Lane.OUT
                return payment_hash, True
        if urgent_only:
            return None
        self._wake(now)
        if not self._ready:
            return None
        payment_hash, _ = self._ready.popitem(last=self._newest_next)
        self._newest_next = not self._newest_next
        self._entries[payment_hash].managed = _Lane.OUT
        return payment_hash, False

    @property
    def urgent(self) -> bool:
        """Whether something was heard of an invoice that has not been taken yet."""
        return bool(self._urgent)

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
                self._entries[payment_hash].managed = _Lane.READY
                self._ready[payment_hash] = None

    def _is_due(self, due: float, payment_hash: str) -> bool:
        entry = self._entries.get(payment_hash)
        return entry is not None and entry.managed is _Lane.LATER and entry.due == due

    def _put_first(self, payment_hash: str, entry: Entry) -> None:
        entry.managed = _Lane.URGENT
        self._urgent.append(payment_hash)

    def _tidy(self) -> None:
        """Drop what was scheduled anew or forgotten, before it outnumbers what counts."""
        if len(self._later) > 2 * len(self._entries) + _STALE_ALLOWED:
            self._later = [item for item in self._later if self._is_due(*item)]
            heapq.heapify(self._later)
