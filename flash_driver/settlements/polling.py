"""Asks how invoices stand: each when its time has come, a few at once, what was announced before all others.

A watched invoice costs a row in the journal and an entry in the schedule, no task and no subscription.

An event is a hint and the query decides (flash-server.md 3.5, 3.6): what was announced is asked about at once. Where
the host chose to trust events, see `event_trust`, the query is asked all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable, CredentialRejected, LightningError, RateLimited
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.settlements.event_trust import EventTrust
from flash_driver.settlements.schedule import Entry, Gate, Schedule, next_attempt, next_question

if TYPE_CHECKING:
    from flash_driver.flash_api.events import Announcement
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.settlements.health import ListeningState
    from flash_driver.settlements.watched import WatchedAccount

__all__ = ["Polling"]

_ASK_AT_ONCE: Final = 8
_ASK_URGENTLY_AT_ONCE: Final = 64
_FRUITLESS: Final = 10
"""How often to ask soon again about what was announced and is not paid."""
_STRANGERS_REMEMBERED: Final = 1000
_LOAD_AT_ONCE: Final = 500

_log: Final = get_logger(part="watcher")


class Polling:
    """Asks about the invoices of one account that are unpaid, or called expired for less than a day.

    Args:
        account: What is watched.
        state: Tells whether the subscription is up, and is told when the token turns out to be dead.

    Attributes:
        trouble: Why the last question brought nothing, if that is so.

    """

    def __init__(self, account: WatchedAccount, state: ListeningState) -> None:
        self._account = account
        self._lookup = account.lookup
        self._journal = account.journal
        self._pace = account.timing.pace
        self._now = asyncio.get_running_loop().time
        self._state = state
        self._under_way = 0
        self._quiet_until = 0.0
        self._strangers: dict[str, bool] = {}
        self._schedule = Schedule()
        self._event_trust = EventTrust(account, self._schedule.hurry) if account.trust_events else None
        self._gate = Gate(account.timing)
        self._refused_since: float | None = None
        self._loaded: tuple[str, int] | None = None
        self.trouble: str | None = None

    @property
    def watched(self) -> int:
        """How many invoices are being watched."""
        return len(self._schedule)

    @property
    def lag(self) -> float:
        """For how long the longest waiting of them has been due to be asked about, in seconds."""
        return self._schedule.lag(self._now())

    def begin(self) -> None:
        """Forget the troubles of before."""
        self._gate = Gate(self._account.timing)
        self._refused_since = self.trouble = self._loaded = None
        self._under_way, self._quiet_until = 0, 0.0

    def clear(self) -> None:
        """Forget every invoice."""
        self._schedule.clear()
        if self._event_trust is not None:
            self._event_trust.clear()
        self._strangers.clear()

    # --- what to ask about ------------------------------------------------------------------------------------------

    def _watch(self, record: InvoiceRecord) -> None:
        """Watch a new invoice from now on."""
        if record.payment_hash not in self._schedule:
            now, entry = self._now(), self._entry(record)
            self._schedule.add(record.payment_hash, entry, self._next_question(record, entry, now))
            if self._strangers.pop(record.payment_hash, False):
                self._schedule.hurry(record.payment_hash)

    async def load(self, *, everything: bool) -> None:
        """Take up what the journal knows as unpaid, and what expired lately.

        Args:
            everything: Whether to read all of it, instead of what was made since the last time.

        Raises:
            LightningError: The journal can't be read now.

        """
        await self._journal.owner.account()
        if everything or self._loaded is None or self._loaded[0] != self._journal.id:
            _, place = await self._journal.made_after(None)
            await self._load_everything()
        else:
            made, place = await self._journal.made_after(self._loaded[1])
            for record in made:
                self._watch(record)
        self._loaded = self._journal.id, place

    async def _load_everything(self) -> None:
        count = 0
        async for record in self._journal.pending_invoices(expired_since=self._lookup.late_since):
            if record.payment_hash not in self._schedule:
                self._schedule.add(record.payment_hash, self._entry(record), self._now())
            count += 1
            if count % _LOAD_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def hint(self, announcement: Announcement) -> None:
        """Ask about an invoice that the server says was paid: it may be mistaken, or mean another account's."""
        payment_hash = announcement.payment_hash
        if payment_hash not in self._schedule:
            record = await self._journal.find_invoice(payment_hash)
            if record is None:
                self._account.tell_once(
                    "a settlement of an invoice that this driver did not make", payment_hash=payment_hash
                )
                self._note_stranger(payment_hash)
                return
            if record.status is LightningInvoiceStatus.PAID:
                return
            self._schedule.add(payment_hash, self._entry(record), self._now())
        if self._event_trust is None or not self._event_trust.note(announcement):
            self._schedule.hurry(payment_hash)

    def _note_stranger(self, payment_hash: str) -> None:
        """Remember for a while what was announced: an event can outrun the answer with the invoice in it."""
        self._strangers[payment_hash] = True
        if len(self._strangers) > _STRANGERS_REMEMBERED:
            del self._strangers[next(iter(self._strangers))]

    def ask_about_all(self, *, late: bool) -> None:
        """Ask about every invoice: events may have been missed; `late` includes those that are called expired."""
        self._schedule.hurry_all(self._now(), late=late)

    def lift(self) -> None:
        """The server can be reached again."""
        self._gate.lift()

    def _entry(self, record: InvoiceRecord) -> Entry:
        """Translate the BOLT11's times to the steady clock; a wall clock that is days off moves them no further."""
        now, wall = self._now(), self._account.clock()
        late = record.status is LightningInvoiceStatus.EXPIRED
        life = max(0.0, (record.expires_at - record.created_at).total_seconds())
        age = max(0.0, (wall - record.created_at).total_seconds())
        left = min(life, (record.expires_at - wall).total_seconds())
        return Entry(now - age, now + (left if late else max(0.0, left)), late=late)

    def _next_question(self, record: InvoiceRecord, entry: Entry, now: float) -> float:
        grace = self._grace(record)
        return next_question(self._pace, entry, now, grace, subscribed=self._state.subscribed)

    def _grace(self, record: InvoiceRecord) -> float:
        return (self._lookup.final_at(record) - record.expires_at).total_seconds()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask about each invoice when its time has come, a few at once, without end.

        One that was announced waits for no other: neither for their answers, nor for the pause between them, nor for
        the gate that their trouble has closed.
        """
        schedule = self._schedule
        async with asyncio.TaskGroup() as group:
            if self._event_trust is not None:
                group.create_task(self._event_trust.run())
            while True:
                schedule.changed.clear()
                now, opens, found = self._now(), self._gate.opens_at, None
                if self._under_way < _ASK_URGENTLY_AT_ONCE:
                    full = self._under_way >= _ASK_AT_ONCE or now < max(self._quiet_until, opens)
                    found = schedule.take(now, urgent_only=full)
                if found is not None:
                    payment_hash, urgent = found
                    self._under_way += 1
                    group.create_task(self._ask_about(payment_hash, urgent=urgent))
                    if not urgent:
                        self._quiet_until = self._now() + self._account.spacing.after(self.lag)
                    continue
                # Nothing urgent is left now, unless so much is under way that only an answer can help.
                due = schedule.next_due(now) if self._under_way < _ASK_AT_ONCE else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(None if due is None else max(due, opens, self._quiet_until)):
                        await schedule.changed.wait()

    async def _ask_about(self, payment_hash: str, *, urgent: bool) -> None:
        try:
            trust = self._event_trust
            record = None if trust is None else trust.take(payment_hash)
            record = record or await self._journal.find_invoice(payment_hash)
            if record is not None and trust is not None and payment_hash in trust:
                await self._check_trust(trust, record)
            elif record is None or self._is_over(record, urgent=urgent):
                self._schedule.discard(payment_hash)
            else:
                await self._ask_about_open(record, urgent=urgent)
        except LightningError as error:
            self._retry(payment_hash, error)
        except Exception as error:  # noqa: BLE001 - one that can't be handled must not end the others
            kind = type(error).__name__
            self._account.tell_once("an invoice could not be asked about", payment_hash=payment_hash, error=kind)
            self._retry(payment_hash, LightningError(f"asking about it broke ({kind})"))
        finally:
            self._under_way -= 1
            self._schedule.changed.set()

    def _is_over(self, record: InvoiceRecord, *, urgent: bool) -> bool:
        """Whether nothing can become of an invoice any more; one that was announced is asked about at any age."""
        if record.status is LightningInvoiceStatus.EXPIRED:
            return not urgent and not self._lookup.may_be_paid_late(record)
        return record.status is LightningInvoiceStatus.PAID

    async def _check_trust(self, trust: EventTrust, record: InvoiceRecord) -> None:
        fruitless = await trust.check(record, Deadline.after(self._account.timing.ask))
        self._answered()
        if fruitless is None:
            self._schedule.discard(record.payment_hash)
        else:
            now, entry = self._now(), self._schedule[record.payment_hash]
            entry.fruitless = fruitless
            self._schedule.schedule(record.payment_hash, next_attempt(self._pace, entry, now))

    async def _ask_about_open(self, record: InvoiceRecord, *, urgent: bool) -> None:
        fresh = await self._lookup.refresh(record, Deadline.after(self._account.timing.ask))
        self._answered()
        if fresh.status is LightningInvoiceStatus.PAID:
            if self._event_trust is not None:
                self._event_trust.forget(record.payment_hash)
            self._schedule.discard(record.payment_hash)
            return
        now, entry = self._now(), self._schedule[record.payment_hash]
        entry.late = fresh.status is LightningInvoiceStatus.EXPIRED
        if urgent:
            self._account.tell_once(
                "an invoice was announced, and the query does not say that it is paid",
                payment_hash=record.payment_hash,
                status=fresh.status.value,
            )
        final = not entry.late and now >= entry.expires + self._grace(record)
        # The query may lag behind an event: what was announced is asked about again soon, a few times.
        announced = urgent or 0 < entry.fruitless < _FRUITLESS
        entry.fruitless = entry.fruitless + 1 if announced or final else 0
        due = self._next_question(record, entry, now)
        if announced and not final:
            due = min(due, next_attempt(self._pace, entry, now))
        self._schedule.schedule(record.payment_hash, due)

    def _answered(self) -> None:
        self._gate.lift()
        self._refused_since = self.trouble = None

    def _retry(self, payment_hash: str, error: LightningError) -> None:
        """Ask again later: this one, or all if the trouble is not its own."""
        now, entry = self._now(), self._schedule[payment_hash]
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
                entry.fruitless += 1
        _log.debug(
            "could not ask about an invoice", payment_hash=payment_hash, why=str(error), fruitless=entry.fruitless
        )
        self._schedule.schedule(payment_hash, next_attempt(self._pace, entry, now))

    def _doubt_credential(self, now: float, error: CredentialRejected) -> None:
        """What can't be asked about is as bad as no news; a single refusal may be a mistake of the server's."""
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since >= self._account.timing.refusal and self._state.failure is None:
            _log.error("the token is refused, nothing can be asked any more")
            self._state.fail(error)
