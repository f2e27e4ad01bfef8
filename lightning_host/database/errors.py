"""What a database's errors mean: that it is away for now, or that it can't be used at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["DatabaseUnusable", "SchemaError", "is_away", "reason_of"]

_AWAY_CLASSES: Final = ("08", "53", "57P")
"""SQLSTATE classes: connection trouble, the server is out of connections or memory, the server ends or starts."""

_AWAY_STATES: Final = ("25P03", "25P04", "55P03", "57014")
"""The transaction was ended for being idle or too long, a lock was not to be had in time, a statement took too long."""


class SchemaError(Exception):
    """The tables were made by a newer version of the host."""


class DatabaseUnusable(Exception):
    """The database can't be opened now; says what it answered, and shows no password."""


def is_away(error: BaseException) -> bool:
    """Whether an error says that the database can't be asked right now; what it holds is not known then."""
    if isinstance(error, OSError | PoolTimeoutError | InterfaceError | OperationalError):
        return True  # TimeoutError is an OSError
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or state.startswith(_AWAY_CLASSES) or state in _AWAY_STATES


def reason_of(error: SQLAlchemyError | sqlite3.Error | OSError) -> str:
    """Return what the database itself said, in one line; SQLAlchemy's words around it quote statements."""
    inner: BaseException | None = error
    if isinstance(error, DBAPIError):
        inner = error.orig
    elif isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return next(iter(str(inner).splitlines()), type(error).__name__)
