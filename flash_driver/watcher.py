"""Hears of settled invoices: over one subscription per account, and by asking where that is not to be had.

One subscription tells of every invoice of the account, so a pending invoice costs a row in the journal and an entry in
a list of times, no task and no subscription. The server drops events (flash-api.md 3.5, 3.6), so after each
(re)connection and at the end of each invoice's life it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import CredentialRejected, LightningError
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.deadline import Deadline
from flash_driver.health import Listening
from flash_driver.log import get_logger
from flash_driver.operations import ME, MY_UPDATES
from flash_driver.outcome import describe
from flash_driver.replies import PriceTick, SettledUpdate, read_update
from flash_driver.transports.connection import ConnectionFailed, SubscriptionEnded
from flash_driver.verdict import data_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.invoices import Invoices
    from flash_driver.journal.base import InvoiceRecord, Journal
    from flash_driver.transports.connection import Subscription
    from flash_driver.transports.protocol import Next
    from flash_driver.transports.router import Router
    from flash_driver.transports.websocket import WebSocketTransport

__all__ = ["Watcher"]

_CONNECT_SECONDS: Final = 6.0
_ASK_SECONDS: Final = 10.0
_FIRST_EVENT_SECONDS: Final = 2.0
_LONGEST_BACKOFF_SECONDS: Final = 30.0
_ASK_AT_ONCE: Final = 8
_POLL_YOUNG: Final = timedelta(seconds=2)
_POLL_OLD: Final = timedelta(seconds=5)
_YOUNG: Final = timedelta(seconds=30)
_LONGEST_RETRY: Final = timedelta(minutes=5)

_log: Final = get_logger(part="watcher")


class Watcher:
    """Keeps an eye on one account's unpaid invoices while somebody listens.

    Args:
        socket: The transport for the subscription; None where the token opens none, then invoices are asked about.
        router: For questions.
        invoices: Asks how an invoice stands, and settles it.
        journal: Where the invoices are.
        on_tick: Told each price that passes on the subscription.
        poll_spacing: The least time between two questions, so that the server's limits are kept.

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
    ) -> None:
        self._socket = socket
        self._router = router
        self._invoices = invoices
        self._journal = journal
        self._on_tick = on_tick
        self._poll_spacing = poll_spacing
        self._clock = clock
        self._due: list[tuple[datetime, str]] = []
        self._watched: dict[str, InvoiceRecord] = {}
        self._failures: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.listening = Listening.OFF
        self.reason: str | None = None
        self.failure: LightningError | None = None
        self.last_event_at: datetime | None = None

    @property
    def running(self) -> bool:
        """Whether settlements are being heard of."""
        return bool(self._tasks)

    @property
    def watched(self) -> int:
        """How many unpaid invoices are being watched."""
        return len(self._watched)

    async def start(self) -> None:
        """Begin to watch every unpaid invoice of the journal; does nothing when running."""
        if self._tasks:
            return
        self.failure = None
        self._say(Listening.CONNECTING if self._socket is not None else Listening.POLLING)
        for name, work in (("hear", self._hear), ("ask", self._ask)):
            self._tasks.append(asyncio.create_task(work(), name=f"flash-driver watcher {name}"))
        for record in await self._journal.list_invoices(pending_only=True):
            self.watch(record)

    async def stop(self) -> None:
        """Stop watching; what is unpaid is taken up again by the next start."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._due.clear()
        self._watched.clear()
        self._failures.clear()
        self.listening, self.reason = Listening.OFF, None

    def watch(self, record: InvoiceRecord) -> None:
        """Watch an invoice from now on."""
        if self._tasks and record.payment_hash not in self._watched:
            self._watched[record.payment_hash] = record
            self._schedule(record)

    # --- hearing ----------------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Keep the subscription up, for ever, unless the token turns out to be dead."""
        failures = 0
        while self._socket is not None:
            heard_before = self.last_event_at
            try:
                await self._hear_once(self._socket)
            except (ConnectionFailed, SubscriptionEnded) as error:
                failures = 0 if self.last_event_at != heard_before else failures + 1
                self._say(Listening.POLLING, str(error))
                self._ask_about_all()
                _log.info("subscription lost, asking instead", why=str(error), attempt=failures)
            except CredentialRejected as error:
                self.failure = error
                self._say(Listening.FAILED, str(error))
                _log.error("the token is refused, nothing can be heard any more")
                self._journal.bell.ring()
                return
            # Full jitter: many processes that lost the same server do not come back in step.
            await asyncio.sleep(random.uniform(0.05, min(_LONGEST_BACKOFF_SECONDS, 0.5 * 2**failures)))  # noqa: S311 - no secret

    async def _hear_once(self, socket: WebSocketTransport) -> None:
        # An older server closes the socket on its first mutation; find out before a subscription lives there.
        await self._router.learn_whether_socket_executes(Deadline.after(_CONNECT_SECONDS))
        subscription = await socket.open_subscription(MY_UPDATES(), Deadline.after(_CONNECT_SECONDS))
        try:
            await self._await_first_event(subscription)
            self._say(Listening.HEARING)
            _log.info("listening for settlements via WebSocket", watched=len(self._watched))
            # Whatever was paid before the subscription took effect has to be asked for; afterwards it is heard.
            self._ask_about_all()
            while True:
                await self._take(await subscription.receive())
        finally:
            await subscription.aclose()

    async def _await_first_event(self, subscription: Subscription) -> None:
        """Wait for the price that the server sends to each new subscriber: from then on the subscription works."""
        try:
            async with asyncio.timeout(_FIRST_EVENT_SECONDS):
                await self._take(await subscription.receive())
        except TimeoutError:
            _log.debug("no first event on the subscription")

    async def _take(self, event: Next) -> None:
        self.last_event_at = self._clock()
        if event.data is None and event.errors:
            words, code = describe(event.errors)
            if code == "NOT_AUTHENTICATED":
                await self._confirm_credential()
            raise SubscriptionEnded(f"the server answered the subscription with: {words}")
        match read_update(event.data):
            case SettledUpdate(payment_hash):
                await self._settle(payment_hash)
            case PriceTick() as tick:
                self._on_tick(tick)
            case _:
                pass

    async def _confirm_credential(self) -> None:
        """A socket may be anonymous by mischance (flash-api.md 1.3): only an authenticated question tells.

        Raises:
            CredentialRejected: The token is dead.

        """
        try:
            data_of(await self._router.perform(ME(), Deadline.after(_ASK_SECONDS)), "confirming the token")
        except CredentialRejected:
            raise
        except LightningError as error:
            _log.debug("the token could not be confirmed now", why=str(error))
        if self._socket is not None:
            await self._socket.aclose()

    async def _settle(self, payment_hash: str) -> None:
        record = await self._journal.find_invoice(payment_hash)
        if record is None:
            _log.debug("a settlement of an invoice that this driver did not make", payment_hash=payment_hash)
            return
        if record.status is LightningInvoiceStatus.PAID:
            return
        try:
            await self._invoices.settle(record, Deadline.after(_ASK_SECONDS))
        except LightningError as error:
            self._retry(record, str(error))
        else:
            self._forget(payment_hash)

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Ask about each invoice when its time has come, a few at once."""
        slots = asyncio.Semaphore(_ASK_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                record = await self._next_due()
                await slots.acquire()
                group.create_task(self._ask_about(record, slots))
                await asyncio.sleep(self._poll_spacing.total_seconds())

    async def _next_due(self) -> InvoiceRecord:
        while True:
            self._changed.clear()
            if not self._due:
                await self._changed.wait()
                continue
            due, payment_hash = self._due[0]
            record = self._watched.get(payment_hash)
            if record is None:
                heapq.heappop(self._due)
                continue
            wait = (due - self._clock()).total_seconds()
            if wait <= 0:
                heapq.heappop(self._due)
                return record
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _ask_about(self, record: InvoiceRecord, slots: asyncio.Semaphore) -> None:
        try:
            fresh = await self._invoices.refresh(record, Deadline.after(_ASK_SECONDS))
        except LightningError as error:
            self._retry(record, str(error))
        else:
            self._failures.pop(record.payment_hash, None)
            if fresh.status is LightningInvoiceStatus.UNPAID:
                self._schedule(record)
            else:
                self._forget(record.payment_hash)
        finally:
            slots.release()

    def _ask_about_all(self) -> None:
        now = self._clock()
        self._due = [(now, payment_hash) for payment_hash in self._watched]
        self._changed.set()

    def _schedule(self, record: InvoiceRecord) -> None:
        self._due_at(record.payment_hash, self._next_question(record))

    def _next_question(self, record: InvoiceRecord) -> datetime:
        """When to ask next: at the end of its life while events are heard, every few seconds while they are not."""
        now, final = self._clock(), self._invoices.final_at(record)
        if now >= final:
            return now + _POLL_OLD
        if self.listening is Listening.HEARING:
            return final
        pause = _POLL_YOUNG if now - record.created_at < _YOUNG else _POLL_OLD
        return min(now + pause, final)

    def _retry(self, record: InvoiceRecord, why: str) -> None:
        count = self._failures[record.payment_hash] = self._failures.get(record.payment_hash, 0) + 1
        pause = min(_LONGEST_RETRY, _POLL_YOUNG * 2 ** min(count, 10))
        _log.debug("could not ask about an invoice", payment_hash=record.payment_hash, why=why, failures=count)
        self._due_at(record.payment_hash, self._clock() + pause)

    def _due_at(self, payment_hash: str, due: datetime) -> None:
        heapq.heappush(self._due, (due, payment_hash))
        self._changed.set()

    def _forget(self, payment_hash: str) -> None:
        self._watched.pop(payment_hash, None)
        self._failures.pop(payment_hash, None)

    def _say(self, listening: Listening, reason: str | None = None) -> None:
        self.listening, self.reason = listening, reason
