"""What became of an operation, and what the host gets of it: data, or the error that says why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from connection_strings.errors import BackendUnavailable, CredentialRejected, RateLimited, RequestRefused
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Delivery", "TemporarilyRefused"]

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

    """

    outcome: Outcome
    transport: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    causes: frozenset[Cause] = frozenset()
    harmless: bool = False
    retry_after: timedelta | None = None

    def data(self, doing: str) -> Mapping[str, Any]:
        """Return the data that the server answered with.

        Args:
            doing: What it was for, such as `creating the invoice`.

        Raises:
            RateLimited: The server, or a gateway before it, takes no more for now.
            RequestRefused: The server said no.
            TemporarilyRefused: The server has trouble with this request now.
            CredentialRejected: Every way ended with the token being refused.
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
            case NotExecuted() if self.causes == {Cause.CREDENTIAL}:
                tried = "; ".join(f"{shown(name)}: {why}" for name, why in self.reasons.items())
                raise CredentialRejected(
                    f"{doing} failed: the server refuses the token, log in to Flash again ({tried})"
                )
            case NotExecuted() if Cause.THROTTLED in self.causes:
                tried = "; ".join(f"{shown(name)}: {why}" for name, why in self.reasons.items())
                raise RateLimited(f"{doing} failed ({tried})", retry_after=self.retry_after or _BRIEFLY)
            case NotExecuted() | Unknown():
                executed = None if isinstance(outcome, Unknown) and not self.harmless else False
                raise BackendUnavailable(doing, self.reasons or {self.transport: outcome.reason}, executed=executed)
