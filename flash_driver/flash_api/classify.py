"""From what a transport saw to one of the four outcomes; pure. Rules of the server: flash-server.md 5.4 and 3.7."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from flash_driver.flash_api.error_words import describe, error_rows, first_error, message_of
from flash_driver.flash_api.outcomes import (
    IN_FLIGHT,
    Answer,
    Cause,
    Closed,
    Completed,
    ErrorFrame,
    Evidence,
    Garbage,
    HttpStatus,
    Kind,
    NotConnected,
    NotExecuted,
    NotWritten,
    Outcome,
    Refused,
    TimedOut,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flash_driver.flash_api.documents import Document

__all__ = ["LONGEST_WAIT", "RATE_LIMIT_BLOCK", "SUBSCRIPTIONS_ONLY", "classify"]

# --- the table ------------------------------------------------------------------------------------------------------

SUBSCRIPTIONS_ONLY: Final = "only subscription operations are supported"


RATE_LIMIT_BLOCK: Final = timedelta(seconds=300)


LONGEST_WAIT: Final = timedelta(days=1)
"""How long a way is left alone at the most, however long the server says."""


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


# Trouble of the server's own while it created or asked: the same request may succeed in a moment (flash-server.md 5.2).
_TEMPORARY_CODES: Final = frozenset({"IBEX_ERROR", "UNKNOWN_CLIENT_ERROR", "DB_ERROR", "INTERNAL_SERVER_ERROR"})


# An account that is being moved from USD to USDT (flash-server.md 14).
_MOVING_WORDS: Final = re.compile(r"cutover is in progress", re.IGNORECASE)


# Names of the errors of the server's lock on an idempotency key; under a lock that is busy or was lost a payment runs.
_LOCK_TROUBLE: Final = "LockServiceError"


_LOCK_BUSY: Final = "ResourceAttemptsLockServiceError"


_SCOPE_WORDS: Final = re.compile(r"^API keys? (missing required scope|cannot access)", re.IGNORECASE)


# What the server will not do, though it says so in the words of a fault of its own (flash-server.md 3.4).
_NEVER_WORDS: Final = re.compile(r"does not support", re.IGNORECASE)


# What the server says of a payment that it lost sight of (flash-server.md 3.7); a wallet that is not ours is refused in
# words that begin otherwise.
_GENERIC_WORDS: Final = re.compile(r"an unexpected error", re.IGNORECASE)


_NEVER_RAN_STATUSES: Final = {
    401: Cause.CREDENTIAL,
    404: Cause.UNREACHABLE,
    405: Cause.UNREACHABLE,
    413: Cause.INVALID,
    415: Cause.INVALID,
}


_ELSEWHERE_STATUSES: Final = frozenset({301, 302, 307, 308})  # 303 is how a server sends on after it has executed


# Close codes that a graphql-transport-ws server sends before it runs anything (flash-server.md 5.4).
_NEVER_RAN_CLOSES: Final = frozenset({4401, 4403, 4406, 4408, 4409, 4429})


def classify(document: Document, evidence: Evidence) -> Outcome:
    """Decide what became of a request.

    Args:
        document: What was asked.
        evidence: What the transport saw.

    """
    kind, field = document.kind, document.field
    match evidence:
        case NotConnected(why, cause):
            return NotExecuted(why, cause)
        case NotWritten(why):
            return NotExecuted(why)
        case TimedOut(alive):
            return Unknown("no answer in time", silent=not alive, slow=alive)
        case Garbage(why):
            return Unknown(why)
        case Closed(code):
            return _classify_close(kind, code)
        case ErrorFrame(errors):
            return _classify_error_frame(kind, errors)
        case HttpStatus():
            return _classify_status(kind, evidence)
        case Answer():
            return _classify_answer(kind, field, evidence)


def _classify_close(kind: Kind, code: int | None) -> Outcome:
    said = "socket dropped" if code is None else f"socket closed with code {code}"
    if kind is Kind.SEND:
        # Of the codes below a server of this protocol sends none after its acknowledgement; one that does may do so
        # in the middle of a payment, as when a session ends. Nothing is proved about money.
        return Unknown(said)
    if code in _NEVER_RAN_CLOSES:
        return NotExecuted(said, Cause.CREDENTIAL if code in (4401, 4403) else Cause.UNREACHABLE)
    if code == 4500 and kind is Kind.ASK:
        # How an older server declines (flash-server.md 2); production hides the reason, so this is believed of
        # harmless questions only, and by the router only of a server that never executed anything.
        return NotExecuted(f"{said}: it takes subscriptions only", Cause.CLOSED)
    return Unknown(said)


def _classify_error_frame(kind: Kind, errors: Sequence[Mapping[str, Any]]) -> Outcome:
    words, code = describe(errors)
    if SUBSCRIPTIONS_ONLY in words.lower():
        return NotExecuted(words, Cause.DECLINED)
    # Validation gives neither path nor code; an error that has either may come from a resolver that ran.
    if any(error.get("path") for error in errors) or (code is not None and code not in _NOT_EXECUTED_CODES):
        return _classify_top_errors(kind, errors)
    if kind is Kind.SEND and code is None and not _shows_place(errors):
        return Unknown(words)
    return NotExecuted(words, _NOT_EXECUTED_CODES.get(code or "", Cause.INVALID))


def _classify_top_errors(kind: Kind, errors: Sequence[Mapping[str, Any]]) -> Outcome:
    """Read errors beside the data: of a payment, one that names no field is no word of its resolver's."""
    words, code = describe(errors)
    known = code in _NOT_EXECUTED_CODES or code in _RATE_CODES or SUBSCRIPTIONS_ONLY in words.lower()
    known = known or bool(_SCOPE_WORDS.match(message_of(errors)))
    if kind is not Kind.SEND or known or any(error.get("path") for error in errors):
        return _classify_errors(kind, errors)
    if code is None and _shows_place(errors):
        return NotExecuted(words, Cause.INVALID)
    return Unknown(words if code is None else f"{words} ({code})", answered=True)


def _shows_place(errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an error points into the document and at no field of the answer, as validation's do."""
    return any(error.get("locations") and not error.get("path") for error in errors)


def _classify_status(kind: Kind, seen: HttpStatus) -> Outcome:
    status = seen.status
    words = describe(seen.errors)[0] if seen.errors else ""
    reason = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if status == 429:
        # Flash's own limits come with a code of theirs, under HTTP 200 mostly; without one a gateway speaks.
        code = describe(seen.errors)[1] if seen.errors else None
        if code in _RATE_CODES:
            return Refused(words, code, _retry_after(seen.errors))
        return NotExecuted(f"{reason}: a gateway takes no more for now", Cause.THROTTLED, seen.retry_after)
    if status == 403:
        # Flash answers 401 to a credential that it does not take (flash-server.md 1.4).
        return NotExecuted(f"{reason}: blocked on the way, by a firewall or content network perhaps")
    if status in _ELSEWHERE_STATUSES or (300 <= status < 400 and kind is not Kind.SEND):
        return NotExecuted(f"{reason}: a redirect is not followed with a credential")
    if status == 400:
        return NotExecuted(reason, Cause.INVALID)
    if status in _NEVER_RAN_STATUSES:
        return NotExecuted(reason, _NEVER_RAN_STATUSES[status])
    return Unknown(reason)


def _classify_answer(kind: Kind, field: str | None, answer: Answer) -> Outcome:
    payload = None if answer.data is None or field is None else answer.data.get(field)
    if answer.errors and (answer.data is None or (field is not None and payload is None)):
        return _classify_top_errors(kind, answer.errors)
    if answer.data is None:
        return Unknown("an answer without data and without errors")
    if kind is Kind.SEND:
        return _classify_send(answer.data, payload if isinstance(payload, dict) else {})
    if isinstance(payload, dict) and payload.get("errors"):
        return _classify_errors(kind, error_rows(payload["errors"]))
    if answer.errors and (missing := [error for error in answer.errors if _takes_down(error, field)]):
        return _classify_errors(kind, missing)
    return Completed(answer.data)


def _takes_down(error: Mapping[str, Any], field: str | None) -> bool:
    """Whether an error left a hole in what was asked for; one row of a list among others is the reader's business."""
    path = error.get("path")
    if not isinstance(path, list) or field is None or path[:1] != [field]:
        return False
    return not any(isinstance(step, int) for step in path)


def _classify_send(data: Mapping[str, Any], payload: Mapping[str, Any]) -> Outcome:
    """Read a payment payload (flash-server.md 3.7): only a clear word is believed."""
    errors = error_rows(payload.get("errors"))
    match payload.get("status"), bool(errors):
        case "SUCCESS", False:
            return Completed(data)
        case "SUCCESS", True:
            return Unknown("the payment is called both a success and an error", answered=True)
        case "FAILURE", False:
            return Refused("the payment failed", definite=True)
        case None, True if _validation(errors):
            return Refused(describe(errors)[0])
        case (("FAILURE" | None), True):
            return _classify_errors(Kind.SEND, errors)
        case "ALREADY_PAID", _:
            return Unknown("the invoice is already paid", answered=True, kept=True)
        case "PENDING", _:
            return Unknown(IN_FLIGHT, answered=True, kept=True)
        case _:
            # Without any status the server kept nothing (flash-server.md 3.7).
            return Unknown("a payment status that is not known", answered=True, kept=bool(payload.get("status")))


def _validation(errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether this is how the server refuses a scalar or somebody else's wallet: words and no code."""
    message = message_of(errors)
    return describe(errors)[1] is None and message != "" and not _GENERIC_WORDS.search(message)


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
    if kind is Kind.SEND and not _final_refusal_of_send(message_of(errors), code):
        busy = _LOCK_BUSY in message_of(errors)
        return Unknown(words if code is None else f"{words} ({code})", answered=True, kept=busy)
    return Refused(words, code, temporary=kind is not Kind.SEND and _passes(message_of(errors), code))


def _passes(message: str, code: str | None) -> bool:
    """Whether a refusal to create or to answer says nothing of the next one."""
    final = _SCOPE_WORDS.match(message) or _NEVER_WORDS.search(message)
    return bool(_MOVING_WORDS.search(message)) or (code in _TEMPORARY_CODES and not final)


def _final_refusal_of_send(message: str, code: str | None) -> bool:
    if code == "UNEXPECTED_CLIENT_ERROR":
        return _LOCK_TROUBLE not in message
    return code in _FINAL_SEND_CODES or bool(_SCOPE_WORDS.match(message))


def _retry_after(errors: Sequence[Mapping[str, Any]]) -> timedelta:
    extensions = first_error(errors).get("extensions")
    seconds = extensions.get("retryAfterSeconds") if isinstance(extensions, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        return RATE_LIMIT_BLOCK
    return timedelta(seconds=min(seconds, LONGEST_WAIT.total_seconds()))
