from __future__ import annotations

import pytest

from flash_driver.doctor.advice import handshake_advice, in_words, route_advice
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import ME
from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Completed,
    Evidence,
    Garbage,
    HttpStatus,
    NotConnected,
    NotExecuted,
    Refused,
    TimedOut,
    Unknown,
)
from flash_driver.settings.values import TokenKind

NOT_AUTHORIZED = Answer(None, [{"message": "Not authorized", "code": "NOT_AUTHORIZED"}])


@pytest.mark.parametrize(
    ("kind", "evidence", "advice"),
    [
        (TokenKind.SESSION, HttpStatus(401), "HTTP takes no session token here"),
        (TokenKind.SESSION, NOT_AUTHORIZED, "HTTP takes no session token here"),
        (TokenKind.API_KEY, HttpStatus(401), "make a new one in the Flash app"),
        (TokenKind.BEARER, NOT_AUTHORIZED, "make a new one in the Flash app"),
        (TokenKind.SESSION, HttpStatus(302), "final address into server="),
        (TokenKind.SESSION, HttpStatus(404), "check host and path"),
        (TokenKind.SESSION, HttpStatus(429), "a gateway in front of Flash: wait a minute"),
        (TokenKind.SESSION, HttpStatus(429, errors=[{"message": "x", "code": "TOO_MANY_REQUESTS"}]), "five minutes"),
        (TokenKind.SESSION, HttpStatus(502), "trouble of its own"),
        (TokenKind.SESSION, Garbage("html"), "check host and path"),
        (TokenKind.SESSION, TimedOut(), "too slow"),
        (TokenKind.SESSION, NotConnected("x", Cause.SLOW), "too slow"),
        (TokenKind.SESSION, NotConnected("x"), "see the rows TCP and TLS"),
        (
            TokenKind.SESSION,
            Answer(None, [{"message": "x", "extensions": {"code": "TOO_MANY_REQUESTS"}}]),
            "too many requests",
        ),
        (TokenKind.SESSION, Answer(None, [{"message": "x", "code": "ODD"}]), "in these words"),
    ],
)
def test_each_trouble_of_a_route_has_its_advice(kind: TokenKind, evidence: Evidence, advice: str) -> None:
    """What was seen, and the kind of token, decide what to do."""
    assert advice in route_advice(kind, evidence, classify(ME, evidence))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "refuses the token"),
        (403, "a 403 comes from a firewall"),
        (429, "a gateway in front of Flash: wait a minute"),
        (301, "final address into websocket="),
        (404, "check host and path"),
        (503, "try again in a few minutes"),
    ],
)
def test_each_status_of_a_handshake_has_its_advice(status: int, advice: str) -> None:
    """The status decides what to do."""
    assert advice in handshake_advice(status)


def test_each_outcome_has_words() -> None:
    """Whatever became of a question can be told in a few words."""
    assert in_words(Refused("no")) == "no"
    assert in_words(NotExecuted("not sent")) == "not sent"
    assert in_words(Unknown("lost")) == "lost"
    assert in_words(Completed({})) == "an answer that makes no sense"
