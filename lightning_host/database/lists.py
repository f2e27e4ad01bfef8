"""Lists that show what was made last first, part by part, each found by an index however far back it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import tuple_

from lightning_host.database.database import to_ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select, Table
    from sqlalchemy.engine import Row

__all__ = ["Listed", "newest_first"]


class Listed(Protocol):
    """What stands in such a list: its place is its time, then its id."""

    @property
    def id(self) -> str:
        """What it is called."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""


def newest_first(
    connection: Connection,
    query: Select[Any],
    table: Table,
    *,
    before: Listed | None = None,
    after: Listed | None = None,
    offset: int = 0,
    limit: int,
) -> Sequence[Row[Any]]:
    """Read a part of a list, newest first.

    Args:
        connection: To the database.
        query: All that is in the list.
        table: Its table, which has an index of what the query asks for, `created_at` and `id`.
        before: Only what was made before this, the newest of it.
        after: Only what was made after this, the oldest of it: what follows this in time without a gap.
        offset: How many of those are left out first; each is read, so `before` is quicker far back.
        limit: How many at most.

    """
    columns = table.c.created_at, table.c.id
    if before is not None:
        query = query.where(tuple_(*columns) < _place(before))
    if after is not None:
        query = query.where(tuple_(*columns) > _place(after))
    order = [column.desc() if after is None else column.asc() for column in columns]
    rows = connection.execute(query.order_by(*order).offset(offset).limit(limit)).all()
    return rows if after is None else rows[::-1]


def _place(listed: Listed) -> tuple[int, str]:
    return to_ms(listed.created_at), listed.id
