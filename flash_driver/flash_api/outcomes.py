"""What became of a request: exactly one of four outcomes, told apart without any I/O.

=============  =====================================================  ==================  ==============================
outcome        means                                                  creating, asking    paying
=============  =====================================================  ==================  ==============================
Completed      the server answered with data                          done                done
Refused        the server considered it and said no                   raise               error result
NotExecuted    it was certainly not carried out                       next transport      next transport
Unknown        it was written and no usable answer came               next transport      only again with the same key
=============  =====================================================  ==================  ==============================

A transport reports *evidence* (what it saw); `classify` turns it into an outcome. When in doubt about money the outcome
is `Unknown`: a payment called failed that was not is paid twice. Rules of the server: flash-server.md 5.4 and 3.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta


__all__ = [
    "IN_FLIGHT",
    "Answer",
    "Cause",
    "Closed",
    "Completed",
    "ErrorFrame",
    "Evidence",
    "Garbage",
    "HttpStatus",
    "Kind",
    "NotConnected",
    "NotExecuted",
    "NotWritten",
    "Outcome",
    "Quota",
    "Refused",
    "TimedOut",
    "Unknown",
]


class Kind(Enum):
    """What is at stake: nothing, an unpaid invoice that nobody needs, or money."""

    ASK = "ask"
    CREATE = "create"
    SEND = "send"


class Cause(Enum):
    """Why a request was not executed, as far as the router can learn from it.

    Attributes:
        UNREACHABLE: No connection, or one that was gone before anything was written.
        SLOW: The same, because time ran out.
        CREDENTIAL: The token was refused.
        DECLINED: The server executes nothing but subscriptions here, and said so.
        CLOSED: The server closed the socket on a question, as an older one does to decline; or just had an accident.
        INVALID: The request itself was not accepted, such as a field that this server does not have.
        THROTTLED: A gateway takes no more requests for now; Flash itself has not seen this one.
        UNSUITED: This way can't carry such a request at all.
        HELD: It was not sent because this driver leaves the server's limit to more important requests.

    """

    UNREACHABLE = "unreachable"
    SLOW = "slow"
    CREDENTIAL = "credential"
    DECLINED = "declined"
    CLOSED = "closed"
    INVALID = "invalid"
    THROTTLED = "throttled"
    UNSUITED = "unsuited"
    HELD = "held"


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completed:
    """The server answered; `data` is the whole `data` object of the GraphQL response, which may repeat the token."""

    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The server considered the request and said no; its words and code are kept.

    Attributes:
        words: The server's own message.
        code: The server's error code, None when it gave none.
        retry_after: How long to wait, when the server takes no more for now.
        temporary: Whether the same request may be answered otherwise in a moment: trouble of the server's own, or an
            account that is being moved (flash-server.md 5.2, 14).
        definite: Whether this is the fate of the payment itself, and so of every earlier sending under the same key.
            Any other refusal is about one sending only: after one that was lost, `insufficient balance` may just mean
            that the lost one was carried out.

    """

    words: str
    code: str | None = None
    retry_after: timedelta | None = None
    definite: bool = False
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """The request was certainly not carried out; another transport may be tried.

    Attributes:
        reason: What was seen, for a person.
        cause: What kind of trouble it is.
        retry_after: How long to leave this way alone, where it said so.

    """

    reason: str
    cause: Cause = Cause.UNREACHABLE
    retry_after: timedelta | None = None


IN_FLIGHT: Final = "the payment is in flight"
"""The reason of an unknown outcome whose money has left: the server itself says so (flash-server.md 3.7)."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have been carried out.

    Attributes:
        reason: What was seen, for a person.
        answered: Whether the server itself said that it does not know; another transport then knows no better.
        silent: Whether nothing came at all, so that this way is best left alone for a while.
        slow: Whether the peer lives and took too long: every other way to the same server would be as slow.
        kept: Whether the server has, or will soon have, an answer under the idempotency key (flash-server.md 3.7): then
            to ask again is a question. It keeps no errors: then to ask again is to pay again.

    """

    reason: str
    answered: bool = False
    silent: bool = False
    kept: bool = False
    slow: bool = False


Outcome = Completed | Refused | NotExecuted | Unknown


# --- evidence -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quota:
    """What an answer tells of an API key's limit (flash-server.md 16).

    Attributes:
        limit: How many requests a minute the key may make.
        remaining: How many of them are left, of all processes together.
        renewed_in: How soon all of them are there again.

    """

    limit: int
    remaining: int
    renewed_in: timedelta


@dataclass(frozen=True, slots=True)
class Answer:
    """A GraphQL response arrived: `next` on a socket, or a JSON body.

    Attributes:
        data: What was asked for.
        errors: The errors at the top level.
        quota: What it tells of the API key's limit, if it does.

    """

    data: Mapping[str, Any] | None
    errors: Sequence[Mapping[str, Any]] = ()
    quota: Quota | None = None


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """An `error` message for this operation arrived and no `next` before it."""

    errors: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Closed:
    """The socket closed while an answer was due; `code` is None when no close frame came."""

    code: int | None


@dataclass(frozen=True, slots=True)
class HttpStatus:
    """An HTTP status other than 200 arrived, with the GraphQL errors of its body if it had any."""

    status: int
    retry_after: timedelta | None = None
    errors: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class NotConnected:
    """No connection came about, so nothing was written."""

    why: str
    cause: Cause = Cause.UNREACHABLE


@dataclass(frozen=True, slots=True)
class NotWritten:
    """There was a connection, but the request was not written to it."""

    why: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The request was written and time ran out.

    Attributes:
        alive: Whether the peer gave a sign of life meanwhile: then it is slow, not dead.

    """

    alive: bool = False


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something arrived that is no GraphQL response."""

    why: str


Evidence = Answer | ErrorFrame | Closed | HttpStatus | NotConnected | NotWritten | TimedOut | Garbage
