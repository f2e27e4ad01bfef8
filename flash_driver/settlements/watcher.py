"""Watches the invoices of one account while somebody listens: by a subscription, and by polling.

One subscription announces the payment of every invoice of the account (`subscription_feed`). The server drops events
and sockets break, so every invoice is also asked about (`polling`): every few seconds while it is young, after each
(re)connection and each loss, at its expiry and after the grace time, and for a day after it was called expired.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import TaskSet
from flash_driver.settlements.health import Health, Listening
from flash_driver.settlements.polling import Polling
from flash_driver.settlements.receipt_collector import ReceiptCollector
from flash_driver.settlements.subscription_feed import SubscriptionFeed
from flash_driver.settlements.token_watch import watch_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.settlements.health import ListeningState
    from flash_driver.settlements.watched import WatchedAccount
    from flash_driver.transports.websocket.transport import SocketTransport

__all__ = ["Watcher"]

_FRESH: Final = 60.0
"""How old the word may be whose account this is, in seconds, when listening begins."""
_LOAD_PAUSE: Final = 0.05
"""Between two looks for invoices of other processes, in seconds: the journal wakes it often when many are made."""

_log: Final = get_logger(part="watcher")


class Watcher:
    """Watches one account's invoices while somebody listens.

    Args:
        account: What is watched.
        state: Is told how it goes.

    """

    def __init__(self, account: WatchedAccount, state: ListeningState) -> None:
        self._account = account
        self._unsure = False
        self._everything = True
        self._tasks = TaskSet()
        self._state = state
        self._polling = Polling(account, state)
        self._receipts = ReceiptCollector(account)
        self._feed = SubscriptionFeed(account, self._polling, state, self._catch_up)

    def health(
        self, transports: Mapping[str, str], socket: SocketTransport | None, trouble: str | None = None
    ) -> Health:
        """Say how things stand.

        Args:
            transports: What is known of each transport.
            socket: The one whose connection is told of; None where there is none.
            trouble: What else is wrong, told where nothing worse is.

        """
        state = self._state
        return Health(
            listening=state.listening,
            reason=state.reason or self._polling.trouble or trouble or self._receipts.trouble,
            since=state.since,
            connected=socket is not None and socket.connected,
            reconnects=0 if socket is None else max(0, socket.times_connected - 1),
            losses=0 if state.subscribed else self._feed.losses,
            last_event_at=self._feed.last_event_at,
            last_answer_at=self._account.router.contact.last_answer_at,
            outage=self._account.router.contact.trouble,
            pending=self._polling.watched,
            lag=timedelta(seconds=self._polling.lag if self._tasks else 0.0),
            transports=transports,
        )

    async def start(self) -> None:
        """Begin to watch every open invoice of the journal; does nothing when it has begun."""
        if self._tasks:
            return
        self._everything = True
        self._polling.begin()
        self._state.begin()
        for name, work in (
            ("load", self._load()),
            ("subscribe", self._feed.run()),
            ("poll", self._polling.run()),
            ("receipts", self._receipts.run()),
            ("token", watch_token(self._account)),
        ):
            self._tasks.start(work, f"watcher {name}", on_failure=self._part_failed)

    async def stop(self) -> None:
        """Stop watching; what is open is taken up again by the next start."""
        try:
            await self._tasks.aclose()
        finally:
            self._polling.clear()
            self._state.say(Listening.OFF)

    def _part_failed(self, error: BaseException) -> None:
        """Tell the listeners that a part has ended by an error: no news is worse than an error.

        It stays a failure until the watcher is started again, whatever its other tasks still do.
        """
        self._state.broken = True
        if not isinstance(error, LightningError):
            _log.error("watching broke", error=type(error).__name__)
            error = LightningError(f"watching invoices broke ({type(error).__name__}); listen again")
        self._state.fail(error)

    def _catch_up(self) -> None:
        """Ask about everything: what was paid before the subscription was up may have been missed.

        The server itself may be another one than before, on which the same token opens another account.
        """
        self._unsure = self._everything = True
        self._polling.lift()
        self._polling.ask_about_all(late=True)
        with contextlib.suppress(LightningError):  # a journal that is not open yet is about to be loaded
            self._account.journal.news.made.wake()

    async def _load(self) -> None:
        """Take up what the journal knows as open: all of it at first and after each connection, then what is new.

        The journal wakes it when any process has made an invoice. That process may have ended since, or never listen.
        """
        timing = self._account.timing
        while True:
            try:
                await self._account.journal.owner.account()
                with self._account.journal.news.made.waiting() as woken:
                    pause = None
                    if self._unsure and not await self._know_account():
                        pause = timing.identify
                    everything, self._everything = self._everything, False
                    try:
                        await self._polling.load(everything=everything)
                    except BaseException:
                        self._everything = everything or self._everything
                        raise
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await woken
                await asyncio.sleep(_LOAD_PAUSE)
            except LightningError as error:
                # A database in trouble is asked again; the subscription goes on meanwhile.
                self._account.tell_once("the journal could not be read", why=str(error))
                await asyncio.sleep(timing.journal)

    async def _know_account(self) -> bool:
        """Have the account confirmed, so that the journal is the right one; what was lately confirmed is believed.

        After a loss only what was asked since the subscription is up again: a server that ends may answer until then.
        """
        renewed_at = self._feed.renewed_at
        at_most_old = _FRESH if renewed_at is None else asyncio.get_running_loop().time() - renewed_at
        try:
            await self._account.identify(timedelta(seconds=at_most_old))
        except LightningError as error:
            _log.debug("the account could not be confirmed now", why=str(error))
            return False
        self._unsure = False
        return True
