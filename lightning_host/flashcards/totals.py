"""How many payments were made with cards, by outcome: kept, because counting takes longer with every year.

A total changes in the transaction that books a payment or gives it back, so each payment counts once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, String, Table, select

from connection_strings import LightMoney
from lightning_host.database import add_to_sums, metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["CardTotal", "count_payment", "find_totals"]

_totals: Final = Table(
    "host_flashcard_totals",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("outcome", String(8), primary_key=True),
    Column("payments", BigInteger, nullable=False),
    Column("msat", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTotal:
    """Payments with the cards of a store that ended alike, or of which it is not known how they ended.

    Attributes:
        outcome: `paid`, `failed` or `unknown`.
        amount: What left the cards if they are paid, else what was asked for.

    """

    store: str
    outcome: str
    payments: int
    amount: LightMoney


def count_payment(connection: Connection, store_id: str, outcome: str, amount: LightMoney) -> None:
    """Add a payment that ended; the caller's transaction is the one that ends it."""
    add_to_sums(connection, _totals, {"store": store_id, "outcome": outcome}, {"payments": 1, "msat": amount.msat})


def find_totals(connection: Connection) -> list[CardTotal]:
    """Return what has ended, of every store."""
    return [
        CardTotal(store=row.store, outcome=row.outcome, payments=row.payments, amount=LightMoney.from_msat(row.msat))
        for row in connection.execute(select(_totals))
    ]
