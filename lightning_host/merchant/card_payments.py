"""What a store's wallet paid with flashcards: money that left, kept apart from takings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, tuple_

from connection_strings import LightMoney
from lightning_host.database import from_ms, to_ms
from lightning_host.flashcards.table import host_flashcards as cards
from lightning_host.flashcards.taps import TapStatus
from lightning_host.flashcards.taps import taps_table as taps

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.engine import Row

    from lightning_host.database import Database
    from lightning_host.merchant.periods import Period

__all__ = ["CardPayment", "CardPayments", "CardSums"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPayment:
    """A payment that was made with a card.

    Attributes:
        card: The id of the card.
        name: The name of the card; untrusted, escape it where it is shown.
        amount: What the terminal received.
        charged: What left the card: the amount, and the fee as far as the wallet tells it.
        paid_at: When it was booked.

    """

    payment_hash: str
    card: str
    name: str
    amount: LightMoney
    charged: LightMoney
    paid_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSums:
    """How many payments were made with cards, and what they took off them."""

    count: int
    charged: LightMoney


class CardPayments:
    """Reads the payments that were made with the cards of one store, and nothing that is open or failed.

    Args:
        database: Where they are.
        store_id: Which store.

    """

    def __init__(self, database: Database, store_id: str) -> None:
        self._database = database
        self._paid: Final = (taps.c.store == store_id, taps.c.status == TapStatus.PAID)

    async def find(self, payment_hash: str) -> CardPayment | None:
        """Return the payment with this hash, None when no card paid it."""
        query = _JOINED.where(*self._paid, taps.c.payment_hash == payment_hash)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _payment(row)

    async def newest(self, *, before: CardPayment | None, limit: int) -> list[CardPayment]:
        """Return the latest payments, newest first; only those that come behind `before`, if that is given."""
        place = taps.c.ended_at, taps.c.payment_hash
        query = _JOINED.where(*self._paid).order_by(*(column.desc() for column in place)).limit(limit)
        if before is not None:
            query = query.where(tuple_(*place) < (to_ms(before.paid_at), before.payment_hash))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_payment(row) for row in rows]

    async def sums(self, period: Period) -> CardSums:
        """Add up a period."""
        query = select(func.count(), func.coalesce(func.sum(taps.c.charged_msat), 0)).where(
            *self._paid, taps.c.ended_at >= period.begins_ms, taps.c.ended_at < period.ends_ms
        )
        count, msat = await self._database.read(lambda connection: connection.execute(query).one())
        return CardSums(count=int(count), charged=LightMoney.from_msat(int(msat)))


_JOINED: Final[Select[Any]] = select(
    taps.c.payment_hash, taps.c.card, taps.c.amount_msat, taps.c.charged_msat, taps.c.ended_at, cards.c.name
).join(cards, cards.c.id == taps.c.card)


def _payment(row: Row[Any]) -> CardPayment:
    return CardPayment(
        payment_hash=row.payment_hash,
        card=row.card,
        name=row.name,
        amount=LightMoney.from_msat(row.amount_msat),
        charged=LightMoney.from_msat(row.charged_msat),
        paid_at=from_ms(row.ended_at),
    )
