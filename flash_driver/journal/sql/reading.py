"""Rows read as records; one that is damaged keeps nobody from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from flash_driver.common.log import get_logger
from flash_driver.journal.errors import UNREADABLE, UnreadableRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Row, Select, Table

__all__ = ["read_all", "read_one"]

T = TypeVar("T")

_log: Final = get_logger(part="journal")


def read_one(connection: Connection, query: Select[Any], read: Callable[[Row[Any]], T]) -> T | None:
    """Return the record of the one row that a query finds, None where there is none.

    Raises:
        UnreadableRow: It is damaged: neither its content nor that it is unknown can be told.

    """
    try:
        row = connection.execute(query).one_or_none()
        return None if row is None else read(row)
    except UNREADABLE as error:
        raise UnreadableRow from error


def read_all(connection: Connection, query: Select[Any], table: Table, read: Callable[[Row[Any]], T]) -> list[T]:
    """Return the records of the rows that a query on one table finds, without those that are damaged."""
    try:
        return [read(row) for row in connection.execute(query)]
    except UNREADABLE:
        found = []
        for number in connection.execute(query.with_only_columns(table.c.id)).scalars().all():
            try:
                found += [read(row) for row in connection.execute(query.where(table.c.id == number).offset(None))]
            except UNREADABLE as error:
                _log.error("a damaged row is left out", table=table.name, row=number, error=type(error).__name__)
        return found
