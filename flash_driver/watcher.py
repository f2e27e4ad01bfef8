"""Hears of settled invoices: over one subscription per account, and by asking.

One subscription tells of every invoice of the account, so a pending invoice costs a row in the journal and an entry in
the agenda, no task and no subscription. An event is a hint and the query decides (flash-api.md 3.5, 3.6): what was
heard of is asked about at once. The server drops events and sockets break, so every unpaid invoice is also asked about
after each (re)connection, at its expiry and after the grace time, and every few seconds while nothing can be heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable, CredentialRejected, LightningError, RateLimited
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.agenda import Agenda, Entry, Pace
from flash_driver.deadline import Deadline
from flash_driver.health import Health, Listening
from flash_driver.log import get_logger
from flash_driver.once import TellOnce
from flash_driver.operations import ME, MY_UPDATES
from flash_driver.outcome import Cause, describe
from flash_driver.patience import Gate, Patience
from flash_driver.replies import read_tick
from flash_driver.transports.connection import ConnectionFailed, SubscriptionEnded
from flash_driver.updates import announced, oddity
from flash_driver.verdict import data_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from flash_driver.invoices import Invoices
    from flash_driver.journal.base import InvoiceRecord, Journal
    from flash_driver.replies import PriceTick
    from flash_driver.transports.protocol import Next
    from flash_driver.transports.router import Router
    from flash_driver.transports.websocket import WebSocketTransport

__all__ = ["Watcher"]

_ASK_AT_ONCE: Final = 8
_LOAD_AT_ONCE: Final = 500
_LOAD_AGAIN_SECONDS: Final = 2.0

_log: Final = get_logger(part="watcher")


class _Anonymous(Exception):
    """The server does not know who we are on this socket."""


class Watcher:
    """Keeps an eye on one account's unpaid invoices while somebody listens.

    Args:
        socket: The transport for the subscription; None where the token opens none, then invoices are asked about.
        router: For questions.
        invoices: Asks how an invoice stands, and settles it.
        journal: Where the invoices are.
        on_tick: Told each price that passes on the subscription.
        poll_spacing: The least time between two questions that nothing was heard for, to keep the server's limits.
        clock: The wall clock; compared with times of a BOLT11 only, pauses are measured on the event loop's clock.
        pace: How often an invoice is asked about.
        patience: How long to wait for what.

    """

    def __init__(
        self,
        *,
        socket: WebSocketTransport | None,
        router: Router,
        invoices: Invoices,
        journal: Journal,
        on_tick: Callable[[PriceTick], None],
        poll_spacing: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._socket = socket
        self._router = router
        self._invoices = invoices
        self._journal = journal
        self._on_tick = on_tick
        self._poll_spacing = poll_spacing
        self._clock = clock
        self._pace = pace or Pace()
        self._patience = patience or Patience()
        self._agenda = Agenda()
        self._asking = Gate(self._patience)
        self._refused_since: float | None = None
        self._trouble: str | None = None
        self._changed = asyncio.Event()
        self._reload = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tell_once = TellOnce(_log)
        self._losses = 0
        self._heard_since = 0.0
        self.listening = Listening.OFF
        self.reason: str | None = None
        self.since = clock()
        self._broken = False
        self.failure: LightningError | None = None
        self.last_event_at: datetime | None = None

    @property
    def running(self) -> bool:
        """Whether settlements are being heard of."""
        return bool(self._tasks)

    @property
    def watched(self) -> int:
        """How many unpaid invoices are being watched."""
        return len(self._agenda)

    def health(self, transports: Mapping[str, str]) -> Health:
        """Say how things stand.

        Args:
            transports: What is known of each transport.

        """
        lag = self._agenda.lag(_now()) if self._tasks else 0.0
        return Health(
            listening=self.listening,
            reason=self.reason or self._trouble,
            since=self.since,
            connected=self._socket is not None and self._socket.connected,
            reconnects=0 if self._socket is None else max(0, self._socket.times_connected - 1),
            losses=0 if self._hearing else self._losses,
            last_event_at=self.last_event_at,
            pending=len(self._agenda),
            lag=timedelta(seconds=lag),
            transports=transports,
        )

    async def start(self) -> None:
        """Begin to watch every unpaid invoice of the journal; does nothing when running."""
        if self._tasks:
            return
        self.failure, self._refused_since, self._trouble, self._losses = None, None, None, 0
        self._broken = False
        self._asking = Gate(self._patience)
        self._changed, self._reload = asyncio.Event(), asyncio.Event()
        self._say(Listening.CONNECTING)
        for name, work in (("load", self._load), ("hear", self._hear), ("ask", self._ask)):
            task = asyncio.create_task(self._guard(work()), name=f"flash-driver watcher {name}")
            self._tasks.append(task)

    async def stop(self) -> None:
        """Stop watching; what is unpaid is taken up again by the next start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            if not self._tasks:
                self._agenda.clear()
                self._say(Listening.OFF)

    def watch(self, record: InvoiceRecord) -> None:
        """Watch an invoice from now on."""
        if self._tasks and record.payment_hash not in self._agenda:
            now, entry = _now(), self._entry(record)
            due = self._pace.next_question(entry, now, self._grace(record), hearing=self._hearing)
            self._agenda.add(record.payment_hash, entry, due)
            self._changed.set()

    def reload(self) -> None:
        """Look into the journal for unpaid invoices that are not watched yet."""
        self._reload.set()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Tell the listeners when something breaks that the watcher can't mend: deaf is worse than broken.

        It stays broken until it is started anew, whatever its other tasks still hear.
        """
        try:
            await work
        except LightningError as error:
            self._broken = True
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever listens has to know
            self._broken = True
            _log.error("watching broke", error=type(error).__name__)
            self._fail(LightningError(f"watching invoices broke ({type(error).__name__}); listen again"))

    def _fail(self, error: LightningError) -> None:
        self.failure = error
        self._say(Listening.FAILED, str(error))
        self._journal.bell.ring()

    # --- loading ----------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Take up what the journal knows as unpaid: at first, after each reconnection, and now and then.

        Invoices that other processes made are among them: theirs may have died.
        """
        while True:
            self._reload.clear()
            pause = self._patience.reload
            try:
                await self._load_once()
            except LightningError as error:
                # A database that hiccups is asked again; it is no reason to stop hearing.
                self._tell_once("the journal could not be read", why=str(error))
                pause = min(pause, _LOAD_AGAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._reload.wait()

    async def _load_once(self) -> None:
        count = 0
        async for record in self._journal.pending_invoices():
            if record.payment_hash not in self._agenda:
                self._agenda.add(record.payment_hash, self._entry(record), _now())
                self._changed.set()
            count += 1
            if count % _LOAD_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _entry(self, record: InvoiceRecord) -> Entry:
        """Translate the BOLT11's times to the steady clock; a wall clock that is days off moves them no further."""
        now, wall = _now(), self._clock()
        life = max(0.0, (record.expires_at - record.created_at).total_seconds())
        age = max(0.0, (wall - record.created_at).total_seconds())
        left = min(life, max(0.0, (record.expires_at - wall).total_seconds()))
        return Entry(now - age, now + left)

    def _grace(self, record: InvoiceRecord) -> float:
        return (self._invoices.final_at(record) - record.expires_at).total_seconds()

    # --- hearing ----------------------------------------------------------------------------------------------------

    @property
    def _hearing(self) -> bool:
        return self.listening is Listening.HEARING

    async def _hear(self) -> None:
        """Keep the subscription up, for ever, unless the token turns out to be dead."""
        if self._socket is None:
            self._say(Listening.POLLING, "this token opens no WebSocket")
            return
        anonymous = 0
        while True:
            try:
                await self._hear_once(self._socket)
            except (ConnectionFailed, SubscriptionEnded) as error:
                why: Exception = error
            except _Anonymous as error:
                why = error
            refused = isinstance(why, _Anonymous) or (
                isinstance(why, ConnectionFailed) and why.cause is Cause.CREDENTIAL
            )
            anonymous = anonymous + 1 if refused else 0
            stable = self._hearing and _now() - self._heard_since >= self._patience.stable
            self._losses = 1 if stable else self._losses + 1
            _log.info("not hearing, asking instead", why=str(why), losses=self._losses)
            if self.listening is not Listening.FAILED:
                self._say(Listening.POLLING, str(why))
            if self._losses == 2:
                # The first loss is mostly mended at once; from the second on what may be paid has to be asked about.
                self._ask_about_all()
            if refused:
                await self._confirm_credential(self._socket, anonymous)
            # Full jitter: many processes that lost the same server do not come back in step.
            longest = self._patience.longest_pause(self._losses)
            await asyncio.sleep(random.uniform(longest / 10, longest))  # noqa: S311 - no secret

    async def _hear_once(self, socket: WebSocketTransport) -> None:
        # An older server closes the socket on its first mutation; find out before a subscription lives there.
        await self._router.learn_whether_socket_executes(Deadline.after(self._patience.connect))
        subscription = await socket.open_subscription(MY_UPDATES(), Deadline.after(self._patience.connect))
        try:
            while True:
                await self._take(await subscription.receive())
        finally:
            await subscription.aclose()

    async def _take(self, event: Next) -> None:
        if event.data is None:
            words, code = describe(event.errors)
            if code == "NOT_AUTHENTICATED":
                raise _Anonymous(words)
            # The subscription may go on after an error, or be completed next; an event may have been lost either way.
            self._tell_once("the server sent an error on the subscription", words=words)
            raise SubscriptionEnded(f"the server answered the subscription with: {words}")
        self.last_event_at = self._clock()
        if not self._hearing:
            self._first_event()
        if (payment_hash := announced(event.data)) is not None:
            await self._hint(payment_hash)
        if (tick := read_tick(event.data)) is not None:
            self._on_tick(tick)
        elif odd := oddity(event.data):
            self._tell_once("the server sent something odd on the subscription", what=odd)

    def _first_event(self) -> None:
        """From now on settlements are heard; whatever was paid before has to be asked for."""
        self._heard_since = _now()
        if not self._broken:
            self.failure = None
            self._say(Listening.HEARING)
        self._asking.lift()
        _log.info("listening for settlements via WebSocket", pending=len(self._agenda), losses=self._losses)
        self._ask_about_all()
        self._reload.set()

    async def _hint(self, payment_hash: str) -> None:
        """Ask about an invoice that the server says was paid: it may be mistaken, or mean another account's."""
        if payment_hash not in self._agenda:
            record = await self._journal.find_invoice(payment_hash)
            if record is None:
                self._tell_once("a settlement of an invoice that this driver did not make", payment_hash=payment_hash)
                return
            if record.status is LightningInvoiceStatus.PAID:
                return
            self._agenda.add(payment_hash, self._entry(record), _now())
        self._agenda.hurry(payment_hash)
        self._changed.set()

    async def _confirm_credential(self, socket: WebSocketTransport, anonymous: int) -> None:
        """A socket may be anonymous by mischance (flash-api.md 1.3): only HTTP and several fresh sockets tell.

        Raises:
            CredentialRejected: The token is dead.

        """
        try:
            data_of(await self._router.perform(ME(), Deadline.after(self._patience.ask)), "confirming the token")
        except CredentialRejected:
            # Some servers take this kind of token on sockets alone, so what HTTP says is not enough either.
            if anonymous >= 3:
                _log.error("the token is refused, nothing can be heard any more")
                raise
        except LightningError as error:
            _log.debug("the token could not be confirmed now", why=str(error))
        # The server remembers who we are by the credential: a fresh socket sets it right for all.
        await socket.aclose()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Ask about each invoice when its time has come, a few at once."""
        slots = asyncio.Semaphore(_ASK_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                payment_hash, urgent = await self._next()
                group.create_task(self._ask_about(payment_hash, slots, urgent=urgent))
                if not urgent:
                    await asyncio.sleep(self._poll_spacing.total_seconds())

    async def _next(self) -> tuple[str, bool]:
        """Wait until it is time to ask about an invoice."""
        while True:
            self._changed.clear()
            now = _now()
            opens = self._asking.opens_at
            if opens <= now and (found := self._agenda.take(now)) is not None:
                return found
            due = self._agenda.next_due(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if due is None else max(due, opens)):
                    await self._changed.wait()

    async def _ask_about(self, payment_hash: str, slots: asyncio.Semaphore, *, urgent: bool) -> None:
        try:
            record = await self._journal.find_invoice(payment_hash)
            # An expired one is asked about only when the server announces something after all: PAID wins.
            settled = record is not None and record.status is LightningInvoiceStatus.PAID
            if record is None or settled or (record.status is LightningInvoiceStatus.EXPIRED and not urgent):
                self._agenda.discard(payment_hash)
                return
            await self._ask_about_unpaid(record, urgent=urgent)
        except LightningError as error:
            self._retry(payment_hash, error)
        finally:
            slots.release()
            self._changed.set()

    async def _ask_about_unpaid(self, record: InvoiceRecord, *, urgent: bool) -> None:
        fresh = await self._invoices.refresh(record, Deadline.after(self._patience.ask))
        self._asking.lift()
        self._refused_since = self._trouble = None
        if fresh.status is not LightningInvoiceStatus.UNPAID:
            self._agenda.discard(record.payment_hash)
            return
        now, entry, grace = _now(), self._agenda[record.payment_hash], self._grace(record)
        if urgent:
            self._tell_once(
                "an invoice was announced, and the query says that it is unpaid", payment_hash=record.payment_hash
            )
        entry.vain = entry.vain + 1 if urgent or entry.vain or now >= entry.expires + grace else 0
        due = self._pace.next_question(entry, now, grace, hearing=self._hearing)
        if entry.vain and now < entry.expires + grace:
            # The books may lag behind the event: ask again soon.
            due = min(due, self._pace.next_attempt(entry, now))
        self._agenda.schedule(record.payment_hash, due)

    def _retry(self, payment_hash: str, error: LightningError) -> None:
        """Ask again later: this one, or all if the trouble is not its own."""
        now, entry = _now(), self._agenda[payment_hash]
        self._trouble = f"asking about an invoice failed: {error}"
        match error:
            case RateLimited():
                self._asking.close_for(now, error.retry_after.total_seconds())
            case BackendUnavailable():
                self._asking.trouble(now)
            case CredentialRejected():
                self._asking.trouble(now)
                self._doubt_credential(now, error)
            case _:
                entry.vain += 1
        _log.debug("could not ask about an invoice", payment_hash=payment_hash, why=str(error), vain=entry.vain)
        self._agenda.schedule(payment_hash, self._pace.next_attempt(entry, now))

    def _doubt_credential(self, now: float, error: CredentialRejected) -> None:
        """Hearing of what can't be asked about is as good as deaf; a single refusal may be a mischance."""
        if self._refused_since is None:
            self._refused_since = now
        elif now - self._refused_since >= self._patience.refusal and self.failure is None:
            _log.error("the token is refused, nothing can be asked any more")
            self._fail(error)

    def _ask_about_all(self) -> None:
        self._agenda.hurry_all(_now())
        self._changed.set()

    # --- telling ----------------------------------------------------------------------------------------------------

    def _say(self, listening: Listening, reason: str | None = None) -> None:
        if listening is not self.listening:
            self.since = self._clock()
        self.listening, self.reason = listening, reason


def _now() -> float:
    """Return the steady time that pauses are measured on, in seconds."""
    return asyncio.get_running_loop().time()
