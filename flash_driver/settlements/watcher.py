"""Watches the unpaid invoices of one account while somebody listens: by hearing, and by asking.

One subscription tells of every invoice of the account (`hearing`). The server drops events and sockets break, so every
unpaid invoice is also asked about (`asking`): after each (re)connection, at its expiry and after the grace time, and
every few seconds while nothing can be heard.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.log import get_logger
from flash_driver.common.once import LogOnce
from flash_driver.settlements.backoff import Backoff, Spacing
from flash_driver.settlements.health import Health, Listening
from flash_driver.settlements.listening_state import ListeningState
from flash_driver.settlements.polling import Polling
from flash_driver.settlements.schedule import Pace
from flash_driver.settlements.subscription_feed import SubscriptionFeed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from typing import Any

    from flash_driver.flash_api.replies import PriceTick
    from flash_driver.invoices.lookup import InvoiceLookup
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.transports.router import Router
    from flash_driver.transports.websocket.transport import WebSocketTransport

__all__ = ["Watcher"]

_LOAD_AGAIN_SECONDS: Final = 2.0
_IDENTIFY_AGAIN_SECONDS: Final = 10.0
_FRESH: Final = 60.0
"""How old the word may be whose account this is, in seconds, when listening begins."""

_log: Final = get_logger(part="watcher")


class Watcher:
    """Keeps an eye on one account's unpaid invoices while somebody listens.

    Args:
        socket: The transport for the subscription; None where the token opens none, then invoices are asked about.
        router: For questions.
        lookup: Asks how an invoice stands, and settles it.
        journal: Where the invoices are.
        identify: Has the server say whose account this is, unless it did so at most this long ago.
        on_tick: Told each price that passes on the subscription.
        spacing: The time between two questions that nothing was heard for, to keep the server's limits.
        believe_events: Whether an event settles an invoice, instead of the query that it prompts.
        clock: The wall clock; compared with times of a BOLT11 only, pauses are measured on the event loop's clock.
        pace: How often an invoice is asked about.
        patience: How long to wait for what.

    """

    def __init__(
        self,
        *,
        socket: WebSocketTransport | None,
        router: Router,
        lookup: InvoiceLookup,
        journal: Journal,
        identify: Callable[[timedelta], Awaitable[None]],
        on_tick: Callable[[PriceTick], None],
        spacing: Spacing,
        believe_events: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pace: Pace | None = None,
        patience: Backoff | None = None,
    ) -> None:
        self._socket = socket
        self._journal = journal
        self._identify = identify
        self._unsure = False
        self._patience = patience or Backoff()
        self._reload = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tell_once = LogOnce(_log)
        self._state = ListeningState(clock, on_failure=self._ring)
        self._polling = Polling(
            lookup=lookup,
            journal=journal,
            state=self._state,
            tell_once=self._tell_once,
            spacing=spacing,
            believe_events=believe_events,
            clock=clock,
            pace=pace or Pace(),
            patience=self._patience,
        )
        self._feed = SubscriptionFeed(
            socket=socket,
            router=router,
            polling=self._polling,
            state=self._state,
            on_first_event=self._catch_up,
            on_tick=on_tick,
            tell_once=self._tell_once,
            clock=clock,
            patience=self._patience,
        )

    @property
    def running(self) -> bool:
        """Whether settlements are being heard of."""
        return bool(self._tasks)

    @property
    def watched(self) -> int:
        """How many unpaid invoices are being watched."""
        return self._polling.watched

    @property
    def listening(self) -> Listening:
        """How settlements are heard of."""
        return self._state.listening

    @property
    def failure(self) -> LightningError | None:
        """Why nothing can be heard or asked any more, if that is so."""
        return self._state.failure

    def health(self, transports: Mapping[str, str]) -> Health:
        """Say how things stand.

        Args:
            transports: What is known of each transport.

        """
        state = self._state
        return Health(
            listening=state.listening,
            reason=state.reason or self._polling.trouble,
            since=state.since,
            connected=self._socket is not None and self._socket.connected,
            reconnects=0 if self._socket is None else max(0, self._socket.times_connected - 1),
            losses=0 if state.hearing else self._feed.losses,
            last_event_at=self._feed.last_event_at,
            pending=self._polling.watched,
            lag=timedelta(seconds=self._polling.lag if self._tasks else 0.0),
            transports=transports,
        )

    async def start(self) -> None:
        """Begin to watch every unpaid invoice of the journal; does nothing when running."""
        if self._tasks:
            return
        self._reload = asyncio.Event()
        self._polling.begin()
        self._state.begin()
        for name, work in (("load", self._load), ("hear", self._feed.run), ("ask", self._polling.run)):
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
                self._polling.clear()
                self._state.say(Listening.OFF)

    def watch(self, record: InvoiceRecord) -> None:
        """Watch an invoice from now on."""
        if self._tasks:
            self._polling.watch(record)

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
            self._state.broken = True
            self._state.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever listens has to know
            self._state.broken = True
            _log.error("watching broke", error=type(error).__name__)
            self._state.fail(LightningError(f"watching invoices broke ({type(error).__name__}); listen again"))

    def _ring(self) -> None:
        """Wake every listener; it finds the failure."""
        self._journal.wakeup.wake()

    def _catch_up(self) -> None:
        """Ask about everything: what was paid before the subscription was up may have been missed.

        The server itself may be another one than before, on which the same token opens another account.
        """
        self._unsure = True
        self._polling.lift()
        self._polling.ask_about_all()
        self._reload.set()

    async def _load(self) -> None:
        """Take up what the journal knows as unpaid: at first, after each reconnection, and now and then.

        Invoices that other processes made are among them: theirs may have died.
        """
        while True:
            self._reload.clear()
            pause = self._patience.reload
            if self._unsure and not await self._know_account():
                pause = min(pause, _IDENTIFY_AGAIN_SECONDS)
            try:
                await self._polling.load()
            except LightningError as error:
                # A database that hiccups is asked again; it is no reason to stop hearing.
                self._tell_once("the journal could not be read", why=str(error))
                pause = min(pause, _LOAD_AGAIN_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._reload.wait()

    async def _know_account(self) -> bool:
        """Have the account confirmed, so that the journal is the right one; what was lately confirmed is believed."""
        lost_at = self._feed.lost_at
        since_lost = _FRESH if lost_at is None else asyncio.get_running_loop().time() - lost_at
        try:
            await self._identify(timedelta(seconds=since_lost))
        except LightningError as error:
            _log.debug("the account could not be confirmed now", why=str(error))
            return False
        self._unsure = False
        return True
