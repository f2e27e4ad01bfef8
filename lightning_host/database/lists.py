"""Lists that show what was made last first, part by part, each found by an index however far back it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import tuple_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Connection, Select
    from sqlalchemy.engine import Row

__all__ = ["Listed", "newest_first"]


class Listed(Protocol):
    """What stands in such a list."""

    @property
    def place(self) -> tuple[int | str, ...]:
        """The values of the columns that the list goes by: no other row of the list has the same."""


def newest_first(
    connection: Connection,
    query: Select[Any],
    columns: Sequence[Column[Any]],
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
        columns: What it goes by; there is an index of what the query asks for and these.
        before: Only what comes before this in time, the newest of it.
        after: Only what comes after this in time, the oldest of it: what follows this without a gap.
        offset: How many of those are left out first; each is read, so `before` is quicker far back.
        limit: How many at most.

    """
    if before is not None:
        query = query.where(tuple_(*columns) < before.place)
    if after is not None:
        query = query.where(tuple_(*columns) > after.place)
    order = [column.desc() if after is None else column.asc() for column in columns]
    rows = connection.execute(query.order_by(*order).offset(offset).limit(limit)).all()
    return rows if after is None else rows[::-1]
