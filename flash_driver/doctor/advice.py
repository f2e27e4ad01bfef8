"""What a merchant can do about what went wrong: tables of advice, without any I/O."""

from __future__ import annotations

from typing import Final

from flash_driver.flash_api.outcomes import (
    Answer,
    Cause,
    Completed,
    ErrorFrame,
    Evidence,
    Garbage,
    HttpStatus,
    NotConnected,
    NotExecuted,
    Outcome,
    Refused,
    TimedOut,
    Unknown,
)
from flash_driver.settings.values import TokenKind
from flash_driver.transports.delivery import LOG_IN_AGAIN

__all__ = ["CLOSE_ADVICE", "PATH", "handshake_advice", "in_words", "route_advice"]

PATH: Final = (
    "something else than Flash's GraphQL answers there: check host and path of server= (Flash's path is /graphql), and "
    "websocket= if it is set"
)
_FIREWALL: Final = (
    "Flash refuses a token with 401; a 403 comes from a firewall or content network on the way: try from another "
    "network, and tell the server's operator"
)
_GATEWAY: Final = "for a gateway in front of Flash: wait a minute; Flash's own limits come with a code of theirs"
_WAIT: Final = "the server has trouble of its own: try again in a few minutes, then tell its operator"

CLOSE_ADVICE: Final = {
    4400: PATH,
    4401: LOG_IN_AGAIN,
    4403: LOG_IN_AGAIN,
    4406: PATH,
    4408: "the connection is very slow: check this machine's network",
    4429: _WAIT,
    4500: f"the server knows the session but finds no account for it: {LOG_IN_AGAIN}",
    1011: _WAIT,
    1012: _WAIT,
    1013: _WAIT,
}
"""By the code with which a server closes before it acknowledges (flash-server.md 1.2, 1.3)."""


def handshake_advice(status: int) -> str:
    """Say what to do about an HTTP status that answers the handshake."""
    if status == 403:
        return _FIREWALL
    if status == 401:
        return f"the server refuses the token before it opens the socket: {LOG_IN_AGAIN}"
    if status == 429:
        return f"too many connections {_GATEWAY}"
    if 300 <= status < 400:
        return "the server sends elsewhere, which is not followed with a token: write the final address into websocket="
    return _WAIT if status >= 500 else PATH


def route_advice(kind: TokenKind, evidence: Evidence, outcome: Outcome) -> str:
    """Say what to do about a question over HTTP that did not go through."""
    match evidence:
        case HttpStatus(status=401) | Answer() if _refuses_credential(outcome):
            if kind is TokenKind.SESSION:
                return (
                    f"HTTP takes no session token here, or no longer this one; if the row `token` fails, {LOG_IN_AGAIN}"
                )
            return (
                "the token is refused: make a new one in the Flash app, with the scopes read:user, write:wallet and "
                "read:transactions"
            )
        case Answer() | ErrorFrame() | HttpStatus() if isinstance(outcome, Refused) and outcome.retry_after is not None:
            return "too many requests: wait five minutes; another program may be using the same account"
        case HttpStatus(status=429) if isinstance(outcome, NotExecuted):
            return f"too many requests {_GATEWAY}"
        case HttpStatus(status=status) if 300 <= status < 400:
            return (
                "the server sends elsewhere, which is not followed with a token: write the final address into server="
            )
        case HttpStatus(status=status) if status == 403 or status >= 500:
            return _FIREWALL if status == 403 else _WAIT
        case HttpStatus() | Garbage():
            return PATH
        case TimedOut() | NotConnected(cause=Cause.SLOW):
            return "the server is too slow to be of use now: try again in a few minutes"
        case NotConnected():
            return "no connection: see the rows TCP and TLS"
        case _:
            return "the server answers in these words; if they don't help, tell its operator"


def in_words(outcome: Outcome) -> str:
    """Say in a few words what became of a question."""
    match outcome:
        case Completed():
            return "an answer that makes no sense"
        case Refused(words):
            return words
        case NotExecuted(reason) | Unknown(reason):
            return reason


def _refuses_credential(outcome: Outcome) -> bool:
    return isinstance(outcome, NotExecuted) and outcome.cause is Cause.CREDENTIAL
