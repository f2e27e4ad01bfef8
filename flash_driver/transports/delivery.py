"""What became of an operation, and what the host gets of it: data, or the error that says why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings.errors import (
    BackendUnavailable,
    CredentialRejected,
    NotSupported,
    RateLimited,
    RequestRefused,
)
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.flash_api.documents import Document

__all__ = ["LOG_IN_AGAIN", "MAKE_AN_API_KEY", "NO_OPINION", "Delivery", "TemporarilyRefused"]

LOG_IN_AGAIN: Final = "log in to Flash again (flash-driver login), and put the new token into the connection string"
"""What to do where the token is refused."""

MAKE_AN_API_KEY: Final = (
    "this server takes the token on the socket only, where it executes nothing: make an API key (fk_...) in the Flash "
    "app, with the scopes read:user, write:wallet and read:transactions, and use it as the token"
)
"""What to do where the one way that takes the token can't carry a request."""

NO_OPINION: Final = frozenset({Cause.DECLINED, Cause.CLOSED, Cause.UNSUITED})
"""What a way may come to that says nothing of the token."""

_BRIEFLY: Final = timedelta(seconds=1)


class TemporarilyRefused(BackendUnavailable):
    """The server was reached and has trouble with this one request: the same may succeed in a moment.

    Attributes:
        words: The server's own message.
        code: The server's error code, None when it gave none.

    """

    def __init__(self, doing: str, transport: str, refusal: Refused, *, executed: bool | None) -> None:
        self.words, self.code = refusal.words, refusal.code
        said = refusal.words if refusal.code is None else f"{refusal.words} ({refusal.code})"
        super().__init__(doing, {transport: said}, executed=executed)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an operation, and where.

    Attributes:
        outcome: The verdict: of the transport that answered, or of all together.
        transport: The transport that gave it.
        reasons: Each transport that did not do, and why, in the order tried.
        causes: The kinds of trouble met on the way.
        harmless: Whether it was a question: one that was lost has changed nothing.
        retry_after: How soon a way that took no more may be tried again.
        rejected: Whether nothing worked because the token is dead.
        document: What the server counted the last request as.

    """

    outcome: Outcome
    transport: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    causes: frozenset[Cause] = frozenset()
    harmless: bool = False
    retry_after: timedelta | None = None
    rejected: bool = False
    document: Document | None = None

    @property
    def _tried(self) -> str:
        return "; ".join(f"{shown(name)}: {why}" for name, why in self.reasons.items())

    def data(self, doing: str) -> Mapping[str, Any]:
        """Return the data that the server answered with.

        Args:
            doing: What it was for, such as `creating the invoice`.

        Raises:
            RateLimited: The server, or a gateway before it, takes no more for now.
            RequestRefused: The server said no.
            TemporarilyRefused: The server has trouble with this request now.
            CredentialRejected: The token is dead.
            NotSupported: The one way that takes the token can't carry such a request.
            BackendUnavailable: No way worked.

        """
        outcome = self.outcome
        match outcome:
            case Completed(data):
                return data
            case Refused(words, code, retry_after) if retry_after is not None:
                raise RateLimited(words, retry_after=retry_after, code=code)
            case Refused(temporary=True):
                executed = False if self.harmless else None
                raise TemporarilyRefused(doing, self.transport, outcome, executed=executed)
            case Refused(words, code):
                raise RequestRefused(words, code=code)
            case NotExecuted() if self.rejected:
                raise CredentialRejected(
                    f"{doing} failed: the server refuses the token; {LOG_IN_AGAIN} ({self._tried})"
                )
            case NotExecuted() if Cause.UNSUITED in self.causes and self.causes <= {Cause.CREDENTIAL, *NO_OPINION}:
                raise NotSupported(f"{doing} is not possible: {MAKE_AN_API_KEY} ({self._tried})")
            case NotExecuted() if self.causes & {Cause.THROTTLED, Cause.HELD}:
                raise RateLimited(f"{doing} failed ({self._tried})", retry_after=self.retry_after or _BRIEFLY)
            case NotExecuted() | Unknown():
                executed = None if isinstance(outcome, Unknown) and not self.harmless else False
                raise BackendUnavailable(doing, self.reasons or {self.transport: outcome.reason}, executed=executed)
