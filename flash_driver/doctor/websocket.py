"""The WebSocket, step by step: handshake, subprotocol, acknowledgement, operations, subscription."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common.deadline import Deadline
from flash_driver.doctor.advice import CLOSE_ADVICE, PATH, handshake_advice, in_words
from flash_driver.doctor.findings import Trouble
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import ME, MY_UPDATES, PROBE
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, TimedOut
from flash_driver.transports.websocket.connection import Connection
from flash_driver.transports.websocket.handshake import ConnectionFailed, Limits
from flash_driver.transports.websocket.protocol import SUBPROTOCOL
from flash_driver.transports.websocket.subscription import SubscriptionEnded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.doctor.findings import Examination
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.transports.websocket.handshake import Endpoint

__all__ = ["STEPS", "SocketFindings", "examine_socket"]

STEPS: Final = ("WebSocket", "subprotocol", "connection_ack", "socket mutations", "subscription")
"""The checks of a socket, in order."""

_MUTE: Final = (
    "the server takes connections but does not talk: tell its operator. Meanwhile invoices go over HTTP, and "
    "payments are found by asking"
)
_DEAF: Final = (
    "no news of payments comes this way: tell the server's operator. Meanwhile the driver asks about each invoice, "
    "if any way below works"
)
_SHARE: Final = 0.45
"""Of a check's time, for each of the two questions that it asks."""


@dataclass(slots=True)
class SocketFindings:
    """What the socket taught.

    Attributes:
        account: The answer to the authenticated question, if it was asked there and answered.
        authenticated: Whether the token counts there; None when that did not show.
        hears: Whether the subscription delivers.

    """

    account: Mapping[str, Any] | None = None
    authenticated: bool | None = None
    hears: bool = False


async def examine_socket(examination: Examination, endpoint: Endpoint) -> SocketFindings:
    """Carry out every check of the socket."""
    findings = SocketFindings()
    connection: Connection | None = None
    try:
        async with examination.check("WebSocket", if_late=_MUTE) as row:
            connection = await _connect(endpoint, Deadline.after(examination.seconds))
            row.found = "connected"
        if connection is None:
            return _skip_rest(examination, 1, "no WebSocket", findings)
        async with examination.check("subprotocol", if_late=_MUTE) as row:
            row.found = _agreed(connection)
        if not row.passed:
            return _skip_rest(examination, 2, "no common protocol", findings)
        async with examination.check("connection_ack", if_late=_MUTE) as row:
            await _introduce(connection, endpoint, Deadline.after(examination.seconds))
            row.found = "acknowledged (proves nothing about the token)"
        if not row.passed:
            return _skip_rest(examination, 3, "not acknowledged", findings)
        async with examination.check("socket mutations", if_late=_MUTE) as row:
            row.found = await _probe(connection, examination.seconds, findings)
        async with examination.check("subscription", if_late=_DEAF) as row:
            if not connection.usable:
                await connection.aclose()
                connection = await _reopen(endpoint, examination.seconds)
            row.found = await _hear(connection, Deadline.after(examination.seconds), findings)
    finally:
        if connection is not None:
            await connection.aclose()
    return findings


def _skip_rest(examination: Examination, begin: int, why: str, findings: SocketFindings) -> SocketFindings:
    for name in STEPS[begin:]:
        examination.skip(name, why)
    return findings


async def _connect(endpoint: Endpoint, deadline: Deadline) -> Connection:
    try:
        return await Connection.connect(endpoint, Limits(), deadline)
    except ConnectionFailed as failure:
        if failure.cause is Cause.SLOW:
            raise TimeoutError from None
        advice = PATH if failure.status is None else handshake_advice(failure.status)
        raise Trouble(failure.why, advice) from None


def _agreed(connection: Connection) -> str:
    if connection.subprotocol != SUBPROTOCOL:
        raise Trouble("the server agreed to none", PATH)
    return SUBPROTOCOL


async def _introduce(connection: Connection, endpoint: Endpoint, deadline: Deadline) -> None:
    try:
        await connection.introduce(endpoint, deadline)
    except ConnectionFailed as failure:
        if failure.cause is Cause.SLOW:
            raise TimeoutError from None
        advice = PATH if failure.foreign else CLOSE_ADVICE.get(failure.code or 0, _MUTE)
        raise Trouble(failure.why.removesuffix(" before connection_ack"), advice) from None


async def _probe(connection: Connection, seconds: float, findings: SocketFindings) -> str:
    """Ask whether operations are executed here, harmlessly (flash-server.md 2); then whether as us."""
    evidence = await connection.request(PROBE().payload, Deadline.after(seconds * _SHARE))
    match classify(PROBE, evidence):
        case Completed():
            pass
        case NotExecuted(cause=Cause.CLOSED):
            words = "the server closes the socket on them; subscriptions only"
            raise Trouble(words, _ADVICE_DECLINED)
        case NotExecuted(cause=Cause.DECLINED):
            raise Trouble("the server declines them; subscriptions only", _ADVICE_DECLINED)
        case other:
            raise Trouble(in_words(other), _MUTE)
    _learn_account(await connection.request(ME().payload, Deadline.after(seconds * _SHARE)), findings)
    return "the server executes them"


_ADVICE_DECLINED: Final = (
    "nothing to do as long as HTTP takes the token or the row `public API` works, see below: the driver creates "
    "invoices there, and remembers"
)


def _learn_account(evidence: Evidence, findings: SocketFindings) -> None:
    match classify(ME, evidence):
        case Completed(data):
            findings.account, findings.authenticated = data, True
        case NotExecuted(cause=Cause.CREDENTIAL):
            findings.authenticated = False
        case _:
            pass


async def _reopen(endpoint: Endpoint, seconds: float) -> Connection:
    try:
        return await Connection.open(endpoint, Limits(), Deadline.after(seconds))
    except ConnectionFailed as failure:
        raise Trouble(failure.why, _MUTE) from None


async def _hear(connection: Connection, deadline: Deadline, findings: SocketFindings) -> str:
    """Wait for the price that the server sends to most new subscribers (flash-server.md 3.6).

    It refuses at once, so silence is no refusal: where the display currency has no price, nothing is said at first. But
    a server that answers nothing at all is mute.
    """
    try:
        subscription = await connection.subscribe(MY_UPDATES().payload, deadline)
        try:
            async with asyncio.timeout(deadline.remaining * 0.6):
                event = await subscription.receive()
        except TimeoutError:
            if isinstance(await connection.execute(PROBE(), deadline), TimedOut):
                raise
            findings.hears = True
            return "subscribed, nothing said yet"
    except (ConnectionFailed, SubscriptionEnded) as error:
        raise Trouble(str(error), _DEAF) from None
    if event.data is not None:
        findings.hears = findings.authenticated = True
        return "the first event came"
    words, code = describe(event.errors)
    if code == "NOT_AUTHENTICATED":
        findings.authenticated = findings.authenticated or False
        raise Trouble(words, "the socket does not know the token; the row `token` tells what to do")
    raise Trouble(words, "the server refuses the subscription in these words: tell its operator")
