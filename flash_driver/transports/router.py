"""Chooses the way for each operation: the socket first, HTTP where that is safe, and what worked before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from flash_driver.common.log import get_logger
from flash_driver.flash_api.documents import PROBE
from flash_driver.flash_api.outcomes import Cause, Completed, Kind, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.delivery import Delivery
from flash_driver.transports.websocket.handshake import ConnectionFailed
from flash_driver.transports.websocket.transport import WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flash_driver.common.deadline import Deadline
    from flash_driver.flash_api.documents import Operation
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.transports.base import Transport
    from flash_driver.transports.call_log import CallLog
    from flash_driver.transports.capabilities import Capabilities, Inability

__all__ = ["Router"]

_log: Final = get_logger()

_SHARE_OF_TIME: Final = 0.5
"""How much of the time left a transport may use while another one could still follow it."""


class _Tried:
    """The tale of one operation: what each transport came to, and what that means all together."""

    def __init__(self, operation: Operation) -> None:
        self.reasons: dict[str, str] = {}
        self._operation = operation
        self._causes: set[Cause] = set()
        self._verdict: tuple[Outcome, str] = (NotExecuted("no transport worked"), "")

    @property
    def delivery(self) -> Delivery:
        """The verdict so far."""
        outcome, transport = self._verdict
        harmless = self._operation.document.kind is Kind.ASK
        return Delivery(outcome, transport, self.reasons, frozenset(self._causes), harmless=harmless)

    def passed_over(self, transport: str, inability: Inability) -> None:
        """Note a transport that is not tried, or not yet."""
        self.reasons[transport] = f"{inability.reason} (remembered)"
        self._causes.add(inability.cause)

    def settles(self, transport: str, outcome: Outcome) -> bool:
        """Take in what a transport came to; returns whether no other one may be tried after it."""
        match outcome:
            case Refused(words) if self._leaves_doubt(outcome):
                self.reasons[transport] = words
                return True
            case Completed() | Refused():
                self._verdict = (outcome, transport)
                return True
            case Unknown(reason, answered):
                self._verdict = (outcome, transport)
                self.reasons[transport] = reason
                if self._operation.document.kind is Kind.CREATE:
                    _log.warning("an invoice may exist that nobody will use", transport=transport)
                return answered or not self._operation.repeatable
            case NotExecuted(reason, cause):
                self.reasons[transport] = reason
                self._causes.add(cause)
                return False

    def _leaves_doubt(self, refusal: Refused) -> bool:
        """Whether this refuses only the repetition of a payment that was lost before, and says nothing of that one."""
        lost = isinstance(self._verdict[0], Unknown)
        return lost and self._operation.document.kind is Kind.SEND and not refusal.definite


class Router:
    """Carries operations over the transports of one endpoint and token, in their order.

    A transport that certainly did not execute an operation hands it to the next one. One that may have executed it does
    so only if the operation is repeatable.
    """

    def __init__(self, transports: Sequence[Transport], capabilities: Capabilities) -> None:
        self._transports = tuple(transports)
        self._capabilities = capabilities
        self._probing = asyncio.Lock()
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What is remembered of the transports."""
        return self._capabilities

    def close(self) -> None:
        """Begin nothing any more: a call that goes on after its client's close must not open anything anew."""
        self._closed = True

    async def perform(
        self,
        operation: Operation,
        deadline: Deadline,
        call_log: CallLog | None = None,
        late: Callable[[Evidence], None] | None = None,
    ) -> Delivery:
        """Carry an operation out on the first transport that does it.

        Args:
            operation: What to carry out.
            deadline: When all attempts together have to be over.
            call_log: Where to tell about it.
            late: Called with an answer that comes over the socket after its time.

        """
        tried = _Tried(operation)
        candidates = list(self._candidates(tried, call_log))
        for place, transport in enumerate(candidates):
            following = candidates[place + 1 :]
            share = _SHARE_OF_TIME if following else 1.0
            if call_log is not None:
                call_log.attempting(transport.name)
            outcome = await self._attempt(transport, operation, deadline.share(share), call_log, late)
            if tried.settles(transport.name, outcome):
                break
            if call_log is not None and following:
                call_log.falling_back(transport.name, following[0].name, tried.reasons[transport.name])
        else:
            await self._doubt_refusal(tried, operation, deadline, call_log, late)
        return tried.delivery

    async def learn_whether_socket_executes(self, deadline: Deadline) -> bool | None:
        """Find out, harmlessly and once for all who ask, whether the server executes operations on its socket.

        Returns:
            What is known afterwards; None when it could not be found out now.

        """
        socket = next((way for way in self._transports if isinstance(way, WebSocketTransport)), None)
        if socket is None:
            return False
        await self._prove(socket, deadline)
        return self._capabilities.executes(socket.name)

    def _candidates(self, tried: _Tried, call_log: CallLog | None) -> Iterator[Transport]:
        """Yield the transports worth trying; then, as a last resort, those whose trouble may have passed."""
        second_chance: list[Transport] = []
        for transport in self._transports:
            inability = self._capabilities.unable(transport.name)
            if inability is None:
                yield transport
                continue
            tried.passed_over(transport.name, inability)
            if call_log is not None:
                call_log.skipping(transport.name, inability.reason)
            if not inability.final:
                second_chance.append(transport)
        yield from second_chance

    async def _doubt_refusal(
        self,
        tried: _Tried,
        operation: Operation,
        deadline: Deadline,
        call_log: CallLog | None,
        late: Callable[[Evidence], None] | None,
    ) -> None:
        """When nothing else works, ask a socket once more that is said to execute nothing, and use it if it does.

        The word may have been a stray one, or the server has been upgraded since.
        """
        for socket in self._transports:
            known = isinstance(socket, WebSocketTransport) and self._capabilities.doubtful(socket.name)
            if not known or deadline.passed:
                continue
            if call_log is not None:
                call_log.attempting(socket.name)
            tried.settles(socket.name, await self._attempt(socket, operation, deadline, call_log, late))

    async def _attempt(
        self,
        transport: Transport,
        operation: Operation,
        deadline: Deadline,
        call_log: CallLog | None,
        late: Callable[[Evidence], None] | None,
    ) -> Outcome:
        if self._closed:
            return NotExecuted("the client was closed")
        if isinstance(transport, WebSocketTransport):
            obstacle = await self._make_ready(transport, operation, deadline)
            if obstacle is not None:
                return obstacle
        if call_log is not None and operation.document.kind is not Kind.ASK:
            call_log.sending(transport.name)
        if isinstance(transport, WebSocketTransport):
            evidence = await transport.perform(operation, deadline, late)
        else:
            evidence = await transport.perform(operation, deadline)
        outcome = operation.classify(evidence)
        self._capabilities.learn(transport.name, outcome)
        return outcome

    async def _make_ready(
        self, socket: WebSocketTransport, operation: Operation, deadline: Deadline
    ) -> NotExecuted | None:
        """Connect, and before the first mutation make sure that the server executes mutations on a socket at all.

        A question needs no proof, it is one; unless subscriptions live on the socket, which an older server would
        close, or the server is known to execute none. Returns what stands in the way, if anything does.
        """
        executes = self._capabilities.executes(socket.name)
        harmless = operation.document.kind is Kind.ASK and not socket.subscribed
        if executes is False or (executes is None and not harmless):
            unproven = await self._prove(socket, deadline, again=True)
            if unproven is not None:
                return unproven
        try:
            await socket.connection(deadline)
        except ConnectionFailed as failure:
            obstacle = NotExecuted(failure.why, failure.cause)
            self._capabilities.learn(socket.name, obstacle)
            return obstacle
        return None

    async def _prove(
        self, socket: WebSocketTransport, deadline: Deadline, *, again: bool = False
    ) -> NotExecuted | None:
        """Make sure that the server executes operations on its socket; returns why not, or why that stays unknown.

        Args:
            socket: Where to ask.
            deadline: When to stop waiting.
            again: Whether to ask once more where the answer that is remembered has become doubtful.

        """
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._probing.acquire()
        except TimeoutError:
            return NotExecuted("no time was left to ask whether the socket executes operations", Cause.SLOW)
        try:
            doubtful = again and self._capabilities.doubtful(socket.name)
            if doubtful or self._capabilities.executes(socket.name) is None:
                outcome = PROBE().classify(await socket.probe(deadline))
                self._capabilities.learn(socket.name, outcome)
                if isinstance(outcome, NotExecuted):
                    return outcome
                if isinstance(outcome, Unknown):
                    cause = Cause.SLOW if outcome.silent else Cause.UNREACHABLE
                    return NotExecuted(f"a harmless question came to nothing: {outcome.reason}", cause)
        finally:
            self._probing.release()
        known = self._capabilities.unable(socket.name)
        return None if known is None or not known.final else NotExecuted(known.reason, known.cause)
