from __future__ import annotations

from datetime import timedelta

import pytest
import typer

from connection_strings import (
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
from flash_driver.cli.failures import BadUsage, CommandFailed, Exit, explain

CASES: list[tuple[BaseException, int, str, dict[str, object]]] = [
    (UnknownConnectionType("clightning", ["flash"]), 2, "unknown-connection-type", {"key": "type"}),
    (ConnectionStringError("no", key="token"), 2, "connection-string", {"key": "token"}),
    (ConnectionStringError("no"), 2, "connection-string", {}),
    (InvalidRequest("amount", "no"), 2, "invalid-request", {"field": "amount"}),
    (NotSupported("no"), 1, "not-supported", {}),
    (CredentialRejected("no"), 1, "credential-rejected", {}),
    (
        RateLimited("slowly", retry_after=timedelta(seconds=1.5), code="X"),
        1,
        "rate-limited",
        {"code": "X", "retry_after_seconds": 2},
    ),
    (RequestRefused("no", code="Y"), 1, "refused", {"code": "Y"}),
    (AmountMismatch(1000, [999]), 1, "amount-mismatch", {"asked_msat": 1000, "available_msat": [999]}),
    (InvalidReply("no"), 1, "invalid-reply", {}),
    (BackendUnavailable("asking", {"http": "no"}), 1, "unavailable", {"reasons": {"http": "no"}, "executed": False}),
    (LightningError("no"), 1, "failed", {}),
    (CommandFailed("odd", "no", {"a": 1}, status=Exit.PAYMENT_UNKNOWN), 3, "odd", {"a": 1}),
    (BadUsage("no"), 2, "usage", {}),
    (KeyboardInterrupt(), 130, "interrupted", {}),
    (EOFError(), 130, "interrupted", {}),
    (typer.Abort(), 130, "interrupted", {}),
    (typer.BadParameter("no"), 2, "usage", {}),
    (ModuleNotFoundError("no", name="strawberry.types"), 1, "missing-extra", {}),
    (ModuleNotFoundError("no", name="elsewhere"), 1, "internal", {}),
    (ZeroDivisionError("secret"), 1, "internal", {}),
]


@pytest.mark.parametrize(("error", "status", "kind", "facts"), CASES, ids=lambda value: str(value)[:24])
def test_each_error_has_its_status_and_kind(
    error: BaseException, status: int, kind: str, facts: dict[str, object]
) -> None:
    """Every kind of error ends a command with a status, a word for programs, one line for people, and its facts."""
    failure = explain(error)
    assert (failure.status, failure.kind, dict(failure.facts)) == (status, kind, facts)
    assert "\n" not in failure.message


def test_unexpected_errors_keep_their_words() -> None:
    """Nobody knows what the words of an unexpected error quote, so only its type is told."""
    assert "secret" not in explain(ZeroDivisionError("secret")).message
    assert "ZeroDivisionError" in explain(ZeroDivisionError("secret")).message
