"""The rows of a journal that is moved to another database: copied, counted, compared and deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy import delete, insert, select, text

from flash_driver.journal.sql.schema import accounts, invoices, logins, payments, spent
from flash_driver.journal.sql.upkeep import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Row, Table

__all__ = ["TABLES", "Contents", "add_rows", "continue_numbers", "delete_rows", "read_rows"]

TABLES: Final = (accounts, logins, invoices, spent, payments)
"""In an order in which each finds the rows that it refers to."""

_NAMES: Final = tuple(table.name for table in TABLES)

_NEXT_ID: Final = """
    SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL) FROM {table}
"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal holds, so that two can be compared, whatever the order of their rows.

    Attributes:
        counts: How many rows each table has.
        digests: The sum of the hashes of each table's rows.

    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NAMES, 0))
    digests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NAMES, 0))

    @classmethod
    def of(cls, connection: Connection) -> Self:
        """Read every row."""
        found = cls()
        for table, rows in read_rows(connection):
            found.add(table, rows)
        return found

    def add(self, table: Table, rows: Sequence[Row[Any]]) -> None:
        """Count these rows of a table too."""
        self.counts[table.name] += len(rows)
        self.digests[table.name] += sum(map(_hash, rows))


def read_rows(connection: Connection) -> Iterator[tuple[Table, Sequence[Row[Any]]]]:
    """Yield all rows with their tables, not all at once, in the order of their keys."""
    for table in TABLES:
        (key,) = table.primary_key.columns
        query = select(table).order_by(key).limit(ROWS)
        while rows := connection.execute(query).all():
            yield table, rows
            query = select(table).where(key > rows[-1]._mapping[key.name]).order_by(key).limit(ROWS)  # noqa: SLF001 - its public name, as documented


def add_rows(connection: Connection, table: Table, rows: Sequence[Row[Any]]) -> None:
    """Add rows of the same table of another database, with their numbers."""
    connection.execute(insert(table), [dict(row._mapping) for row in rows])  # noqa: SLF001 - as above


def continue_numbers(connection: Connection) -> None:
    """Let the next row of each table get the number behind the last one; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        for table in TABLES:
            if "id" in table.c:
                connection.execute(text(_NEXT_ID.format(table=table.name)))


def delete_rows(connection: Connection) -> None:
    """Delete all rows."""
    for table in reversed(TABLES):
        connection.execute(delete(table))


def _hash(row: Row[Any]) -> int:
    values = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    return int.from_bytes(sha256(repr(values).encode()).digest())
