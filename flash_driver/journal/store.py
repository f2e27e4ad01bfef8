"""Where the journals of many accounts are kept together, and how an account finds its own.

What is kept belongs to an account, not to a token: a merchant who logs in again gets a new token and finds his old
invoices. Only the server can say which account a token opens, so the store remembers that from the first time on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flash_driver.journal.memory import MemoryJournal

if TYPE_CHECKING:
    from flash_driver.journal.journal import Journal
    from flash_driver.journal.urls import JournalUrl

__all__ = ["JournalStore", "MemoryStore", "make_store"]


class JournalStore(Protocol):
    """Keeps the journals of many accounts apart from each other."""

    async def open(self, fingerprint: str, scope: str | None) -> Journal | None:
        """Return the journal of the account that a credential opens, None when that is not known yet.

        Args:
            fingerprint: What tells the credential from others, without naming it.
            scope: The account itself, as the server names it, remembered for this fingerprint; None when not known.

        Raises:
            JournalError: The journal can't be used now.

        """
        ...

    async def aclose(self) -> None:
        """Let go of files and connections; what is under way comes to its end before."""
        ...


class MemoryStore:
    """Keeps journals as long as the process lasts; serves any event loop."""

    def __init__(self) -> None:
        self._scopes: dict[str, str] = {}
        self._journals: dict[str, MemoryJournal] = {}

    async def open(self, fingerprint: str, scope: str | None) -> Journal | None:
        """Return the journal of the account that a credential opens."""
        if scope is not None:
            self._scopes[fingerprint] = scope
        known = self._scopes.get(fingerprint)
        return None if known is None else self._journals.setdefault(known, MemoryJournal())

    async def aclose(self) -> None:
        """Keep everything for the next who asks."""


def make_store(journal: JournalUrl) -> JournalStore:
    """Return the store that a URL names, for the running event loop; nothing is opened before it is used."""
    if journal.forgets:
        return MemoryStore()
    from flash_driver.journal.sql.store import SqlStore  # noqa: PLC0415 - no database library for who needs none

    return SqlStore(journal)
