"""How the sandbox says no, in Flash's words and codes (flash-server.md 5)."""

from __future__ import annotations

__all__ = [
    "DecodeError",
    "InsufficientBalance",
    "InvalidInput",
    "Refused",
    "UncodedRefusal",
    "custodian_error",
    "unexpected",
    "unexpected_error",
]


class Refused(Exception):
    """The server considered a request and said no.

    Attributes:
        message: The sentence for the caller.
        code: Flash's code, or None where Flash gives none.

    """

    code: str | None = None

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code


class UncodedRefusal(Refused):
    """A value or a wallet that Flash's outer layers turn away: no code, and for sends no status."""


class InvalidInput(Refused):
    """The request makes no sense to the server."""

    code = "INVALID_INPUT"


class InsufficientBalance(Refused):
    """The wallet holds less than the payment needs."""

    code = "INSUFFICIENT_BALANCE"


class DecodeError(Refused):
    """A payment request is not a BOLT11."""

    code = "INVOICE_DECODE_ERROR"


def unexpected(name: str, detail: str = "Unknown error") -> str:
    """Write Flash's words for an error of its domain that has none of its own."""
    return f"Unexpected error occurred, please try again or contact support if it persists (code: {name}: {detail})"


def custodian_error() -> Refused:
    """Make the error that stands for any complaint of the custodian."""
    return Refused("An error occurred. Contact support if error persists.", "IBEX_ERROR")


def unexpected_error() -> Refused:
    """Make the error of a send that may or may not have been carried out; it has no code."""
    return Refused("An unexpected error occurred. Please try again later.")
