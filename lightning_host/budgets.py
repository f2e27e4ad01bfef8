"""How often something may be done, counted in the database so that replicas share one budget."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, delete, func, insert, select

from lightning_host.database import metadata, now_ms, take_numbers

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lightning_host.allowance import Allowance
    from lightning_host.database import Database

__all__ = ["Budgets"]

_spends: Final = Table(
    "host_spends",
    metadata,
    # SQLite counts up only a column whose type is exactly INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("name", String(128), nullable=False),
    Column("spent_at", BigInteger, nullable=False),
    Index("host_spends_by_name", "name", "spent_at"),
)


class Budgets:
    """Sliding windows by name: at most a number of times within a number of seconds, looking back from now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def spend(self, name: str, allowance: Allowance | None) -> int:
        """Take one out of a budget.

        Returns:
            0 when it was taken; else nothing was, and this is how many seconds later the next can be.

        """
        if allowance is None:
            return 0
        return await self._database.write(partial(_spend, name=name, allowance=allowance))


def _spend(connection: Connection, name: str, allowance: Allowance) -> int:
    window = allowance.seconds * 1_000
    take_numbers(connection, f"budget {name}")  # a lock: replicas take turns
    now = now_ms()
    connection.execute(delete(_spends).where(_spends.c.name == name, _spends.c.spent_at <= now - window))
    spent = select(func.count(), func.min(_spends.c.spent_at)).where(_spends.c.name == name)
    count, oldest = connection.execute(spent).one()
    if count >= allowance.times:
        wait = -(-(int(oldest) + window - now) // 1_000)
        return min(max(1, wait), allowance.seconds)  # another replica's clock may differ
    connection.execute(insert(_spends).values(name=name, spent_at=now))
    return 0
