"""Long limits for what is expected to succeed: to a machine that pauses for seconds the usual ones are an outage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import flash_driver.accounts.listening
import flash_driver.client
import flash_driver.invoices.creation
from flash_driver.journal.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["unhurry"]

_SECONDS: Final = 40.0
_LIMITS: Final[tuple[tuple[Any, str, Any], ...]] = (
    (flash_driver.invoices.creation, "CREATE_SECONDS", _SECONDS),
    (flash_driver.invoices.creation, "_SERVER_SECONDS", _SECONDS - 1),
    (flash_driver.client, "CREATE_SECONDS", _SECONDS),
    (flash_driver.accounts.listening, "CREATE_SECONDS", _SECONDS),
    (SqlStore.__init__, "__defaults__", (_SECONDS, *(SqlStore.__init__.__defaults__ or ())[1:])),
)


def unhurry(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let an invoice and a statement of the journal take as long as a busy machine needs.

    Args:
        change: Sets an attribute; pytest's sets it back.

    """
    for owner, name, value in _LIMITS:
        change(owner, name, value)
