"""What became of an operation, and what the host gets of it: data, or the error that says why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connection_strings.errors import BackendUnavailable, CredentialRejected, RateLimited, RequestRefused
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Delivery"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an operation, and where.

    Attributes:
        outcome: The verdict: of the transport that answered, or of all together.
        transport: The transport that gave it.
        reasons: Each transport that did not do, and why, in the order tried.
        causes: The kinds of trouble met on the way.
        harmless: Whether it was a question: one that was lost has changed nothing.

    """

    outcome: Outcome
    transport: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    causes: frozenset[Cause] = frozenset()
    harmless: bool = False

    def data(self, doing: str) -> Mapping[str, Any]:
        """Return the data that the server answered with.

        Args:
            doing: What it was for, such as `creating the invoice`.

        Raises:
            RateLimited: The server takes no more for now.
            RequestRefused: The server said no.
            CredentialRejected: Every way ended with the token being refused.
            BackendUnavailable: No way worked.

        """
        outcome = self.outcome
        match outcome:
            case Completed(data):
                return data
            case Refused(words, code, retry_after) if retry_after is not None:
                raise RateLimited(words, retry_after=retry_after, code=code)
            case Refused(words, code):
                raise RequestRefused(words, code=code)
            case NotExecuted() if self.causes == {Cause.CREDENTIAL}:
                tried = "; ".join(f"{shown(name)}: {why}" for name, why in self.reasons.items())
                raise CredentialRejected(
                    f"{doing} failed: the server refuses the token, log in to Flash again ({tried})"
                )
            case NotExecuted() | Unknown():
                executed = None if isinstance(outcome, Unknown) and not self.harmless else False
                raise BackendUnavailable(doing, self.reasons or {self.transport: outcome.reason}, executed=executed)
