"""Chooses the way for each operation: the socket first, HTTP where that is safe, and what worked before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flash_driver.log import get_logger
from flash_driver.operations import PROBE
from flash_driver.outcome import Cause, Completed, Kind, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.websocket import WebSocketTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from flash_driver.deadline import Deadline
    from flash_driver.operations import Operation
    from flash_driver.outcome import Evidence
    from flash_driver.transports.base import Transport
    from flash_driver.transports.capabilities import Capabilities
    from flash_driver.transports.trail import Trail

__all__ = ["Delivery", "Router"]

_log: Final = get_logger()

_SHARE_OF_TIME: Final = 0.5
"""How much of the time left a transport may use while another one could still follow it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an operation, and where.

    Attributes:
        outcome: The verdict: of the transport that answered, or of all together.
        transport: The transport that gave it.
        reasons: Each transport that did not do, and why, in the order tried.
        causes: The kinds of trouble met on the way.

    """

    outcome: Outcome
    transport: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    causes: frozenset[Cause] = frozenset()


class Router:
    """Carries operations over the transports of one endpoint and token, in their order.

    A transport that certainly did not execute an operation hands it to the next one. One that may have executed it does
    so only if the operation is repeatable.
    """

    def __init__(self, transports: Sequence[Transport], capabilities: Capabilities) -> None:
        self._transports = tuple(transports)
        self._capabilities = capabilities
        self._probing = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """What is remembered of the transports."""
        return self._capabilities

    async def perform(
        self,
        operation: Operation,
        deadline: Deadline,
        trail: Trail | None = None,
        late: Callable[[Evidence], None] | None = None,
    ) -> Delivery:
        """Carry an operation out on the first transport that does it.

        Args:
            operation: What to carry out.
            deadline: When all attempts together have to be over.
            trail: Where to tell about it.
            late: Called with an answer that comes over the socket after its time.

        """
        reasons: dict[str, str] = {}
        causes: set[Cause] = set()
        lost: tuple[str, Unknown] | None = None
        candidates = list(self._candidates(reasons, causes, trail))
        for place, transport in enumerate(candidates):
            share = 1.0 if place == len(candidates) - 1 else _SHARE_OF_TIME
            if trail is not None:
                trail.attempting(transport.name)
            outcome = await self._attempt(transport, operation, deadline.share(share), trail, late)
            match outcome:
                case Completed() | Refused():
                    return Delivery(outcome, transport.name, reasons, frozenset(causes))
                case Unknown():
                    lost = (transport.name, outcome)
                    if not operation.repeatable or outcome.answered:
                        return Delivery(outcome, transport.name, {**reasons, transport.name: outcome.reason})
                    if operation.document.kind is Kind.CREATE:
                        _log.warning("an invoice may exist that nobody will use", transport=transport.name)
                case NotExecuted():
                    causes.add(outcome.cause)
            reasons[transport.name] = outcome.reason
            if trail is not None and place + 1 < len(candidates):
                trail.falling_back(transport.name, candidates[place + 1].name, outcome.reason)
        if lost is not None:
            return Delivery(lost[1], lost[0], reasons, frozenset(causes))
        return Delivery(NotExecuted("no transport worked"), "", reasons, frozenset(causes))

    async def learn_whether_socket_executes(self, deadline: Deadline) -> bool | None:
        """Find out, harmlessly and once for all who ask, whether the server executes operations on its socket.

        Returns:
            What is known afterwards; None when it could not be found out now.

        """
        socket = next((way for way in self._transports if isinstance(way, WebSocketTransport)), None)
        if socket is None:
            return False
        async with self._probing:
            known = self._capabilities.executes(socket.name)
            if known is None:
                probe = PROBE()
                self._capabilities.learn(socket.name, probe.classify(await socket.probe(deadline)))
        return self._capabilities.executes(socket.name)

    def _candidates(self, reasons: dict[str, str], causes: set[Cause], trail: Trail | None) -> Iterator[Transport]:
        """Yield the transports worth trying; then, as a last resort, those whose trouble may have passed."""
        second_chance: list[Transport] = []
        for transport in self._transports:
            inability = self._capabilities.unable(transport.name)
            if inability is None:
                yield transport
                continue
            reasons[transport.name] = f"{inability.reason} (remembered)"
            causes.add(inability.cause)
            if trail is not None:
                trail.skipping(transport.name, inability.reason)
            if inability.cause is not Cause.DECLINED:
                second_chance.append(transport)
        yield from second_chance

    async def _attempt(
        self,
        transport: Transport,
        operation: Operation,
        deadline: Deadline,
        trail: Trail | None,
        late: Callable[[Evidence], None] | None,
    ) -> Outcome:
        if isinstance(transport, WebSocketTransport):
            unproven = await self._unproven(transport, operation, deadline)
            if unproven is not None:
                return unproven
        if trail is not None and operation.document.kind is not Kind.ASK:
            trail.sending(transport.name)
        if isinstance(transport, WebSocketTransport):
            evidence = await transport.perform(operation, deadline, late)
        else:
            evidence = await transport.perform(operation, deadline)
        outcome = operation.classify(evidence)
        self._capabilities.learn(transport.name, outcome)
        return outcome

    async def _unproven(
        self, socket: WebSocketTransport, operation: Operation, deadline: Deadline
    ) -> NotExecuted | None:
        """Before the first mutation on a socket make sure that the server executes mutations there at all.

        A question needs no proof, it is one; unless subscriptions live on the socket, which an older server would
        close.
        """
        if self._capabilities.executes(socket.name) is not None:
            return None
        if operation.document.kind is Kind.ASK and not socket.subscribed:
            return None
        executes = await self.learn_whether_socket_executes(deadline)
        if executes:
            return None
        inability = self._capabilities.unable(socket.name)
        if inability is not None:
            return NotExecuted(inability.reason, inability.cause)
        return NotExecuted("could not find out whether the socket executes operations")
