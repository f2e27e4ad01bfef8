"""Chooses the way for each operation: the socket first, HTTP where that is safe, and what worked before.

While the socket of a new process still shakes hands, HTTP goes first where that took an earlier process long, and where
that has left no word against HTTP.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from connection_strings.errors import NotSupported
from flash_driver.common.log import get_logger
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import PROBE
from flash_driver.flash_api.outcomes import Cause, Completed, Kind, NotExecuted, Outcome, Refused, Unknown
from flash_driver.journal.learned import Standing
from flash_driver.transports.base import NotReady
from flash_driver.transports.call_log import SILENT
from flash_driver.transports.contact import Contact
from flash_driver.transports.delivery import MAKE_AN_API_KEY, NO_OPINION, Delivery
from flash_driver.transports.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Document, Operation
    from flash_driver.transports.base import Admission, Late, Link, Prober, Transport
    from flash_driver.transports.call_log import CallLog
    from flash_driver.transports.capabilities import Capabilities, Inability
    from flash_driver.transports.key_allowance import KeyAllowance

__all__ = ["Router"]

_log: Final = get_logger()

_NO_ANSWER: Final = {Cause.UNREACHABLE, Cause.SLOW}
_SHARE_OF_TIME: Final = 0.5
"""How much of the time left a transport may use for connecting while another one could still follow it."""
_SLOW_HANDSHAKE_SECONDS: Final = 0.15
"""What a handshake takes on a link whose round trip is longer than loading the library for HTTP is worth."""
_MOST_AHEAD: Final = 2
"""How many requests at once go before the socket: an invoice, and the question whose wallet it is for."""


class _Request:
    """One operation on its way: what became of it on each transport, and what that means all together.

    Args:
        operation: What to carry out.
        deadline: When all attempts together have to be over.
        call_log: Where to tell about it.
        late: Called with an answer that comes after its time, or after the caller was cancelled.
        admission: Asked before each attempt is written.

    """

    def __init__(
        self,
        operation: Operation,
        deadline: Deadline,
        call_log: CallLog,
        late: Late | None,
        admission: Admission | None,
    ) -> None:
        self.operation = operation
        self.deadline = deadline
        self.call_log = call_log
        self.late = late
        self.admission = admission
        self.document = operation.document
        self.reasons: dict[str, str] = {}
        self.answered = self.in_vain = False
        self.retry_after: timedelta | None = None
        self._causes: set[Cause] = set()
        self._transport = ""
        self.outcome: Outcome = NotExecuted("no transport worked")

    @property
    def refused_token(self) -> bool:
        """Whether a way refused the token, or could only tell that it does not need one."""
        return bool(self._causes & {Cause.CREDENTIAL, Cause.UNSUITED})

    @property
    def only_refusals(self) -> bool:
        """Whether every way that can have an opinion refused the token."""
        return Cause.CREDENTIAL in self._causes and self._causes <= {Cause.CREDENTIAL, *NO_OPINION}

    def delivery(self) -> Delivery:
        """Return the verdict, as far as the transports have told it."""
        harmless = self.operation.document.kind is Kind.ASK
        return Delivery(
            self.outcome,
            self._transport,
            self.reasons,
            frozenset(self._causes),
            harmless=harmless,
            retry_after=self.retry_after,
            document=self.document,
        )

    def passed_over(self, transport: str, inability: Inability) -> None:
        """Note a transport that is not tried, or not yet."""
        self.reasons[transport] = f"{inability.reason} (remembered)"
        self._causes.add(inability.cause)

    def settles(self, transport: str, outcome: Outcome) -> bool:
        """Take in what a transport came to; returns whether no other one may be tried after it."""
        no_answer = outcome.cause in _NO_ANSWER if isinstance(outcome, NotExecuted) else isinstance(outcome, Unknown)
        no_word = isinstance(outcome, NotExecuted) and outcome.cause in {Cause.UNSUITED, Cause.HELD}
        self.in_vain |= no_answer
        self.answered |= not (no_answer or no_word)
        match outcome:
            case Refused(words) if self._leaves_doubt(outcome):
                self.reasons[transport] = words
                return True
            case Completed() | Refused():
                self.outcome, self._transport = outcome, transport
                return True
            case Unknown(reason, answered):
                self.outcome, self._transport = outcome, transport
                self.reasons[transport] = reason
                if self.operation.document.kind is Kind.CREATE:
                    _log.warning("an invoice may exist that nobody will use", transport=transport)
                return answered or not self.operation.repeatable
            case NotExecuted(reason, cause, retry_after):
                self.reasons[transport] = reason
                self.retry_after = retry_after or self.retry_after
                self._causes.add(cause)
                return False

    def _leaves_doubt(self, refusal: Refused) -> bool:
        """Whether this refuses only the repetition of a payment that was lost before, and says nothing of that one."""
        lost = isinstance(self.outcome, Unknown)
        return lost and self.operation.document.kind is Kind.SEND and not refusal.definite


class Router:
    """Carries operations over the transports of one endpoint and token, in their order.

    A transport that certainly did not execute an operation hands it to the next one. One that may have executed it does
    so only if the operation is repeatable. Time is shared out for connecting only: every way leads to the same server,
    so an answer that is slow on one is slow on all, and a request that was written is waited for to the end.

    Args:
        transports: In the order in which they are tried.
        capabilities: What is remembered of them.
        session: Whether the token is still good.
        contact: Told whether the server answers.
        spare_credential: Whether questions that anybody may ask go over an anonymous way first.
        key: The API key's limit, where there is a key.
        background: Whether what is carried is left undone while the key's limit is needed for more important things.

    Attributes:
        session: The same.
        contact: The same.

    """

    def __init__(
        self,
        transports: Sequence[Transport],
        capabilities: Capabilities,
        session: Session | None = None,
        contact: Contact | None = None,
        *,
        spare_credential: bool = False,
        key: KeyAllowance | None = None,
        background: bool = False,
    ) -> None:
        self._transports = tuple(transports)
        self._has_anonymous = any(each.anonymous for each in transports)
        self._in_public = tuple(sorted(transports, key=lambda each: not each.anonymous)) if spare_credential else None
        self._capabilities = capabilities
        self.session = session or Session()
        self.contact = contact or Contact()
        self._probing = asyncio.Lock()
        self._key = key
        self._background = background
        self._going_ahead = 0
        self._closed = False

    def close(self) -> None:
        """Begin nothing any more: a call that goes on after its client's close must not open a connection."""
        self._closed = True

    async def perform(
        self,
        operation: Operation,
        deadline: Deadline,
        call_log: CallLog = SILENT,
        late: Late | None = None,
        admission: Admission | None = None,
    ) -> Delivery:
        """Carry an operation out on the first transport that does it.

        Args:
            operation: What to carry out.
            deadline: When all attempts together have to be over.
            call_log: Where to tell about it.
            late: Called with an answer that comes after its time, or after the caller was cancelled.
            admission: Asked before each attempt is written.

        Raises:
            LightningError: `admission` does not let it be written, or not once more.

        """
        request = _Request(operation, deadline, call_log, late, admission)
        candidates = self._candidates(request)
        if (ahead := self._ahead(candidates, operation.document)) is None:
            return await self._try(candidates, request)
        self._going_ahead += 1
        try:
            return await self._try([ahead, *(each for each in candidates if each is not ahead)], request)
        finally:
            self._going_ahead -= 1

    async def _try(self, candidates: Sequence[Transport], request: _Request) -> Delivery:
        """Carry an operation out on the first of these transports that does it."""
        for place, transport in enumerate(candidates):
            following = candidates[place + 1 :]
            outcome = await self._attempt(transport, request, last=not following)
            if request.settles(transport.name, outcome) or (isinstance(outcome, Unknown) and request.deadline.passed):
                break
            if following:
                request.call_log.falling_back(transport.name, following[0].name, request.reasons[transport.name])
        delivery = request.delivery()
        if request.answered:
            self.contact.answered()
        elif request.in_vain and not self._closed:
            self.contact.failed("; ".join(f"{way}: {reason}" for way, reason in request.reasons.items()))
        if not isinstance(delivery.outcome, NotExecuted):
            return delivery
        free_in = self._capabilities.free_in() or delivery.retry_after
        return replace(delivery, retry_after=free_in, rejected=await self._is_rejected(request))

    def insist_on_a_way(self, document: Document) -> None:
        """Refuse beforehand what no way can carry, by what is remembered of them; a doubt lets it pass.

        Raises:
            NotSupported: With what to do about it.

        """
        hopeless = {Cause.DECLINED, Cause.CLOSED, Cause.CREDENTIAL}
        if document.public or not self._has_anonymous:
            return
        unable = self._capabilities.passed_over()
        for transport in self._transports:
            inability = None if transport.anonymous else unable.get(transport.name)
            stuck = inability is not None and inability.cause in hopeless and not self._is_doubtful(transport)
            if not (stuck or transport.anonymous):
                return
        if not self.session.dead:
            raise NotSupported(MAKE_AN_API_KEY)

    async def learn_whether_socket_executes(self, deadline: Deadline) -> bool | None:
        """Find out, harmlessly and once for all who ask, whether the server executes operations on its socket.

        Returns:
            What is known afterwards; None when it could not be found out now.

        """
        for transport in self._transports:
            if transport.prober is not None:
                await self._prove(transport.name, transport.prober, deadline)
                return self._capabilities.executes(transport.name)
        return False

    async def _is_rejected(self, request: _Request) -> bool:
        """Whether it failed because the token is dead, which one word of one way does not prove."""
        if not request.refused_token or not await self.session.confirm(request.deadline):
            return False
        return self.session.dead or request.only_refusals

    def _candidates(self, request: _Request) -> list[Transport]:
        """Return the transports worth trying; as a last resort those whose trouble may have passed.

        What anybody may ask is never sent with a credential that is refused, where there is an anonymous way. Anything
        else goes over an anonymous way only when no other does it, not even one that is said to execute nothing, if
        that has become doubtful: the answer may have been an accident, or the server has been upgraded since.
        """
        public = request.operation.document.public
        ready: list[Transport] = []
        waiting: list[Transport] = []
        doubtful: list[Transport] = []
        anonymous: list[Transport] = []
        refused: list[Transport] = []
        unable = self._capabilities.passed_over()
        for transport in (self._in_public if public else None) or self._transports:
            inability = unable.get(transport.name)
            if transport.anonymous and inability is None:
                (ready if public else anonymous).append(transport)
            elif inability is None:
                ready.append(transport)
            else:
                request.passed_over(transport.name, inability)
                request.call_log.skipping(transport.name, inability.reason)
                if self._is_doubtful(transport):
                    doubtful.append(transport)
                elif not inability.hopeless:
                    (refused if inability.cause is Cause.CREDENTIAL else waiting).append(transport)
        if public and self._has_anonymous:
            return ready + waiting
        return ready + waiting + doubtful + anonymous + refused

    def _ahead(self, candidates: Sequence[Transport], document: Document) -> Transport | None:
        """Return the way over HTTP to try before a socket that is not connected yet, and begin to connect that one.

        An invoice that HTTP refuses with the token was not made, so the socket may carry it (flash-server.md 1.4). What
        sends money keeps to the usual order.
        """
        if not candidates or self._background or document.kind is Kind.SEND or self._closed:
            return None
        if not self._capabilities.is_far or self._going_ahead >= _MOST_AHEAD:
            return None
        prober = candidates[0].prober
        if prober is None or prober.connected:
            return None
        by_http = [each for each in self._transports if each.shows_credential]
        clear = all(
            self._capabilities.presumed(each.name) is not Standing.FAILS
            and self._capabilities.unable(each.name) is None
            for each in by_http
        )
        if not (by_http and clear):
            return None
        prober.open_ahead()
        return by_http[0]

    def _is_doubtful(self, transport: Transport) -> bool:
        return transport.prober is not None and self._capabilities.doubtful(transport.name)

    async def _attempt(self, transport: Transport, request: _Request, *, last: bool) -> Outcome:
        """Carry an operation out on this transport; connecting may take all the time only where no other follows."""
        request.call_log.attempting(transport.name)
        operation, deadline = request.operation, request.deadline
        connected_by = deadline if last else deadline.share(_SHARE_OF_TIME)
        if self._closed:
            return NotExecuted("the client was closed")
        prober = transport.prober
        if prober is not None and self._capabilities.found.get(transport.name) is not Standing.WORKS:
            unproven = await self._insist_on_proof(transport.name, prober, operation, connected_by)
            if unproven is not None:
                return unproven
        try:
            link = await transport.ready(connected_by)
            if prober is not None and prober.handshake_seconds is not None:
                self._capabilities.slow_handshake = prober.handshake_seconds > _SLOW_HANDSHAKE_SECONDS
        except NotReady as failure:
            outcome: Outcome = NotExecuted(failure.why, failure.cause)
        else:
            if self._background and self._key is not None and transport.shows_credential:
                left = await self._key.admit(operation.document)
                if left is not None:
                    return left
            outcome = await self._execute(transport, link, request)
        if transport.shows_credential:
            self.session.hear(outcome, public=operation.document.public)
        self._capabilities.learn(transport.name, outcome, anonymous=transport.anonymous)
        return outcome

    async def _execute(self, transport: Transport, link: Link, request: _Request) -> Outcome:
        """Count an operation where that has to be, and write it."""
        operation = request.operation
        request.document = transport.counts_as.get(operation.document, operation.document)
        if request.admission is not None:
            await request.admission.admit(request.document)
        if operation.document.kind is not Kind.ASK:
            request.call_log.sending(transport.name)
        evidence = await link.execute(operation, request.deadline, request.late)
        if self._key is not None:
            self._key.see(evidence)
        outcome = classify(operation.document, evidence)
        if request.admission is not None and isinstance(outcome, NotExecuted):
            request.admission.give_back(request.document)
        return outcome

    async def _insist_on_proof(
        self, name: str, prober: Prober, operation: Operation, deadline: Deadline
    ) -> NotExecuted | None:
        """Before the first mutation make sure that the server executes mutations there at all; returns why not.

        A question needs no proof, it is one; unless subscriptions live there, or the server is known to execute
        nothing. For an invoice the word of an earlier process will do, for money it will not.
        """
        executes = self._capabilities.executes(name)
        kind = operation.document.kind
        proved_before = kind is Kind.CREATE and self._capabilities.presumed(name) is Standing.WORKS
        harmless = (kind is Kind.ASK or proved_before) and not prober.subscribed
        if executes is False or (executes is None and not harmless):
            return await self._prove(name, prober, deadline, again=True)
        return None

    async def _prove(self, name: str, prober: Prober, deadline: Deadline, *, again: bool = False) -> NotExecuted | None:
        """Find out whether the server executes operations there; returns why not, or why that stays unknown.

        Args:
            name: The transport.
            prober: Asks there.
            deadline: When to stop waiting.
            again: Whether to ask once more where the answer that is remembered has become doubtful.

        """
        if not await deadline.acquire(self._probing):
            return NotExecuted("no time was left to ask whether the socket executes operations", Cause.SLOW)
        try:
            doubtful = again and self._capabilities.doubtful(name)
            if doubtful or self._capabilities.executes(name) is None:
                outcome = classify(PROBE, await prober.probe(deadline))
                self._capabilities.learn(name, outcome)
                if isinstance(outcome, NotExecuted):
                    return outcome
                if isinstance(outcome, Unknown):
                    cause = Cause.SLOW if outcome.silent else Cause.UNREACHABLE
                    return NotExecuted(f"a harmless question came to nothing: {outcome.reason}", cause)
        finally:
            self._probing.release()
        known = self._capabilities.unable(name)
        return None if known is None or not known.final else NotExecuted(known.reason, known.cause)
