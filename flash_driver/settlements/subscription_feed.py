"""Keeps one subscription per account up, and hands on what its events announce.

What an event announces is asked about, or trusted: see `polling` and `event_trust`.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from connection_strings.errors import CredentialRejected, LightningError
from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import ME, MY_UPDATES
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.events import Announcement, read_event
from flash_driver.flash_api.outcomes import Cause
from flash_driver.flash_api.replies import PriceTick
from flash_driver.settlements.health import Listening
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.transports.websocket.subscription import SubscriptionEnded

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.settlements.health import ListeningState
    from flash_driver.settlements.polling import Polling
    from flash_driver.settlements.watched import WatchedAccount
    from flash_driver.transports.websocket.protocol import Next
    from flash_driver.transports.websocket.transport import SocketTransport

__all__ = ["SubscriptionFeed"]

_log: Final = get_logger(part="watcher")


class _Anonymous(Exception):
    """The server does not know who we are on this socket."""


class SubscriptionFeed:
    """Subscribes, and again after each loss.

    Args:
        account: What is watched.
        polling: Is told what was announced, and asks.
        state: Is told how it goes.
        on_first_event: Called when the subscription is up: whatever was paid before may have been missed.

    Attributes:
        losses: How many attempts to subscribe have failed in a row.
        renewed_at: When it was up again after the last loss, on the event loop's clock; None when none was lost yet.
        last_event_at: When the server last sent an event.

    """

    def __init__(
        self,
        account: WatchedAccount,
        polling: Polling,
        state: ListeningState,
        on_first_event: Callable[[], None],
    ) -> None:
        self._account = account
        self._polling = polling
        self._state = state
        self._on_first_event = on_first_event
        self._up_since: float | None = None
        self.losses = 0
        self.renewed_at: float | None = None
        self.last_event_at: datetime | None = None

    async def run(self) -> None:
        """Keep the subscription up without end, unless the token turns out to be dead.

        Raises:
            CredentialRejected: The token is dead.

        """
        self.losses, self._up_since, self.renewed_at = 0, None, None
        socket = self._account.socket
        if socket is None:
            self._state.say(Listening.POLLING, "this token opens no WebSocket")
            return
        anonymous = 0
        while True:
            try:
                await self._subscribe_once(socket)
            except (ConnectionFailed, SubscriptionEnded) as error:
                why: Exception = error
            except _Anonymous as error:
                why = error
            refused = isinstance(why, _Anonymous) or (
                isinstance(why, ConnectionFailed) and why.cause is Cause.CREDENTIAL
            )
            anonymous = anonymous + 1 if refused else 0
            self._lose(why)
            if refused:
                await self._confirm_credential(socket, anonymous)
            # Full jitter: many processes that lost the same server do not come back in step.
            longest = self._account.timing.reconnect.pause(self.losses)
            await asyncio.sleep(random.uniform(longest / 10, longest))  # noqa: S311 - no secret

    async def _subscribe_once(self, socket: SocketTransport) -> None:
        # An older server closes the socket on its first mutation; find out before a subscription lives there.
        await self._account.router.learn_whether_socket_executes(Deadline.after(self._account.timing.connect))
        subscription = await socket.open_subscription(MY_UPDATES(), Deadline.after(self._account.timing.connect))
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
            self._account.tell_once("the server sent an error on the subscription", words=words)
            raise SubscriptionEnded(f"the server answered the subscription with: {words}")
        self.last_event_at = self._account.clock()
        self._account.router.contact.answered()
        if self._state.listening is not Listening.HEARING:
            self._first_event()
        odd: str | None = None
        try:
            match read_event(event.data):
                case Announcement() as announcement:
                    odd = announcement.odd
                    await self._polling.hint(announcement)
                case PriceTick() as tick:
                    self._account.on_tick(tick)
                case str(odd):
                    pass
        except Exception as error:  # noqa: BLE001 - one event that can't be read must not end the subscription
            self._account.tell_once("an event was passed over", error=type(error).__name__, why=str(error))
            self._polling.ask_about_all(late=False)
        if odd is not None:
            self._account.tell_once("the server sent something odd on the subscription", what=odd)

    def _first_event(self) -> None:
        """From now on settlements are announced; whatever was paid before has to be asked for."""
        now = asyncio.get_running_loop().time()
        if self._up_since is not None:
            self.renewed_at = now
        self._up_since = now
        if not self._state.broken:
            self._state.failure = None
            self._state.say(Listening.HEARING)
        _log.info("listening for settlements via WebSocket", pending=self._polling.watched, losses=self.losses)
        self._on_first_event()

    def _lose(self, why: Exception) -> None:
        """Take note that nothing is announced any more: what may be paid meanwhile has to be asked about, each time."""
        now = asyncio.get_running_loop().time()
        up_since = self._up_since if self._state.subscribed else None
        stable = up_since is not None and now - up_since >= self._account.timing.stable
        self.losses = 1 if stable else self.losses + 1
        _log.info("not hearing, asking instead", why=str(why), losses=self.losses)
        if isinstance(why, ConnectionFailed) and why.cause in {Cause.UNREACHABLE, Cause.SLOW}:
            self._account.router.contact.not_heard(str(why))
        if self._state.listening is not Listening.FAILED:
            self._state.say(Listening.POLLING, str(why))
        self._polling.ask_about_all(late=False)

    async def _confirm_credential(self, socket: SocketTransport, anonymous: int) -> None:
        """A socket may be anonymous by mistake (flash-server.md 1.3): only HTTP and several fresh sockets tell.

        Raises:
            CredentialRejected: The token is dead.

        """
        try:
            (await self._account.router.perform(ME(), Deadline.after(self._account.timing.ask))).data(
                "confirming the token"
            )
        except CredentialRejected:
            # Some servers take this kind of token on sockets alone, so what HTTP says is not enough either.
            if anonymous >= 3:
                _log.error("the token is refused, nothing can be heard any more")
                raise
        except LightningError as error:
            _log.debug("the token could not be confirmed now", why=str(error))
        # The server remembers who we are by the credential: a fresh socket sets it right for all.
        await socket.aclose()
