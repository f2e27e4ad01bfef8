"""Where the journals of many accounts are kept together.

What is kept belongs to an account, not to a token: a merchant who logs in again gets a new token and finds the old
invoices. Only the server can say which account a token opens, so the store remembers that from the first time on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flash_driver.journal.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from flash_driver.journal.journal import Journal
    from flash_driver.journal.urls import JournalUrl

__all__ = ["JournalStore", "make_store"]


class JournalStore(Protocol):
    """Keeps the journals of many accounts apart from each other."""

    def journal(self, fingerprint: str, look_up: Callable[[], Awaitable[None]]) -> Journal:
        """Return the journal of the account that a credential opens; nothing is opened before it is used.

        Args:
            fingerprint: What tells the credential from others, without naming it.
            look_up: Asks the server whose account that is, and tells the journal's `owner`; called only where the
                store does not know it.

        """
        ...

    async def aclose(self) -> None:
        """Let go of files and connections; what is under way comes to its end before."""
        ...


def make_store(journal: JournalUrl, keep_days: int | None = None) -> JournalStore:
    """Return the store that a URL names, for the running event loop; nothing is opened before it is used.

    Args:
        journal: Where it is.
        keep_days: After how many days invoices that were never paid are deleted, None for never.

    """
    if journal.forgets:
        return MemoryStore()
    from flash_driver.journal.sql.store import SqlStore  # noqa: PLC0415 - no database library for who needs none

    return SqlStore(journal, keep_days=keep_days)
