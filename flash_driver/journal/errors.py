"""What can go wrong with a journal, and the one place where a database's errors become the driver's."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError

if TYPE_CHECKING:
    from flash_driver.journal.urls import JournalUrl

__all__ = ["JournalError", "explain"]


class JournalError(LightningError):
    """The journal can't keep or tell anything now; what was asked for was not done.

    Attributes:
        journal: Which journal, without any password.
        reason: What is wrong with it.
        remedy: What to do about it.

    """

    def __init__(self, journal: str, reason: str, remedy: str) -> None:
        super().__init__(f"{journal} {reason}; {remedy}")
        self.journal = journal
        self.reason = reason
        self.remedy = remedy


_CHECK_SERVER: Final = "check that the database server runs and that FLASH_JOURNAL_URL names it"
_SQLITE: Final = (
    ("disk is full", "has no room left", "make room on its disk, then try again"),
    ("readonly", "can't be written to", "make file and folder writable for this user, or set FLASH_JOURNAL_URL"),
    ("unable to open", "can't be opened", "make its folder writable for this user, or set FLASH_JOURNAL_URL"),
    ("not a database", "is not a SQLite file", "move that file away, or let FLASH_JOURNAL_URL name another"),
    ("malformed", "is damaged", "put back a backup, or rescue it with sqlite3's .recover; do not just delete it"),
    ("locked", "is locked by another process", "find out which process holds it, then try again"),
    ("disk i/o error", "can't be read or written", "check its disk"),
)
"""What SQLite says -> what that means, and what to do."""

_POSTGRESQL: Final = (
    ("53100", "has no room left", "make room on the database server's disk, then try again"),
    ("28", "refuses the user or password", "correct FLASH_JOURNAL_URL"),
    ("3D000", "names a database that does not exist", "create the database, or correct FLASH_JOURNAL_URL"),
    ("42501", "does not permit this user to do that", "grant the user CREATE on its schema and all on the tables"),
    ("25006", "is read-only", "let FLASH_JOURNAL_URL name the primary server"),
    ("53300", "takes no more connections", "raise max_connections of the database server"),
    ("57", "is shutting down", _CHECK_SERVER),
    ("40", "was too busy with the same row", "try again"),
)
"""SQLSTATE, or how it begins -> what that means, and what to do."""


def explain(error: BaseException, journal: JournalUrl) -> JournalError | None:
    """Return what a database's error means for the journal, None when it is no database's error."""
    state = _sqlstate(error)
    words = str(getattr(error, "orig", None) or error).lower()
    if state is not None:
        for begin, reason, remedy in _POSTGRESQL:
            if state.startswith(begin):
                return JournalError(str(journal), reason, remedy)
        return JournalError(str(journal), f"answered with SQLSTATE {state}", "see the database server's log")
    for said, reason, remedy in _SQLITE if journal.path is not None else ():
        if said in words:
            return JournalError(str(journal), reason, remedy)
    if isinstance(error, OSError) and journal.path is not None:
        code = errno.errorcode.get(error.errno or 0, "an error of the system")
        return JournalError(
            str(journal), f"can't be used ({code})", "make its folder writable for this user, or set FLASH_JOURNAL_URL"
        )
    if isinstance(error, OSError) or _is_of_a_database(error):
        return JournalError(str(journal), "can't be reached", _CHECK_SERVER if journal.path is None else "try again")
    return None


def _sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code, wherever in the chain of wrapped errors it is."""
    seen: BaseException | None = error
    while seen is not None:
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None


def _is_of_a_database(error: BaseException) -> bool:
    module = type(error).__module__
    return module.partition(".")[0] in ("asyncpg", "sqlalchemy", "sqlite3", "aiosqlite")
