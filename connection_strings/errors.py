"""What can go wrong between a host and a Lightning driver.

::

    LightningError
     ├── ConnectionStringError (ValueError)     the text can't be used: names the key, says what to do
     │    └── UnknownConnectionType             no installed driver answers to this `type`
     ├── InvalidRequest (ValueError)            the host asked for something malformed: names the field
     ├── NotSupported                           this backend can't do it, now or ever
     ├── CredentialRejected                     the backend refuses the token or key
     ├── RequestRefused                         the backend considered the request and said no
     │    └── RateLimited                       ... for now: says when to come back
     ├── AmountMismatch                         the invoice asked for can't be had: says what could be
     ├── InvalidReply                           the backend answered something that must not be handed out
     └── BackendUnavailable                     no way to the backend worked: names each way and its reason

No message holds a secret, and none shows a value from a connection string.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from connection_strings.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

__all__ = [
    "AmountMismatch",
    "BackendUnavailable",
    "ConnectionStringError",
    "CredentialRejected",
    "InvalidReply",
    "InvalidRequest",
    "LightningError",
    "NotSupported",
    "RateLimited",
    "RequestRefused",
    "UnknownConnectionType",
]


class LightningError(Exception):
    """Base of every error that a driver raises on purpose; each can be pickled, to cross from process to process."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[LightningError], args: tuple[object, ...], facts: dict[str, object]) -> LightningError:
    """Make an error again from what it knows, without calling its constructor."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error


class ConnectionStringError(LightningError, ValueError):
    """The connection string can't be used.

    Attributes:
        reason: One sentence without any value of the string.
        key: The key at fault, lower case, or None when no single key is.
        position: Zero-based offset in the text where the trouble starts, or None.

    """

    def __init__(self, reason: str, *, key: str | None = None, position: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.key = key
        self.position = position

    def __str__(self) -> str:
        where = "" if self.position is None else f" (at character {self.position + 1})"
        return f"{self.reason}{where}"


class UnknownConnectionType(ConnectionStringError):
    """No installed driver answers to the string's `type`.

    Attributes:
        type: The type asked for, lower case.
        installed: The types that have a driver, sorted.

    """

    def __init__(self, type: str, installed: Sequence[str]) -> None:  # noqa: A002 - the field's own name in the string
        self.type = type
        self.installed = tuple(sorted(installed))
        known = ", ".join(self.installed) or "none"
        hint = did_you_mean(type, self.installed)
        super().__init__(f"type={type} has no driver installed; installed: {known}{hint}", key="type")


class InvalidRequest(LightningError, ValueError):
    """The host asked for something malformed; nothing was sent.

    Attributes:
        field: The parameter at fault, as the public method spells it.
        reason: What is wrong with it and what would be right.

    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NotSupported(LightningError):
    """This backend can't do what was asked, now or ever."""


class CredentialRejected(LightningError):
    """The backend refuses the token or key; a person has to renew it."""


class RequestRefused(LightningError):
    """The backend considered the request and said no.

    Attributes:
        words: The backend's own message.
        code: The backend's error code, or None when it gave none.

    """

    def __init__(self, words: str, *, code: str | None = None) -> None:
        super().__init__(words if code is None else f"{words} ({code})")
        self.words = words
        self.code = code


class RateLimited(RequestRefused):
    """Too many requests: nothing was carried out, come back later.

    Attributes:
        retry_after: How long to wait before the next request.
        blocked: Whether the backend itself takes no more requests until then; else it is a limit of the driver's own,
            which keeps clear of that.

    """

    def __init__(self, words: str, *, retry_after: timedelta, code: str | None = None, blocked: bool = False) -> None:
        super().__init__(words, code=code)
        self.retry_after = retry_after
        self.blocked = blocked

    def __str__(self) -> str:
        return f"{super().__str__()}; retry after {ceil(self.retry_after.total_seconds())} s"


class AmountMismatch(LightningError):
    """The backend can't make an invoice over the amount asked for.

    Attributes:
        asked_msat: The amount asked for, in millisatoshi.
        available_msat: The amounts of the invoices that it did make, in millisatoshi.

    """

    def __init__(self, asked_msat: int, available_msat: Sequence[int]) -> None:
        could = ", ".join(f"{amount} msat" for amount in available_msat) or "nothing"
        super().__init__(f"asked for {asked_msat} msat, could have had: {could}")
        self.asked_msat = asked_msat
        self.available_msat = tuple(available_msat)


class InvalidReply(LightningError):
    """The backend answered something that must not be handed out."""


class BackendUnavailable(LightningError):
    """No way to the backend worked; whether it carried the request out is said by `executed`.

    Attributes:
        reasons: Each way that was tried -> why it did not work, in the order tried.
        executed: False when the request was certainly not carried out, None when that can't be known.

    """

    def __init__(self, doing: str, reasons: Mapping[str, str], *, executed: bool | None = False) -> None:
        self.reasons = dict(reasons)
        self.executed = executed
        listed = "; ".join(f"{way}: {why}" for way, why in self.reasons.items()) or "no way is configured"
        unknown = "" if executed is False else " (it may have been carried out)"
        super().__init__(f"{doing} failed on every way to the backend{unknown}: {listed}")
