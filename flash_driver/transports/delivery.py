"""From what became of a request to what the host gets: data, or the error that says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connection_strings.errors import BackendUnavailable, CredentialRejected, RateLimited, RequestRefused
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Refused, Unknown
from flash_driver.transports.call_log import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.transports.router import Delivery

__all__ = ["data_of"]


def data_of(delivery: Delivery, doing: str) -> Mapping[str, Any]:
    """Return the data that the server answered with.

    Args:
        delivery: What became of the request.
        doing: What it was for, such as `creating the invoice`.

    Raises:
        RateLimited: The server takes no more for now.
        RequestRefused: The server said no.
        CredentialRejected: Every way ended with the token being refused.
        BackendUnavailable: No way worked.

    """
    outcome = delivery.outcome
    match outcome:
        case Completed(data):
            return data
        case Refused(words, code, retry_after) if retry_after is not None:
            raise RateLimited(words, retry_after=retry_after, code=code)
        case Refused(words, code):
            raise RequestRefused(words, code=code)
        case NotExecuted() if delivery.causes == {Cause.CREDENTIAL}:
            tried = "; ".join(f"{shown(name)}: {why}" for name, why in delivery.reasons.items())
            raise CredentialRejected(f"{doing} failed: the server refuses the token, log in to Flash again ({tried})")
        case NotExecuted() | Unknown():
            executed = None if isinstance(outcome, Unknown) and not delivery.harmless else False
            raise BackendUnavailable(doing, delivery.reasons or {delivery.transport: outcome.reason}, executed=executed)
