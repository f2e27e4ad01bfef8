"""How often something may be done, counted in the database so that replicas share one budget."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, bindparam, delete, func, insert, or_, select

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

_OF_NAME: Final = _spends.c.name == bindparam("budget")
_OVER: Final = delete(_spends).where(
    _OF_NAME, or_(_spends.c.spent_at <= bindparam("since"), _spends.c.spent_at > bindparam("until"))
)
_SPENT: Final = select(func.count(), func.min(_spends.c.spent_at)).where(_OF_NAME)
_SPEND: Final = insert(_spends)


class Budgets:
    """Sliding windows by name: at most a number of times within a number of seconds, looking back from now.

    Those who take out of the same budget at once do so in one transaction: the budget is locked meanwhile.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turns: defaultdict[tuple[str, Allowance], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[tuple[str, Allowance], list[_Taker]] = defaultdict(list)

    async def spend(self, name: str, allowance: Allowance | None) -> int:
        """Take one out of a budget.

        Returns:
            0 when it was taken; else nothing was, and this is how many seconds later the next can be.

        """
        if allowance is None:
            return 0
        key, taker = (name, allowance), _Taker()
        waiting = self._waiting[key]
        waiting.append(taker)
        try:
            async with self._turns[key]:
                if taker.wait is None:  # nobody before has taken for this one, too
                    takers = [each for each in waiting if each.wait is None]
                    waits = await self._database.write(
                        partial(_spend, name=name, allowance=allowance, count=len(takers)), durable=False
                    )
                    for each, wait in zip(takers, waits, strict=True):
                        each.wait = wait
        finally:
            waiting.remove(taker)
        return taker.wait or 0


class _Taker:
    """One who takes out of a budget.

    Attributes:
        wait: What `spend` answers; None until that is known.

    """

    wait: int | None = None


def _spend(connection: Connection, name: str, allowance: Allowance, count: int) -> list[int]:
    """Take up to a number out of a budget; gives what `spend` answers for each."""
    window = allowance.seconds * 1_000
    take_numbers(connection, f"budget {name}")  # a lock: replicas take turns
    now = now_ms()
    # What lies a window ahead was written before the clock was set back, perhaps by a day: nobody waits for that.
    connection.execute(_OVER, {"budget": name, "since": now - window, "until": now + window})
    used, oldest = connection.execute(_SPENT, {"budget": name}).one()
    granted = max(0, min(count, allowance.times - used))
    if granted:
        connection.execute(_SPEND, [{"name": name, "spent_at": now}] * granted)
    wait = -(-(int(oldest or now) + window - now) // 1_000)
    wait = min(max(1, wait), allowance.seconds)  # another replica's clock may differ
    return [0] * granted + [wait] * (count - granted)
