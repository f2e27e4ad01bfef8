"""How a command ends: the exit statuses, and one line for whatever went wrong.

======  ==================================================================
status  means
======  ==================================================================
0       it worked
1       it did not work; for `doctor`: this server is of no use as it is
2       the command or the connection string is not right
3       what became of a payment is not known: do not pay again
130     interrupted (Ctrl-C)
141     the reader of the output went away
======  ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import typer

from connection_strings.errors import (
    AmountMismatch,
    BackendUnavailable,
    ConnectionStringError,
    CredentialRejected,
    InvalidReply,
    InvalidRequest,
    LightningError,
    NotSupported,
    RateLimited,
    RequestRefused,
    UnknownConnectionType,
)
from flash_driver.cli.usage import usage_words
from flash_driver.common.masking import mask_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BadUsage", "CommandFailed", "Exit", "Failure", "explain"]


class Exit(IntEnum):
    """The exit statuses."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    PAYMENT_UNKNOWN = 3
    INTERRUPTED = 130
    BROKEN_PIPE = 141


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command did not work.

    Attributes:
        status: The exit status.
        kind: What sort of trouble it is, for programs.
        message: One line for a person.
        facts: What else a program may want to know.

    """

    status: Exit
    kind: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class CommandFailed(Exception):
    """A command could not do what it was asked for.

    Attributes:
        failure: What to tell.

    """

    def __init__(
        self, kind: str, message: str, facts: Mapping[str, Any] | None = None, *, status: Exit = Exit.FAILURE
    ) -> None:
        super().__init__(message)
        self.failure = Failure(status, kind, message, facts or {})


class BadUsage(CommandFailed):
    """The arguments of a command make no sense."""

    def __init__(self, message: str, *, kind: str = "usage") -> None:
        super().__init__(kind, message, status=Exit.USAGE)


_KINDS: Final[tuple[tuple[type[LightningError], str, Exit], ...]] = (
    (UnknownConnectionType, "unknown-connection-type", Exit.USAGE),
    (ConnectionStringError, "connection-string", Exit.USAGE),
    (InvalidRequest, "invalid-request", Exit.USAGE),
    (NotSupported, "not-supported", Exit.FAILURE),
    (CredentialRejected, "credential-rejected", Exit.FAILURE),
    (RateLimited, "rate-limited", Exit.FAILURE),
    (RequestRefused, "refused", Exit.FAILURE),
    (AmountMismatch, "amount-mismatch", Exit.FAILURE),
    (InvalidReply, "invalid-reply", Exit.FAILURE),
    (BackendUnavailable, "unavailable", Exit.FAILURE),
    (LightningError, "failed", Exit.FAILURE),
)
_EXTRAS: Final = {"strawberry": "sandbox", "graphql": "sandbox"}


def explain(error: BaseException) -> Failure:
    """Say what an error means for the user of a command; shows no token."""
    match error:
        case CommandFailed():
            failure = error.failure
        case LightningError():
            kind, status = next(row[1:] for row in _KINDS if isinstance(error, row[0]))
            failure = Failure(status, kind, _words(error), _facts(error))
        case KeyboardInterrupt() | EOFError() | typer.Abort():
            failure = Failure(Exit.INTERRUPTED, "interrupted", "interrupted")
        case ModuleNotFoundError(name=str(missing)) if missing.partition(".")[0] in _EXTRAS:
            extra = _EXTRAS[missing.partition(".")[0]]
            words = f"this command needs the extra '{extra}': pip install '.[{extra}]' in the project's folder"
            failure = Failure(Exit.FAILURE, "missing-extra", words)
        case _ if hasattr(error, "format_message"):
            failure = Failure(Exit.USAGE, "usage", usage_words(error))
        case _:
            # Its words are not shown: nobody knows what they quote.
            words = f"unexpected {type(error).__name__}; --verbose shows where it comes from"
            failure = Failure(Exit.FAILURE, "internal", words)
    return Failure(failure.status, failure.kind, mask_tokens(failure.message), failure.facts)


def _words(error: LightningError) -> str:
    """Return an error's words; those about a part of what was asked for say which part."""
    match error:
        case InvalidRequest(field=field):
            return f"{field} {error.reason}"
        case ConnectionStringError():
            return f"connection string: {error}"
        case _:
            return str(error)


def _facts(error: LightningError) -> dict[str, Any]:
    match error:
        case RateLimited():
            return {"code": error.code, "retry_after_seconds": ceil(error.retry_after.total_seconds())}
        case RequestRefused():
            return {"code": error.code}
        case ConnectionStringError(key=str(key)):
            return {"key": key}
        case InvalidRequest():
            return {"field": error.field}
        case AmountMismatch():
            return {"asked_msat": error.asked_msat, "available_msat": list(error.available_msat)}
        case BackendUnavailable():
            return {"reasons": dict(error.reasons), "executed": error.executed}
        case _:
            return {}
