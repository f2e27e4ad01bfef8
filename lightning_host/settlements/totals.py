"""How many settlements there are and what they brought: sums are kept, because counting takes longer with every year.

What was recorded since the last time is added when somebody asks. Settlements become visible in the order of their
numbers, so none is missed, also none that a host of another version has recorded beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, String, Table, func, select

from lightning_host.database import add_to_sums, metadata, take_numbers

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["add_next", "correct", "find_sums"]

_sums: Final = Table(
    "host_settlement_sums",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("purpose", String(32), primary_key=True),
    Column("settlements", BigInteger, nullable=False),
    Column("msat", BigInteger, nullable=False),
)
_COUNTED: Final = "settlements in sums"
"""The counter that tells the number of the last settlement in the sums."""


def find_sums(connection: Connection) -> dict[tuple[str, str], tuple[int, int]]:
    """Return count and millisatoshi of the settlements that were added, by store and purpose."""
    return {(row.store, row.purpose): (row.settlements, row.msat) for row in connection.execute(select(_sums))}


def add_next(connection: Connection, settlements: Table, limit: int) -> int:
    """Add the next settlements to the sums, this number of them at most; return how many they were."""
    counted = take_numbers(connection, _COUNTED, 0)  # a lock: replicas take turns
    following = (
        select(settlements)
        .where(settlements.c.number > counted)
        .order_by(settlements.c.number)
        .limit(limit)
        .subquery()
        .c
    )
    query = select(
        following.store,
        following.purpose,
        func.count().label("settlements"),
        func.sum(following.amount_msat).label("msat"),
        func.max(following.number).label("last"),
    ).group_by(following.store, following.purpose)
    found = connection.execute(query).all()
    for row in found:
        _add(connection, row.store, row.purpose, row.settlements, int(row.msat))
    take_numbers(connection, _COUNTED, max((row.last - counted for row in found), default=0))
    return sum(row.settlements for row in found)


def correct(connection: Connection, store: str, purpose: str, number: int, more_msat: int) -> None:
    """Take note that a settlement brought more than it was recorded with; the caller's transaction changes it."""
    if number <= take_numbers(connection, _COUNTED, 0):
        _add(connection, store, purpose, 0, more_msat)


def _add(connection: Connection, store: str, purpose: str, settlements: int, msat: int) -> None:
    add_to_sums(connection, _sums, {"store": store, "purpose": purpose}, {"settlements": settlements, "msat": msat})
