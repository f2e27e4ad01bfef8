"""What can go wrong with a journal, and the one place where a database's errors become the driver's."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from connection_strings.errors import LightningError

if TYPE_CHECKING:
    from flash_driver.journal.urls import JournalUrl

__all__ = ["UNREADABLE", "FileReplaced", "JournalError", "KnownElsewhere", "ServerInUse", "UnreadableRow", "explain"]


UNREADABLE: Final = (LookupError, ValueError, ArithmeticError)
"""What a value that this driver never wrote raises: a status that is none, a number or a time that is none."""

_DAMAGED_ROW: Final = ("has a damaged row", "see flash-driver journal check, and put back a backup")


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


class KnownElsewhere(JournalError):
    """The journal knows a payment hash under another account than the one that asks.

    So it must be said neither that it is unknown, nor may it be paid a second time.
    """

    def __init__(self, kind: str, scope: str) -> None:
        server = scope.partition(" ")[0] if " " in scope else "a server that an older driver did not write down"
        super().__init__(
            "the journal",
            f"knows this {kind} under another account, of {server}",
            "use that account's connection string; if only the server's name has changed, "
            "run flash-driver journal rename-server",
        )


class ServerInUse(JournalError):
    """Accounts can't be given to a server under whose name the journal has them already."""

    def __init__(self, server: str) -> None:
        super().__init__(
            "the journal",
            f"has an account under {server} already, made since the name changed",
            "look at both with flash-driver journal, and keep using the old name if they can't be told apart",
        )


class UnreadableRow(JournalError):
    """A row of the journal holds what no driver wrote."""

    def __init__(self) -> None:
        super().__init__("the journal", *_DAMAGED_ROW)


class FileReplaced(OSError):
    """A journal's file was moved away or replaced while it was in use."""


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
    ("08", "can't be reached", _CHECK_SERVER),
    ("53100", "has no room left", "make room on the database server's disk, then try again"),
    ("28", "refuses the user or password", "correct FLASH_JOURNAL_URL"),
    ("3D000", "names a database that does not exist", "create the database, or correct FLASH_JOURNAL_URL"),
    ("42501", "does not permit this user to do that", "grant the user CREATE on its schema and all on the tables"),
    ("25006", "is read-only", "let FLASH_JOURNAL_URL name the primary server"),
    ("53300", "takes no more connections", "raise max_connections of the database server"),
    ("57014", "did not answer in time", "try again, and see what else the database server does"),
    ("57", "is shutting down", _CHECK_SERVER),
    ("40", "was too busy with the same row", "try again"),
    ("55P03", "was too busy with the same row", "try again"),
)
"""SQLSTATE, or how it begins -> what that means, and what to do."""


_CONNECTING: Final = (
    ("authentication failed", *_POSTGRESQL[2][1:]),
    ("no pg_hba.conf entry", *_POSTGRESQL[2][1:]),
    ('role "', *_POSTGRESQL[2][1:]),
    ("no password supplied", *_POSTGRESQL[2][1:]),
    ('database "', *_POSTGRESQL[3][1:]),
    ("certificate", "has a TLS certificate that can't be verified", "name its authority with ?sslrootcert=FILE"),
    ("does not support ssl", "takes no TLS", "switch it on there, or write ?sslmode=disable for a network of your own"),
    ("too many", "takes no more connections", "raise max_connections of the database server"),
    ("connection slots", "takes no more connections", "raise max_connections of the database server"),
    (
        "unsupported startup parameter",
        "is a pooler that refuses an option",
        "leave the options in FLASH_JOURNAL_URL out",
    ),
    ("system is starting up", "is starting up", _CHECK_SERVER),
    ("system is shutting down", "is shutting down", _CHECK_SERVER),
)
"""What a server says that refuses a connection, for which libpq tells no SQLSTATE -> what that means, what to do."""


def explain(error: BaseException, journal: JournalUrl) -> JournalError | None:
    """Return what a database's error means for the journal, None when it is no database's error."""
    said = _DAMAGED_ROW if _is_of_a_value(error) else _words(error, journal)
    return None if said is None else JournalError(str(journal), *said)


def _words(error: BaseException, journal: JournalUrl) -> tuple[str, str] | None:
    """Return the reason and the remedy."""
    if isinstance(getattr(error, "orig", None), (TypeError, ValueError)):
        return None
    if isinstance(error, FileReplaced):
        return "was moved away or replaced while in use", "put it back, or start this process again"
    state = _sqlstate(error)
    if state is not None:
        listed = ((reason, remedy) for begin, reason, remedy in _POSTGRESQL if state.startswith(begin))
        return next(listed, (f"answered with SQLSTATE {state}", "see the database server's log"))
    if journal.path is not None:
        words = str(getattr(error, "orig", None) or error).lower()
        for mark, reason, remedy in _SQLITE:
            if mark in words:
                return reason, remedy
        if isinstance(error, OSError):
            code = errno.errorcode.get(error.errno or 0, type(error).__name__)
            return f"can't be used ({code})", "make its folder writable for this user, or set FLASH_JOURNAL_URL"
    elif isinstance(getattr(error, "orig", error), OSError) or _root(error) == "psycopg":
        words = str(getattr(error, "orig", None) or error).lower().rpartition("fatal:")[2]
        refused = ((reason, remedy) for mark, reason, remedy in _CONNECTING if mark in words)
        return next(refused, ("can't be reached", _CHECK_SERVER))
    if _root(error) in ("sqlalchemy", "sqlite3"):
        return f"failed with {type(error).__name__}", "try again, and report it if it comes back"
    return None


def _is_of_a_value(error: BaseException) -> bool:
    """Whether a value of the database could not be read, and it is not a mistake of the code that asked for it."""
    if not isinstance(error, UNREADABLE) or isinstance(error, UnicodeDecodeError):
        return isinstance(error, UnicodeDecodeError)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    return module.startswith(("sqlalchemy.", "flash_driver.journal.sql.schema"))


def _sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code, wherever in the chain of wrapped errors it is."""
    seen: BaseException | None = error
    while seen is not None:
        state = getattr(seen, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen = getattr(seen, "orig", None) or seen.__cause__
    return None


def _root(error: BaseException) -> str:
    """Return the package that an error, or the one that it wraps, comes from."""
    inner = getattr(error, "orig", None)
    own = type(error).__module__.partition(".")[0]
    return "psycopg" if inner is not None and type(inner).__module__.startswith("psycopg") else own
