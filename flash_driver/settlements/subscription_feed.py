"""Hears of settled invoices over one subscription per account, again after each loss.

What is heard of is handed on to be asked about, or to be believed: see `asking`.
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
from flash_driver.flash_api.events import announced, oddity
from flash_driver.flash_api.outcomes import Cause
from flash_driver.flash_api.replies import read_tick
from flash_driver.settlements.health import Listening
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.transports.websocket.subscription import SubscriptionEnded

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from flash_driver.common.once import LogOnce
    from flash_driver.flash_api.replies import PriceTick
    from flash_driver.settlements.backoff import Backoff
    from flash_driver.settlements.listening_state import ListeningState
    from flash_driver.settlements.polling import Polling
    from flash_driver.transports.router import Router
    from flash_driver.transports.websocket.protocol import Next
    from flash_driver.transports.websocket.transport import WebSocketTransport

__all__ = ["SubscriptionFeed"]

_log: Final = get_logger(part="watcher")


class _Anonymous(Exception):
    """The server does not know who we are on this socket."""


class SubscriptionFeed:
    """Keeps the subscription up.

    Args:
        socket: The transport for the subscription; None where the token opens none.
        router: For questions about the token.
        polling: Is told what was heard of, and asks.
        state: Is told how it goes.
        on_first_event: Called when the subscription is up: whatever was paid before may have been missed.
        on_tick: Told each price that passes.
        tell_once: Logs what may come again and again.
        clock: The wall clock.
        patience: How long to wait for what.

    Attributes:
        losses: How many attempts to hear have failed in a row.
        lost_at: When the last subscription was lost, on the event loop's clock; None when there was none yet.
        last_event_at: When the server last sent an event.

    """

    def __init__(
        self,
        *,
        socket: WebSocketTransport | None,
        router: Router,
        polling: Polling,
        state: ListeningState,
        on_first_event: Callable[[], None],
        on_tick: Callable[[PriceTick], None],
        tell_once: LogOnce,
        clock: Callable[[], datetime],
        patience: Backoff,
    ) -> None:
        self._socket = socket
        self._router = router
        self._polling = polling
        self._state = state
        self._on_first_event = on_first_event
        self._on_tick = on_tick
        self._tell_once = tell_once
        self._clock = clock
        self._patience = patience
        self._heard_since = 0.0
        self.losses = 0
        self.lost_at: float | None = None
        self.last_event_at: datetime | None = None

    async def run(self) -> None:
        """Keep the subscription up, for ever, unless the token turns out to be dead.

        Raises:
            CredentialRejected: The token is dead.

        """
        self.losses, self.lost_at = 0, None
        if self._socket is None:
            self._state.say(Listening.POLLING, "this token opens no WebSocket")
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
            self._lose(why)
            if refused:
                await self._confirm_credential(self._socket, anonymous)
            # Full jitter: many processes that lost the same server do not come back in step.
            longest = self._patience.longest_pause(self.losses)
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
        if not self._state.hearing:
            self._first_event()
        if (announcement := announced(event.data)) is not None:
            await self._polling.hint(announcement)
        if (tick := read_tick(event.data)) is not None:
            self._on_tick(tick)
        elif odd := oddity(event.data):
            self._tell_once("the server sent something odd on the subscription", what=odd)

    def _first_event(self) -> None:
        """From now on settlements are heard; whatever was paid before has to be asked for."""
        self._heard_since = asyncio.get_running_loop().time()
        if not self._state.broken:
            self._state.failure = None
            self._state.say(Listening.HEARING)
        _log.info("listening for settlements via WebSocket", pending=self._polling.watched, losses=self.losses)
        self._on_first_event()

    def _lose(self, why: Exception) -> None:
        """Take note that nothing is heard any more."""
        now = asyncio.get_running_loop().time()
        if self._state.hearing:
            self.lost_at = now
        stable = self._state.hearing and now - self._heard_since >= self._patience.stable
        self.losses = 1 if stable else self.losses + 1
        _log.info("not hearing, asking instead", why=str(why), losses=self.losses)
        if self._state.listening is not Listening.FAILED:
            self._state.say(Listening.POLLING, str(why))
        if self.losses == 2:
            # The first loss is mostly mended at once; from the second on what may be paid has to be asked about.
            self._polling.ask_about_all()

    async def _confirm_credential(self, socket: WebSocketTransport, anonymous: int) -> None:
        """A socket may be anonymous by mischance (flash-server.md 1.3): only HTTP and several fresh sockets tell.

        Raises:
            CredentialRejected: The token is dead.

        """
        try:
            (await self._router.perform(ME(), Deadline.after(self._patience.ask))).data("confirming the token")
        except CredentialRejected:
            # Some servers take this kind of token on sockets alone, so what HTTP says is not enough either.
            if anonymous >= 3:
                _log.error("the token is refused, nothing can be heard any more")
                raise
        except LightningError as error:
            _log.debug("the token could not be confirmed now", why=str(error))
        # The server remembers who we are by the credential: a fresh socket sets it right for all.
        await socket.aclose()
