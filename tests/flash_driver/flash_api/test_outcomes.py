"""The table: what each thing that a transport can see means for a question, an invoice and a payment.

Rows follow flash-server.md 5.2 (codes), 5.3 (HTTP statuses), 5.4 (what may be sent again) and 3.7 (payments).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import Document
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.outcomes import (
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
    from collections.abc import Mapping

FIELD = "pay"
GENERIC = "An unexpected error occurred. Please try again later."
OWNERSHIP = "Unexpected error occurred, please try again or contact support if it persists"
MOVING = "Cash Wallet cutover is in progress. Please try again shortly."
DECLINED = "Only subscription operations are supported"


def document(kind: Kind, field: str | None = FIELD) -> Document:
    """Return a document with this much at stake."""
    return Document("Asked", kind, "", field)


def error(message: object = "no", code: object = None, **more: object) -> dict[str, Any]:
    """Return a GraphQL error with its code where Apollo's subgraph puts it."""
    return {"message": message, **({} if code is None else {"code": code}), **more}


def extended(code: str, message: str = "no", **more: object) -> dict[str, Any]:
    """Return a GraphQL error with its code in `extensions`, as over WebSocket."""
    return {"message": message, "extensions": {"code": code, **more}}


def top(*errors: object) -> Answer:
    """Return a reply that is nothing but errors."""
    return Answer(None, errors)  # type: ignore[arg-type]  # a server may send anything


def payload(**fields: object) -> Answer:
    """Return a reply whose one field has this payload."""
    return Answer({FIELD: fields})


def short(outcome: Outcome) -> str:
    """Return an outcome in one word, as the table writes it."""
    match outcome:
        case Completed():
            return "done"
        case Refused(definite=True):
            return "failed"
        case Refused(temporary=True):
            return "not now"
        case Refused(retry_after=None):
            return "refused"
        case Refused():
            return "later"
        case NotExecuted(cause=cause):
            return cause.value
        case Unknown(answered=True):
            return "unknown, it says"
        case Unknown(silent=True):
            return "silence"
        case Unknown():
            return "unknown"


@dataclass(frozen=True)
class Row:
    """One row: what was seen, and what it means for each kind."""

    seen: Evidence
    ask: str
    create: str
    send: str


def same(seen: Evidence, everywhere: str) -> Row:
    """Return a row that means the same for every kind."""
    return Row(seen, everywhere, everywhere, everywhere)


def harmless(seen: Evidence, ask_and_create: str, send: str) -> Row:
    """Return a row that means something else for a payment."""
    return Row(seen, ask_and_create, ask_and_create, send)


CODES: Mapping[str, tuple[str, str]] = {
    "NOT_AUTHORIZED": ("credential", "credential"),
    "NOT_AUTHENTICATED": ("credential", "credential"),
    "UNAUTHENTICATED": ("credential", "credential"),
    "INVALID_INPUT": ("refused", "refused"),
    "TOO_MANY_REQUEST": ("later", "later"),
    "TOO_MANY_REQUESTS": ("later", "later"),
    "INSUFFICIENT_BALANCE": ("refused", "refused"),
    "INVOICE_DECODE_ERROR": ("refused", "refused"),
    "CANT_PAY_SELF": ("refused", "refused"),
    "TRANSACTION_RESTRICTED": ("refused", "refused"),
    "ROUTE_FINDING_ERROR": ("refused", "refused"),
    "LIGHTNING_PAYMENT_ERROR": ("refused", "unknown, it says"),
    "IBEX_ERROR": ("not now", "unknown, it says"),
    "UNKNOWN_CLIENT_ERROR": ("not now", "unknown, it says"),
    "DB_ERROR": ("not now", "unknown, it says"),
    "NOT_FOUND": ("refused", "refused"),
    "LND_OFFLINE": ("refused", "refused"),
    "DEALER_ERROR": ("refused", "refused"),
    "DEALER_OFFLINE": ("refused", "refused"),
    "INTERNAL_SERVER_ERROR": ("not now", "unknown, it says"),
    "GRAPHQL_VALIDATION_FAILED": ("invalid", "invalid"),
    "GRAPHQL_PARSE_FAILED": ("invalid", "invalid"),
    "INVALID_FIELD": ("invalid", "invalid"),
    "BAD_USER_INPUT": ("invalid", "invalid"),
    "SUBREQUEST_HTTP_ERROR": ("unknown", "unknown"),
    "REQUEST_TIMEOUT": ("unknown", "unknown"),
    "GATEWAY_TIMEOUT": ("unknown", "unknown"),
    "A_CODE_OF_TOMORROW": ("refused", "unknown, it says"),
}

ROWS: Mapping[str, Row] = {
    # 5.4: before anything was written
    "DNS, TCP or TLS failed": same(NotConnected("refused"), "unreachable"),
    "no connection in time": same(NotConnected("slow", Cause.SLOW), "slow"),
    "handshake answered with 401": same(NotConnected("HTTP 401", Cause.CREDENTIAL), "credential"),
    "socket gone before the write": same(NotWritten("closed"), "unreachable"),
    # 5.4: after something was written
    "nothing came": same(TimedOut(), "silence"),
    "socket dropped": same(Closed(None), "unknown"),
    "closed normally": same(Closed(1000), "unknown"),
    "closed by a restart": same(Closed(1012), "unknown"),
    "closed 4400": same(Closed(4400), "unknown"),
    "closed 4401": harmless(Closed(4401), "credential", "unknown"),
    "closed 4403": harmless(Closed(4403), "credential", "unknown"),
    "closed 4406": harmless(Closed(4406), "unreachable", "unknown"),
    "closed 4408": harmless(Closed(4408), "unreachable", "unknown"),
    "closed 4409": harmless(Closed(4409), "unreachable", "unknown"),
    "closed 4429": harmless(Closed(4429), "unreachable", "unknown"),
    "closed 4500": Row(Closed(4500), "closed", "unknown", "unknown"),
    "no GraphQL response": same(Garbage("HTML"), "unknown"),
    # 2 and 5.4: error frames
    "error frame: subscriptions only": same(ErrorFrame([error(DECLINED)]), "declined"),
    "error frame: not identified": harmless(ErrorFrame([error("Unable to identify operation")]), "invalid", "unknown"),
    "error frame: validation": same(ErrorFrame([error("Cannot query field", locations=[{}])]), "invalid"),
    "error frame: validation, other words": same(ErrorFrame([error("Nein", locations=[{}])]), "invalid"),
    "error frame: token": same(ErrorFrame([extended("UNAUTHENTICATED")]), "credential"),
    "error frame: rate limit": same(ErrorFrame([extended("TOO_MANY_REQUEST")]), "later"),
    "error frame: from a resolver": harmless(ErrorFrame([error(path=[FIELD])]), "refused", "unknown, it says"),
    "error frame: final code": same(ErrorFrame([error("too little", "INSUFFICIENT_BALANCE", path=[FIELD])]), "refused"),
    "error frame: final code of nobody's": harmless(
        ErrorFrame([extended("INSUFFICIENT_BALANCE")]), "refused", "unknown, it says"
    ),
    "error frame: unclear code": harmless(ErrorFrame([extended("IBEX_ERROR")]), "not now", "unknown, it says"),
    "error frame: empty": harmless(ErrorFrame([{}]), "invalid", "unknown"),
    # 5.3: HTTP statuses
    "HTTP 204": same(HttpStatus(204), "unknown"),
    "HTTP 301": same(HttpStatus(301), "unreachable"),
    "HTTP 302": same(HttpStatus(302), "unreachable"),
    "HTTP 303": harmless(HttpStatus(303), "unreachable", "unknown"),
    "HTTP 307": same(HttpStatus(307), "unreachable"),
    "HTTP 308": same(HttpStatus(308), "unreachable"),
    "HTTP 400": same(HttpStatus(400, errors=[extended("GRAPHQL_VALIDATION_FAILED")]), "invalid"),
    "HTTP 401": same(HttpStatus(401), "credential"),
    "HTTP 403": same(HttpStatus(403), "unreachable"),
    "HTTP 404": same(HttpStatus(404), "unreachable"),
    "HTTP 405": same(HttpStatus(405), "unreachable"),
    "HTTP 409": same(HttpStatus(409), "unknown"),
    "HTTP 413": same(HttpStatus(413), "invalid"),
    "HTTP 415": same(HttpStatus(415), "invalid"),
    "HTTP 429": same(HttpStatus(429), "throttled"),
    "HTTP 429, a page": same(HttpStatus(429, timedelta(seconds=5), [error("slow down")]), "throttled"),
    "HTTP 429, Flash's own code": same(HttpStatus(429, errors=[error("x", "TOO_MANY_REQUEST")]), "later"),
    "HTTP 500": same(HttpStatus(500, errors=[error("boom")]), "unknown"),
    "HTTP 502": same(HttpStatus(502), "unknown"),
    "HTTP 503": same(HttpStatus(503), "unknown"),
    "HTTP 504": same(HttpStatus(504), "unknown"),
    # 5.1: answers
    "no data and no errors": same(Answer(None), "unknown"),
    "top-level: subscriptions only": same(top(error(DECLINED)), "declined"),
    "top-level: no code": harmless(top(error("boom")), "refused", "unknown, it says"),
    "top-level: no message": harmless(top({}), "refused", "unknown, it says"),
    "top-level: Not authorized, code dropped": same(top(error("Not authorized")), "credential"),
    "top-level: Not authenticated, code dropped": same(top(error("Not Authenticated for this")), "credential"),
    "top-level: rate limit, code dropped": same(top(error("Too many invoices creation, wait")), "later"),
    "top-level: API key rate limit": same(top(error("API key rate limit exceeded")), "later"),
    "top-level: invalid, in words that nobody knows": harmless(
        top(error("Nein", locations=[{}])), "refused", "invalid"
    ),
    "top-level: unknown field": same(top(error('Cannot query field "x" on type "Y".')), "invalid"),
    "top-level: unknown variable": same(top(error('Variable "$input" got invalid value')), "invalid"),
    "top-level: scope missing": same(
        top(extended("INTERNAL_SERVER_ERROR", "API key missing required scope: write:wallet")), "refused"
    ),
    "top-level: scope forbidden": same(
        top(extended("INTERNAL_SERVER_ERROR", "API keys cannot access this")), "refused"
    ),
    "top-level: with data for another field": harmless(
        Answer({"other": {}}, [error("boom")]), "refused", "unknown, it says"
    ),
    "errors beside the payload": same(Answer({FIELD: {"status": "SUCCESS"}}, [error("of another field")]), "done"),
    # 3.7: payments
    "SUCCESS": same(payload(status="SUCCESS", errors=[]), "done"),
    "SUCCESS without errors": same(payload(status="SUCCESS"), "done"),
    "SUCCESS with errors": harmless(payload(status="SUCCESS", errors=[error("boom")]), "refused", "unknown, it says"),
    "PENDING": harmless(payload(status="PENDING", errors=[]), "done", "unknown, it says"),
    "FAILURE without errors": harmless(payload(status="FAILURE", errors=[]), "done", "failed"),
    "FAILURE, insufficient balance": same(
        payload(status="FAILURE", errors=[error("x", "INSUFFICIENT_BALANCE")]), "refused"
    ),
    "FAILURE, no code": harmless(payload(status="FAILURE", errors=[error(GENERIC)]), "refused", "unknown, it says"),
    "FAILURE, lock busy": harmless(
        payload(
            status="FAILURE",
            errors=[error("(code: ResourceAttemptsLockServiceError)", "UNEXPECTED_CLIENT_ERROR")],
        ),
        "refused",
        "unknown, it says",
    ),
    "FAILURE, lock lost": harmless(
        payload(
            status="FAILURE",
            errors=[error("x" * 999 + "ResourceExpiredLockServiceError", "UNEXPECTED_CLIENT_ERROR")],
        ),
        "refused",
        "unknown, it says",
    ),
    "FAILURE, other unexpected client error": same(
        payload(status="FAILURE", errors=[error("(code: BigIntConversionError)", "UNEXPECTED_CLIENT_ERROR")]),
        "refused",
    ),
    "FAILURE, key reused": same(payload(status="FAILURE", errors=[error("key", "INVALID_INPUT")]), "refused"),
    "FAILURE, paid already": harmless(
        payload(status="FAILURE", errors=[error("Invoice is already paid", "LIGHTNING_PAYMENT_ERROR")]),
        "refused",
        "unknown, it says",
    ),
    "no status, another's wallet": same(
        payload(status=None, errors=[error(f"{OWNERSHIP} (code: InvalidWalletForAccountError: Unknown error)")]),
        "refused",
    ),
    "moving": harmless(payload(status="FAILURE", errors=[error(MOVING, "INVALID_INPUT")]), "not now", "refused"),
    "no status, scalar refused": same(payload(status=None, errors=[error("Invalid value for WalletId")]), "refused"),
    "no status, code": harmless(payload(status=None, errors=[error("x", "IBEX_ERROR")]), "not now", "unknown, it says"),
    "no status, generic words": harmless(payload(status=None, errors=[error(GENERIC)]), "refused", "unknown, it says"),
    "no status, odd errors": harmless(payload(status=None, errors="boom"), "refused", "unknown, it says"),
    "no status, no errors": harmless(payload(status=None, errors=[]), "done", "unknown, it says"),
    "ALREADY_PAID": harmless(payload(status="ALREADY_PAID", errors=[]), "done", "unknown, it says"),
    "a status of tomorrow": harmless(payload(status="QUEUED", errors=[]), "done", "unknown, it says"),
    "a status that is no word": harmless(payload(status=7, errors=[]), "done", "unknown, it says"),
    "a null payload": harmless(Answer({FIELD: None}), "done", "unknown, it says"),
    "no payload": harmless(Answer({}), "done", "unknown, it says"),
    "a payload that is a list": harmless(Answer({FIELD: [1]}), "done", "unknown, it says"),
    # odd errors never count as none
    "payload errors: a text": harmless(payload(errors="boom"), "refused", "unknown, it says"),
    "payload errors: a number": harmless(payload(errors=5), "refused", "unknown, it says"),
    "payload errors: nulls": harmless(payload(errors=[None]), "refused", "unknown, it says"),
    "payload errors: odd code": harmless(payload(errors=[error("x", 5)]), "refused", "unknown, it says"),
    "payload errors: one object": same(payload(errors=error("x", "NOT_AUTHORIZED")), "credential"),
    **{
        f"top-level {code}": harmless(top({**extended(code), "path": [FIELD]}), *meaning)
        for code, meaning in CODES.items()
    },
    **{
        f"top-level {code}, no extensions": harmless(top(error("no", code, path=[FIELD])), *meaning)
        for code, meaning in CODES.items()
    },
    **{
        f"top-level {code}, of no field": harmless(top(extended(code)), meaning[0], "unknown, it says")
        for code, meaning in CODES.items()
        if meaning[1] == "refused"
    },
    # 5.1: answers with holes
    "a leaf is missing": harmless(
        Answer({FIELD: {"transactions": None}}, [error("API key missing required scope: x", path=[FIELD, "t"])]),
        "refused",
        "unknown, it says",
    ),
    "a leaf is missing for now": harmless(
        Answer({FIELD: {"wallets": None}}, [error(MOVING, "INVALID_INPUT", path=[FIELD, "wallets"])]),
        "not now",
        "unknown, it says",
    ),
    "one row of many is incomplete": harmless(
        Answer({FIELD: {"wallets": [{}, {}]}}, [error("x", "IBEX_ERROR", path=[FIELD, "wallets", 1, "balance"])]),
        "done",
        "unknown, it says",
    ),
    **{f"payload {code}": harmless(payload(errors=[error("no", code)]), *meaning) for code, meaning in CODES.items()},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_table(row: Row) -> None:
    """Each row means exactly this for a question, a new invoice and a payment."""
    meant = [short(classify(document(kind), row.seen)) for kind in (Kind.ASK, Kind.CREATE, Kind.SEND)]
    assert meant == [row.ask, row.create, row.send]


def test_several_fields_are_complete_when_there_is_data() -> None:
    """Without a field of its own a document is done when data came, whatever errors stand beside it."""
    assert classify(document(Kind.ASK, None), Answer({"a": None}, [error()])) == Completed({"a": None})
    assert classify(document(Kind.ASK, None), top(error("boom"))) == Refused("boom")


def test_payment_without_a_field_is_never_done() -> None:
    """A payment whose payload can't be found is unknown."""
    assert short(classify(document(Kind.SEND, None), Answer({"x": {"status": "SUCCESS"}}))) == "unknown, it says"


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        (payload(status="PENDING"), True),
        (payload(status="ALREADY_PAID"), True),
        (payload(status="QUEUED"), True),
        (Answer({FIELD: None}), False),
        (payload(status="SUCCESS", errors=[error("boom")]), False),
        (
            payload(status="FAILURE", errors=[error("ResourceAttemptsLockServiceError", "UNEXPECTED_CLIENT_ERROR")]),
            True,
        ),
        (
            payload(status="FAILURE", errors=[error("ResourceExpiredLockServiceError", "UNEXPECTED_CLIENT_ERROR")]),
            False,
        ),
        (payload(status="FAILURE", errors=[error(GENERIC)]), False),
        (top(extended("IBEX_ERROR")), False),
        (TimedOut(), False),
    ],
)
def test_what_the_server_keeps_under_a_key(seen: Evidence, *, kept: bool) -> None:
    """Only a status, or a lock that another sending holds, leaves something that the same key brings out again."""
    outcome = classify(document(Kind.SEND), seen)
    assert isinstance(outcome, Unknown)
    assert outcome.kept is kept


def test_words_and_code_are_kept() -> None:
    """A refusal hands on the server's words and code."""
    seen = payload(status="FAILURE", errors=[error("too little", "INSUFFICIENT_BALANCE"), error("second")])
    assert classify(document(Kind.SEND), seen) == Refused("too little", "INSUFFICIENT_BALANCE")


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        (HttpStatus(429, timedelta(seconds=7), [error("x", "TOO_MANY_REQUEST")]), 300),
        (top(error("x", "TOO_MANY_REQUEST")), 300),
        (top(extended("TOO_MANY_REQUESTS", retryAfterSeconds=0)), 0),
        (top(extended("TOO_MANY_REQUESTS", retryAfterSeconds=42)), 42),
        (top(extended("TOO_MANY_REQUESTS", retryAfterSeconds=10**30)), 86_400),
        (top(extended("TOO_MANY_REQUESTS", retryAfterSeconds=-1)), 300),
        (top(extended("TOO_MANY_REQUESTS", retryAfterSeconds=True)), 300),
        (top(extended("TOO_MANY_REQUESTS", retryAfterSeconds="soon")), 300),
        (top(None, extended("TOO_MANY_REQUESTS", retryAfterSeconds=9)), 9),
    ],
)
def test_rate_limit_says_when_to_come_back(seen: Evidence, seconds: int) -> None:
    """A rate limit carries the server's waiting time, else the five minutes of its block; never an absurd one."""
    outcome = classify(document(Kind.CREATE), seen)
    assert isinstance(outcome, Refused)
    assert outcome.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize("place", ["Bearer {}", "token {} is bad", "authorization: bearer {}", "({})"])
def test_what_looks_like_a_credential_is_masked(place: str) -> None:
    """A server that repeats the token in its message does not get it into errors and logs."""
    for token in ("ory_st_Zv3rYs3cr3tT0k3n", "fk_0123abcd_Zv3rYs3cr3t"):
        words, code = describe([error(place.format(token), place.format(token))])
        assert "Zv3rYs3cr3t" not in words
        assert "Zv3rYs3cr3t" not in str(code)


def test_bearer_of_any_kind_is_masked() -> None:
    """Also a token of an unknown kind is masked where the word Bearer stands before it."""
    assert describe([error("sent Bearer abc.def!")])[0] == "sent Bearer ***"
    assert describe([error("token eyJhbGciOi.SECRET.sig lacks scope")])[0] == "token eyJ*** lacks scope"
    assert describe([error("session 0aF3kLq9ZxW2vB7nM4tR8yPc is over")])[0] == "session *** is over"
    assert describe([error("ResourceAttemptsLockServiceError")])[0] == "ResourceAttemptsLockServiceError"


def test_words_are_one_line_of_limited_length() -> None:
    """A server's message can neither break the log into lines nor fill it."""
    words, code = describe([error("a\nb\r\n\t c" + "x" * 10_000, "C" * 10_000)])
    assert words.startswith("a b cxxx")
    assert len(words) == 500
    assert len(code or "") == 64


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errors", "message", "code", "extensions", "status", "path", FIELD]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(Kind), JSON)
def test_any_reply_has_an_outcome(kind: Kind, reply: Any) -> None:
    """Whatever JSON a server makes up, classifying it raises nothing, and only a clear word settles a payment."""
    body = reply if isinstance(reply, dict) else {FIELD: reply}
    errors = body.get("errors")
    rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
    for seen in (Answer(body, rows), Answer(None, rows), ErrorFrame(rows or [{}]), HttpStatus(500, errors=rows)):
        outcome = classify(document(kind), seen)
        if kind is Kind.SEND and isinstance(outcome, Completed):
            assert body[FIELD]["status"] == "SUCCESS"
            assert not body[FIELD].get("errors")
