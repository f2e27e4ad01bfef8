"""Whether the token still opens anything: one verdict for all ways, and the account as the socket tells it.

A server may take a session token on the socket only, and a socket may be anonymous though the token is good (session
look-up was slow). So a token is dead when HTTP answers 401 *and* two fresh sockets, some seconds apart, are anonymous;
one way that still knows it is proof of life. A way that can't have an opinion, such as a socket that declines, has no
vote (flash-server.md 1.3, 11, 13).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from flash_driver.common.deadline import Deadline
from flash_driver.common.log import get_logger
from flash_driver.common.tasks import SharedAttempt, TaskSet
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import ME_UPDATES
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Completed,
    Evidence,
    Garbage,
    NotConnected,
    NotExecuted,
    NotWritten,
    Outcome,
    TimedOut,
)
from flash_driver.transports.base import NotReady
from flash_driver.transports.websocket.subscription import SubscriptionEnded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.flash_api.documents import Document
    from flash_driver.transports.websocket.connection import Connection
    from flash_driver.transports.websocket.subscription import Subscription

__all__ = ["Session", "SessionTiming", "Sockets"]

_log: Final = get_logger(part="session")


@dataclass(frozen=True, slots=True)
class SessionTiming:
    """How long things count, in seconds.

    Attributes:
        apart: Between two fresh sockets whose word is counted as two.
        again: After which a first event counts as lost, and is asked for a second time.
        learning: How long the account is waited for at all: where the display currency has no price, it comes with the
            next tick (flash-server.md 3.6).
        trusted: For how long what a socket said at its opening is proof of life.
        recheck: How long a verdict stands before it is asked for once more.

    """

    apart: float = 2.5
    again: float = 0.7
    learning: float = 45.0
    trusted: float = 600.0
    recheck: float = 5.0


class Sockets(Protocol):
    """Where a session asks: the shared socket, and fresh ones."""

    @property
    def opened_at(self) -> float | None:
        """When the shared connection was opened; None while there is none."""
        ...

    async def connection(self, deadline: Deadline) -> Connection:
        """Return the shared connection; raises `NotReady`."""
        ...

    async def fresh(self, deadline: Deadline) -> Connection:
        """Open a connection of one's own, to be closed by the caller; raises `NotReady`."""
        ...


class Session:
    """One token at one server.

    Args:
        sockets: Where to ask; None where the token opens no socket, or none is wanted: then HTTP alone has a say.
        timing: How long things count.

    """

    def __init__(self, sockets: Sockets | None = None, timing: SessionTiming | None = None) -> None:
        self._sockets = sockets
        self._timing = timing or SessionTiming()
        self._http: Outcome | None = None
        self._distrusted_at = float("-inf")
        self._refused_since: float | None = None
        self._refused_for = 0.0
        self._proved_at = float("-inf")
        self._judged_at = float("-inf")
        self._confirming = asyncio.Lock()
        self._learning = SharedAttempt(self._learn, "account by socket", closed=_closed)
        self._suspecting = TaskSet()
        self._died = asyncio.Event()

    # --- the verdict ------------------------------------------------------------------------------------------------

    @property
    def dead(self) -> bool:
        """Whether the token is known to be dead; it stays so until a way knows it again."""
        return self._died.is_set()

    async def dies_within(self, seconds: float) -> bool:
        """Wait until the token is known to be dead, or so long; tell whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._died.wait()
        return self.dead

    @property
    def unproved_seconds(self) -> float:
        """For how long no way that looks the token up has known it."""
        return _now() - self._proved_at

    @property
    def doubted_seconds(self) -> float | None:
        """For how long the token has been refused, though not surely enough to call it dead; None while it is not."""
        return None if self._refused_since is None else _now() - self._refused_since

    @property
    def taken_by_http(self) -> bool:
        """Whether HTTP took the token when it was last shown there, or is the only one to ask."""
        return self._sockets is None or isinstance(self._http, Completed)

    def hear(self, outcome: Outcome, *, public: bool = False) -> None:
        """Take in what HTTP made of a request that shows the token; a change for the worse is looked into at once.

        Args:
            outcome: What became of the request.
            public: Whether anybody may ask that: then an answer proves nothing, while a refusal is one of the token.

        """
        match outcome:
            case Completed() if not public:
                self._http = outcome
                self._alive()
            case NotExecuted(cause=Cause.CREDENTIAL):
                surprise = isinstance(self._http, Completed)
                self._http = outcome
                if self._sockets is None:
                    self._refused()
                else:
                    self._conclude()
                if surprise:
                    self._distrusted_at = _now()
                    self._suspect()
            case _:
                pass

    async def confirm(self, deadline: Deadline, *, again: bool = False) -> bool:
        """Find out whether the token is dead, after a way has refused it; says so only when that is certain.

        Args:
            deadline: When to stop asking.
            again: Whether to ask although it was found out a moment ago.

        """
        if self._sockets is None:
            return True
        if not await deadline.acquire(self._confirming):
            return self.dead
        try:
            return await self._judge(self._sockets, deadline, again=again)
        finally:
            self._confirming.release()

    async def aclose(self) -> None:
        """End every task."""
        try:
            await self._learning.aclose()
        finally:
            await self._suspecting.aclose()

    async def _judge(self, sockets: Sockets, deadline: Deadline, *, again: bool) -> bool:
        lately = _now() - self._timing.recheck
        known = self._judged_at > lately or (self._proved_at > lately and self._refused_since is None)
        if known and not again:
            return self.dead
        while True:
            outcome = classify(ME_UPDATES, await self._ask_fresh(sockets, ME_UPDATES, deadline))
            self._heed(outcome)
            if not _anonymous(outcome) or self.dead:
                break
            if isinstance(self._http, Completed) or deadline.remaining <= self._timing.apart or self._twice:
                return False
            await asyncio.sleep(self._timing.apart)
        self._judged_at = _now()
        return self.dead

    def _heed(self, outcome: Outcome) -> None:
        """Take in what a fresh socket said."""
        if isinstance(outcome, Completed):
            self._alive()
        elif _anonymous(outcome):
            self._refused()

    @property
    def _twice(self) -> bool:
        """Whether the token was refused at two moments far enough apart."""
        return self._refused_for >= self._timing.apart

    def _refused(self) -> None:
        now = _now()
        if self._refused_since is None:
            self._refused_since = now
        self._refused_for = now - self._refused_since
        self._conclude()

    def _conclude(self) -> None:
        """Call the token dead once two refusals some time apart and HTTP's word have come together."""
        if self._twice and isinstance(self._http, NotExecuted) and not self.dead:
            _log.error(
                "the token is refused: log in to Flash again and put the new token into its place",
                command="flash-driver login",
            )
            self._died.set()

    def _alive(self) -> None:
        self._proved_at, self._refused_since, self._refused_for = _now(), None, 0.0
        if self.dead:
            _log.info("the token is taken again")
            self._died.clear()

    def _suspect(self) -> None:
        """Find out in the background what a sudden 401 means: others may only be listening."""
        if self._sockets is not None and not self._suspecting:
            self._proved_at = self._judged_at = float("-inf")
            self._suspecting.start(self.confirm(Deadline.after(4 * self._timing.apart)), "session check")

    # --- the account ------------------------------------------------------------------------------------------------

    def holds_since(self, moment: float) -> bool:
        """Whether what the socket said at this moment still holds: it is up since, and nothing has been heard since."""
        opened_at = None if self._sockets is None else self._sockets.opened_at
        return opened_at is not None and opened_at <= moment and self._distrusted_at < moment and not self.dead

    async def account(self, deadline: Deadline) -> Evidence:
        """Have the socket say whose account this is, once for all who ask at the same time (flash-server.md 11).

        Returns:
            The answer to `ME`, or what came instead of one.

        """
        try:
            async with asyncio.timeout_at(deadline.at):
                return await self._learning.result()
        except NotReady as closed:
            return closed.evidence
        except TimeoutError:
            return NotConnected("the socket has not named the account yet", Cause.SLOW)

    async def _learn(self) -> Evidence:
        return await self.ask(ME_UPDATES, Deadline.after(self._timing.learning))

    async def ask(self, document: Document, deadline: Deadline) -> Evidence:
        """Have the socket answer a question on the account, such as its balance; a document with `me` in its events.

        It is asked on the shared socket where its word proves something, else on a fresh one.
        """
        sockets = self._sockets
        if sockets is None:
            return NotConnected("this token opens no socket to ask on", Cause.UNSUITED)
        try:
            shared = await sockets.connection(deadline)
        except NotReady as failure:
            return failure.evidence
        if shared.opened_at > max(self._distrusted_at, _now() - self._timing.trusted):
            evidence = await self._first_me(shared, document, deadline)
            outcome = classify(ME_UPDATES, evidence)
            if not _anonymous(outcome):
                self._heed(outcome)
                return evidence
        # The server knows us by the credential, for all its sockets: a fresh one sets it right (flash-server.md 1.3).
        evidence = await self._ask_fresh(sockets, document, deadline)
        self._heed(classify(ME_UPDATES, evidence))
        return evidence

    async def _ask_fresh(self, sockets: Sockets, document: Document, deadline: Deadline) -> Evidence:
        try:
            connection = await sockets.fresh(deadline)
        except NotReady as failure:
            return failure.evidence
        try:
            return await self._first_me(connection, document, deadline)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await connection.aclose()

    async def _first_me(self, connection: Connection, document: Document, deadline: Deadline) -> Evidence:
        """Wait for the first event that names the account, subscribing a second time where it seems lost.

        The stream is ended at once: in the one that listens, an account that is being moved would disturb the news.
        """
        for until in (deadline.at_most(self._timing.again), deadline):
            try:
                subscription = await connection.subscribe(document().written, until)
            except NotReady as failure:
                return NotWritten(failure.why)
            try:
                async with asyncio.timeout_at(until.at):
                    return await _receive(subscription)
            except TimeoutError:
                continue
            except SubscriptionEnded as ended:
                return Garbage(str(ended))
            finally:
                await subscription.aclose()
        return TimedOut(alive=True)


async def _receive(subscription: Subscription) -> Evidence:
    """Return the first event with the account in it, or with the reason why it can't be told, as an answer to `ME`."""
    while True:
        event = await subscription.receive()
        if event.data is None:
            return Answer(None, event.errors)
        payload = event.data.get("myUpdates")
        me = payload.get("me") if isinstance(payload, dict) else None
        if isinstance(me, dict) or event.errors:
            return Answer({"me": me}, [_below(error) for error in event.errors])


def _below(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an error as it would stand where `me` is asked for at the root."""
    path = error.get("path")
    return {**error, "path": path[1:]} if isinstance(path, list) else error


def _closed() -> NotReady:
    return NotReady("the transport was closed")


def _anonymous(outcome: Outcome) -> bool:
    return isinstance(outcome, NotExecuted) and outcome.cause is Cause.CREDENTIAL


def _now() -> float:
    return asyncio.get_running_loop().time()
