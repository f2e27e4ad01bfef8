"""What became of a request: exactly one of four outcomes, decided in one place without any I/O.

=============  =====================================================  ==================  ==============================
outcome        means                                                  creating, asking    paying
=============  =====================================================  ==================  ==============================
Completed      the server answered with data                          done                done
Refused        the server considered it and said no                   raise               error result
NotExecuted    it was certainly not carried out                       next transport      next transport
Unknown        it was written and no usable answer came               next transport      only again with the same key
=============  =====================================================  ==================  ==============================

A transport reports *evidence* (what it saw); `classify` turns it into an outcome. When in doubt about money the outcome
is `Unknown`: a payment called failed that was not is paid twice. Rules of the server: flash-api.md 5.4 and 3.7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
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
    "Refused",
    "TimedOut",
    "Unknown",
    "classify",
]


class Kind(Enum):
    """What is at stake: nothing, an unpaid invoice that nobody needs, or money."""

    ASK = "ask"
    CREATE = "create"
    SEND = "send"


class Cause(Enum):
    """Why a request was not executed, as far as the router can learn from it."""

    UNREACHABLE = "unreachable"
    SLOW = "slow"
    CREDENTIAL = "credential"
    DECLINED = "declined"
    INVALID = "invalid"


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completed:
    """The server answered; `data` is the whole `data` object of the GraphQL response."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The server considered the request and said no; its words and code are kept."""

    words: str
    code: str | None = None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """The request was certainly not carried out; another transport may be tried."""

    reason: str
    cause: Cause = Cause.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have been carried out.

    Attributes:
        reason: What was seen, for a person.
        answered: Whether the server itself said that it does not know; another transport then knows no better.
        silent: Whether nothing came at all, so that this way is best left alone for a while.

    """

    reason: str
    answered: bool = False
    silent: bool = False


Outcome = Completed | Refused | NotExecuted | Unknown


# --- evidence -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """A GraphQL response arrived: `next` on a socket, or a JSON body."""

    data: Mapping[str, Any] | None
    errors: Sequence[Mapping[str, Any]] = ()


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
    """The request was written and time ran out."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something arrived that is no GraphQL response."""

    why: str


Evidence = Answer | ErrorFrame | Closed | HttpStatus | NotConnected | NotWritten | TimedOut | Garbage


# --- the table ------------------------------------------------------------------------------------------------------

SUBSCRIPTIONS_ONLY: Final = "only subscription operations are supported"
RATE_LIMIT_BLOCK: Final = timedelta(seconds=300)

_NOT_EXECUTED_CODES: Final = {
    "NOT_AUTHORIZED": Cause.CREDENTIAL,
    "NOT_AUTHENTICATED": Cause.CREDENTIAL,
    "UNAUTHENTICATED": Cause.CREDENTIAL,
    "GRAPHQL_VALIDATION_FAILED": Cause.INVALID,
    "GRAPHQL_PARSE_FAILED": Cause.INVALID,
    "INVALID_FIELD": Cause.INVALID,
    "BAD_USER_INPUT": Cause.INVALID,
}
_LOST_CODES: Final = frozenset({"SUBREQUEST_HTTP_ERROR", "REQUEST_TIMEOUT", "GATEWAY_TIMEOUT"})
_RATE_CODES: Final = frozenset({"TOO_MANY_REQUEST", "TOO_MANY_REQUESTS"})
# A refusal of a payment is believed only under one of these codes.
_FINAL_SEND_CODES: Final = frozenset(
    {
        "INVALID_INPUT",
        "INSUFFICIENT_BALANCE",
        "INVOICE_DECODE_ERROR",
        "CANT_PAY_SELF",
        "TRANSACTION_RESTRICTED",
        "ROUTE_FINDING_ERROR",
        "NOT_FOUND",
        "LND_OFFLINE",
        "DEALER_ERROR",
        "DEALER_OFFLINE",
    }
)
_LOCK_BUSY: Final = "ResourceAttemptsLockServiceError"
_SCOPE_WORDS: Final = re.compile(r"^API keys? (missing required scope|cannot access)", re.IGNORECASE)
# Apollo Router drops the code of an error on its way (flash-api.md 5.1); these words identify it all the same.
_CODE_BY_WORDS: Final = (
    (re.compile(r"^not authorized$", re.IGNORECASE), "NOT_AUTHORIZED"),
    (re.compile(r"^not authenticated", re.IGNORECASE), "NOT_AUTHENTICATED"),
    (re.compile(r"^too many |rate limit exceeded", re.IGNORECASE), "TOO_MANY_REQUEST"),
    (
        re.compile(r'^(cannot query field|unknown argument|unknown type|variable "\$)', re.IGNORECASE),
        "GRAPHQL_VALIDATION_FAILED",
    ),
)
_NEVER_RAN_STATUSES: Final = {
    401: Cause.CREDENTIAL,
    403: Cause.CREDENTIAL,
    404: Cause.UNREACHABLE,
    405: Cause.UNREACHABLE,
    413: Cause.INVALID,
    415: Cause.INVALID,
}
# Close codes that a graphql-transport-ws server sends before it runs anything (flash-api.md 5.4).
_NEVER_RAN_CLOSES: Final = frozenset({4401, 4403, 4406, 4408, 4409, 4429})


def classify(kind: Kind, field: str | None, evidence: Evidence) -> Outcome:
    """Decide what became of a request.

    Args:
        kind: What is at stake.
        field: The root field asked for, whose payload carries errors of its own; None for several fields.
        evidence: What the transport saw.

    """
    match evidence:
        case NotConnected(why, cause):
            return NotExecuted(why, cause)
        case NotWritten(why):
            return NotExecuted(why)
        case TimedOut():
            return Unknown("no answer in time", silent=True)
        case Garbage(why):
            return Unknown(why)
        case Closed(code):
            return _classify_close(kind, code)
        case ErrorFrame(errors):
            return _classify_error_frame(kind, errors)
        case HttpStatus():
            return _classify_status(evidence)
        case Answer():
            return _classify_answer(kind, field, evidence)


def _classify_close(kind: Kind, code: int | None) -> Outcome:
    if code in _NEVER_RAN_CLOSES:
        cause = Cause.CREDENTIAL if code in (4401, 4403) else Cause.UNREACHABLE
        return NotExecuted(f"socket closed with code {code}", cause)
    if code == 4500 and kind is Kind.ASK:
        # How an older server declines (flash-api.md 2). Believed of a harmless question only: the reason text is hidden
        # in production, and another server may die half-way through a mutation.
        return NotExecuted("socket closed with code 4500: it takes subscriptions only", Cause.DECLINED)
    return Unknown("socket dropped" if code is None else f"socket closed with code {code}")


def _classify_error_frame(kind: Kind, errors: Sequence[Mapping[str, Any]]) -> Outcome:
    words, code = describe(errors)
    if SUBSCRIPTIONS_ONLY in words.lower():
        return NotExecuted(words, Cause.DECLINED)
    # An error with a path comes from a resolver that ran; graphql-ws sends none, other servers may.
    if kind is Kind.SEND and any(error.get("path") for error in errors):
        return Unknown(words, answered=True)
    return NotExecuted(words, _NOT_EXECUTED_CODES.get(code or "", Cause.INVALID))


def _classify_status(seen: HttpStatus) -> Outcome:
    status = seen.status
    words = describe(seen.errors)[0] if seen.errors else ""
    reason = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if status == 429:
        return Refused(reason, "TOO_MANY_REQUESTS", seen.retry_after or RATE_LIMIT_BLOCK)
    if 300 <= status < 400:
        return NotExecuted(f"{reason}: a redirect is not followed with a credential")
    if status == 400:
        return NotExecuted(reason, Cause.INVALID)
    if status in _NEVER_RAN_STATUSES:
        return NotExecuted(reason, _NEVER_RAN_STATUSES[status])
    return Unknown(reason)


def _classify_answer(kind: Kind, field: str | None, answer: Answer) -> Outcome:
    payload = None if answer.data is None or field is None else answer.data.get(field)
    if answer.errors and (answer.data is None or (field is not None and payload is None)):
        return _classify_errors(kind, answer.errors)
    if answer.data is None:
        return Unknown("an answer without data and without errors")
    if field is None or not isinstance(payload, dict):
        return Completed(answer.data)
    if kind is Kind.SEND:
        return _classify_send(answer.data, payload)
    if payload.get("errors"):
        return _classify_errors(kind, payload["errors"])
    return Completed(answer.data)


def _classify_send(data: Mapping[str, Any], payload: Mapping[str, Any]) -> Outcome:
    """Read a payment payload (flash-api.md 3.7): only a clear word is believed."""
    errors = payload.get("errors") or ()
    status = payload.get("status")
    if status == "SUCCESS":
        return Completed(data)
    if status == "FAILURE" and not errors:
        return Refused("the payment failed")
    if status in ("FAILURE", None) and errors:
        words, code = describe(errors)
        if status is None and code is None:
            return Refused(words)
        return _classify_errors(Kind.SEND, errors)
    if status == "ALREADY_PAID":
        return Unknown("the invoice is already paid", answered=True)
    if status == "PENDING":
        return Unknown("the payment is in flight", answered=True)
    return Unknown("a payment status that is not known", answered=True)


def _classify_errors(kind: Kind, errors: Sequence[Mapping[str, Any]]) -> Outcome:
    words, code = describe(errors)
    if SUBSCRIPTIONS_ONLY in words.lower():
        return NotExecuted(words, Cause.DECLINED)
    if code in _RATE_CODES:
        return Refused(words, code, _retry_after(errors))
    if code in _NOT_EXECUTED_CODES:
        return NotExecuted(words, _NOT_EXECUTED_CODES[code])
    if code in _LOST_CODES:
        return Unknown(f"{words} ({code})")
    if kind is Kind.SEND and not _final_refusal_of_send(words, code):
        return Unknown(words if code is None else f"{words} ({code})", answered=True)
    return Refused(words, code)


def _final_refusal_of_send(words: str, code: str | None) -> bool:
    if code == "UNEXPECTED_CLIENT_ERROR":
        return _LOCK_BUSY not in words
    return code in _FINAL_SEND_CODES or bool(_SCOPE_WORDS.match(words))


def describe(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    """Return the words and the code of the first error, wherever the server put the code."""
    first = next((error for error in errors if isinstance(error, dict)), {})
    words = str(first.get("message") or "an error without a message")
    extensions = first.get("extensions")
    code = (extensions.get("code") if isinstance(extensions, dict) else None) or first.get("code")
    if not code:
        code = next((name for pattern, name in _CODE_BY_WORDS if pattern.search(words)), None)
    return words, None if code is None else str(code)


def _retry_after(errors: Sequence[Mapping[str, Any]]) -> timedelta:
    extensions = errors[0].get("extensions") if errors else None
    seconds = extensions.get("retryAfterSeconds") if isinstance(extensions, dict) else None
    return timedelta(seconds=int(seconds)) if isinstance(seconds, int) and seconds >= 0 else RATE_LIMIT_BLOCK
