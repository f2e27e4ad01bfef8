"""Asks how unpaid invoices stand: each when its time has come, a few at once, what was announced before all others.

A pending invoice costs a row in the journal and an entry in the schedule, no task and no subscription.

An event is a hint and the query decides (flash-server.md 3.5, 3.6): what was heard of is asked about at once. Where the
host chose to believe events, see `event_trust`, the query is asked all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable, CredentialRejected, LightningError, RateLimited
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.settlements.backoff import Gate
from flash_driver.settlements.event_trust import EventTrust
from flash_driver.settlements.schedule import Entry, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.common.once import LogOnce
    from flash_driver.flash_api.events import Announcement
    from flash_driver.invoices.lookup import InvoiceLookup
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.backoff import Backoff, Spacing
    from flash_driver.settlements.listening_state import ListeningState
    from flash_driver.settlements.schedule import Pace

__all__ = ["Polling"]

_ASK_AT_ONCE: Final = 8
_ASK_URGENTLY_AT_ONCE: Final = 64
_STRANGERS_REMEMBERED: Final = 1000
_LOAD_AT_ONCE: Final = 500

_log: Final = get_logger(part="watcher")


class Polling:
    """Asks about the unpaid invoices of one account.

    Args:
        lookup: Asks how an invoice stands, and settles it.
        journal: Where the invoices are.
        state: Tells whether settlements are heard, and is told when the token turns out to be dead.
        tell_once: Logs what may come again and again.
        spacing: The time between two questions that nothing was heard for, to keep the server's limits.
        believe_events: Whether an event settles an invoice, instead of the query that it prompts.
        clock: The wall clock; compared with times of a BOLT11 only, pauses are measured on the event loop's clock.
        pace: How often an invoice is asked about.
        patience: How long to wait for what.

    Attributes:
        trouble: Why the last question brought nothing, if that is so.

    """

    def __init__(
        self,
        *,
        lookup: InvoiceLookup,
        journal: Journal,
        state: ListeningState,
        tell_once: LogOnce,
        spacing: Spacing,
        believe_events: bool,
        clock: Callable[[], datetime],
        pace: Pace,
        patience: Backoff,
    ) -> None:
        self._lookup = lookup
        self._journal = journal
        self._state = state
        self._tell_once = tell_once
        self._spacing = spacing
        self._under_way = 0
        self._quiet_until = 0.0
        self._strangers: dict[str, bool] = {}
        self._event_trust = EventTrust(lookup, enabled=believe_events)
        self._clock = clock
        self._pace = pace
        self._patience = patience
        self._schedule = Schedule()
        self._gate = Gate(patience)
        self._changed = asyncio.Event()
        self._refused_since: float | None = None
        self.trouble: str | None = None

    @property
    def watched(self) -> int:
        """How many unpaid invoices are being watched."""
        return len(self._schedule)

    @property
    def lag(self) -> float:
        """For how long the longest waiting of them has been due to be asked about, in seconds."""
        return self._schedule.lag(_now())

    def begin(self) -> None:
        """Forget the troubles of before."""
        self._gate, self._changed = Gate(self._patience), asyncio.Event()
        self._refused_since = self.trouble = None
        self._under_way, self._quiet_until = 0, 0.0

    def clear(self) -> None:
        """Forget every invoice."""
        self._schedule.clear()
        self._event_trust.clear()
        self._strangers.clear()

    # --- what to ask about ------------------------------------------------------------------------------------------

    def watch(self, record: InvoiceRecord) -> None:
        """Watch a new invoice from now on."""
        if record.payment_hash not in self._schedule:
            now, entry = _now(), self._entry(record)
            due = self._pace.next_question(entry, now, self._grace(record), hearing=self._state.hearing)
            self._schedule.add(record.payment_hash, entry, due)
            if self._strangers.pop(record.payment_hash, False):
                self._schedule.hurry(record.payment_hash)
            self._changed.set()

    async def load(self) -> None:
        """Take up what the journal knows as unpaid.

        Raises:
            LightningError: The journal can't be read now.

        """
        count = 0
        async for record in self._journal.pending_invoices():
            if record.payment_hash not in self._schedule:
                self._schedule.add(record.payment_hash, self._entry(record), _now())
                self._changed.set()
            count += 1
            if count % _LOAD_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def hint(self, announcement: Announcement) -> None:
        """Ask about an invoice that the server says was paid: it may be mistaken, or mean another account's."""
        payment_hash = announcement.payment_hash
        if self._event_trust.enabled or payment_hash not in self._schedule:
            record = await self._journal.find_invoice(payment_hash)
            if record is None:
                self._tell_once("a settlement of an invoice that this driver did not make", payment_hash=payment_hash)
                self._note_stranger(payment_hash)
                return
            if record.status is LightningInvoiceStatus.PAID:
                return
            await self._event_trust.settle(announcement, record, Deadline.after(self._patience.ask))
            self._schedule.add(payment_hash, self._entry(record), _now())
        self._schedule.hurry(payment_hash)
        self._changed.set()

    def _note_stranger(self, payment_hash: str) -> None:
        """Remember for a while what was announced: an event can outrun the answer with the invoice in it."""
        self._strangers[payment_hash] = True
        if len(self._strangers) > _STRANGERS_REMEMBERED:
            del self._strangers[next(iter(self._strangers))]

    def ask_about_all(self) -> None:
        """Ask about every invoice: events may have been missed."""
        self._schedule.hurry_all(_now())
        self._changed.set()

    def lift(self) -> None:
        """The server can be reached again."""
        self._gate.lift()

    def _entry(self, record: InvoiceRecord) -> Entry:
        """Translate the BOLT11's times to the steady clock; a wall clock that is days off moves them no further."""
        now, wall = _now(), self._clock()
        life = max(0.0, (record.expires_at - record.created_at).total_seconds())
        age = max(0.0, (wall - record.created_at).total_seconds())
        left = min(life, max(0.0, (record.expires_at - wall).total_seconds()))
        return Entry(now - age, now + left)

    def _grace(self, record: InvoiceRecord) -> float:
        return (self._lookup.final_at(record) - record.expires_at).total_seconds()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask about each invoice when its time has come, a few at once, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                payment_hash, urgent = await self._next()
                self._under_way += 1
                group.create_task(self._ask_about(payment_hash, urgent=urgent))
                if not urgent:
                    self._quiet_until = _now() + self._spacing.after(self.lag)

    async def _next(self) -> tuple[str, bool]:
        """Wait until it is time to ask about an invoice.

        One that something was heard of waits for no other: neither for their answers nor for the pause between them.
        """
        while True:
            self._changed.clear()
            now, opens = _now(), self._gate.opens_at
            if opens <= now and self._under_way < _ASK_URGENTLY_AT_ONCE:
                crowded = self._under_way >= _ASK_AT_ONCE or now < self._quiet_until
                if (found := self._schedule.take(now, urgent_only=crowded)) is not None:
                    return found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_chance(now, opens)):
                    await self._changed.wait()

    def _next_chance(self, now: float, opens: float) -> float | None:
        """Return when to look again if nothing changes before; None when only a change can help."""
        due = self._schedule.next_due(now)
        most = _ASK_URGENTLY_AT_ONCE if self._schedule.urgent else _ASK_AT_ONCE
        if due is None or self._under_way >= most:
            return None
        return max(due, opens) if self._schedule.urgent else max(due, opens, self._quiet_until)

    async def _ask_about(self, payment_hash: str, *, urgent: bool) -> None:
        try:
            record = await self._journal.find_invoice(payment_hash)
            if record is not None and payment_hash in self._event_trust:
                await self._check_belief(record)
                return
            # An expired one is asked about only when the server announces something after all: PAID wins.
            settled = record is not None and record.status is LightningInvoiceStatus.PAID
            if record is None or settled or (record.status is LightningInvoiceStatus.EXPIRED and not urgent):
                self._schedule.discard(payment_hash)
                return
            await self._ask_about_unpaid(record, urgent=urgent)
        except LightningError as error:
            self._retry(payment_hash, error)
        finally:
            self._under_way -= 1
            self._changed.set()

    async def _check_belief(self, record: InvoiceRecord) -> None:
        vain = await self._event_trust.check(record, Deadline.after(self._patience.ask))
        self._answered()
        if vain is None:
            self._schedule.discard(record.payment_hash)
        else:
            now, entry = _now(), self._schedule[record.payment_hash]
            entry.vain = vain
            self._schedule.schedule(record.payment_hash, self._pace.next_attempt(entry, now))

    async def _ask_about_unpaid(self, record: InvoiceRecord, *, urgent: bool) -> None:
        fresh = await self._lookup.refresh(record, Deadline.after(self._patience.ask))
        self._answered()
        if fresh.status is not LightningInvoiceStatus.UNPAID:
            self._event_trust.forget(record.payment_hash)
            self._schedule.discard(record.payment_hash)
            return
        now, entry, grace = _now(), self._schedule[record.payment_hash], self._grace(record)
        if urgent:
            self._tell_once(
                "an invoice was announced, and the query says that it is unpaid", payment_hash=record.payment_hash
            )
        entry.vain = entry.vain + 1 if urgent or entry.vain or now >= entry.expires + grace else 0
        due = self._pace.next_question(entry, now, grace, hearing=self._state.hearing)
        if entry.vain and now < entry.expires + grace:
            # The books may lag behind the event: ask again soon.
            due = min(due, self._pace.next_attempt(entry, now))
        self._schedule.schedule(record.payment_hash, due)

    def _answered(self) -> None:
        self._gate.lift()
        self._refused_since = self.trouble = None

    def _retry(self, payment_hash: str, error: LightningError) -> None:
        """Ask again later: this one, or all if the trouble is not its own."""
        now, entry = _now(), self._schedule[payment_hash]
        self.trouble = f"asking about an invoice failed: {error}"
        match error:
            case RateLimited():
                self._gate.close_for(now, error.retry_after.total_seconds())
            case BackendUnavailable():
                self._gate.trouble(now)
            case CredentialRejected():
                self._gate.trouble(now)
                self._doubt_credential(now, error)
            case _:
                entry.vain += 1
        _log.debug("could not ask about an invoice", payment_hash=payment_hash, why=str(error), vain=entry.vain)
        self._schedule.schedule(payment_hash, self._pace.next_attempt(entry, now))

    def _doubt_credential(self, now: float, error: CredentialRejected) -> None:
        """SubscriptionFeed of what can't be asked about is as good as deaf; a single refusal may be a mischance."""
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since >= self._patience.refusal and self._state.failure is None:
            _log.error("the token is refused, nothing can be asked any more")
            self._state.fail(error)


def _now() -> float:
    """Return the steady time that pauses are measured on, in seconds."""
    return asyncio.get_running_loop().time()
