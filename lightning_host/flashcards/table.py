"""Flashcards as they are remembered: a balance each, and every payment that made it grow.

A payment is entered under its payment hash, in the transaction that records the settlement: its entry and the growth of
the balance are both there, once, or neither is.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, insert, or_, select, update

from connection_strings import LightMoney
from lightning_host.checkout.table import PURPOSE as CHECKOUT_PURPOSE
from lightning_host.checkout.table import CheckoutTable
from lightning_host.database import from_ms, metadata, now_ms, to_ms
from lightning_host.invoices import HostInvoices

if TYPE_CHECKING:
    from sqlalchemy.engine import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement

__all__ = ["PURPOSE", "Flashcard", "FlashcardTable", "TopUp"]

PURPOSE: Final = "flashcard"
"""The purpose of invoices that a card's LNURL handed out; their subject is the card's address."""

_log: Final = logging.getLogger("lightning_host")
_cards: Final = Table(
    "host_flashcards",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("store", String(64), nullable=False),
    Column("address", String(32), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("balance_msat", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("host_flashcards_by_time", "store", "created_at"),
)
_top_ups: Final = Table(
    "host_flashcard_top_ups",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("payment_hash", String(64), primary_key=True),
    Column("card", String(32), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("way", String(16), nullable=False),
    Column("comment", Text, nullable=False),
    Column("amount_msat", BigInteger, nullable=False),
    Column("paid_at", BigInteger, nullable=False),
    Index("host_flashcard_top_ups_by_card", "card", "number"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flashcard:
    """A card.

    Attributes:
        id: What its page and the API call it; its holder sees the balance.
        address: What its LNURL calls it; it is enough to pay to the card and to learn its name.
        name: Untrusted, escape it where it is shown.

    """

    id: str
    store: str
    address: str
    name: str
    balance: LightMoney
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """A payment to a card.

    Attributes:
        number: Its place among all settlements of this host.
        way: `lnurl` or `checkout`.
        comment: What the payer said (LUD-12); untrusted, escape it where it is shown.

    """

    store: str
    payment_hash: str
    card: str
    number: int
    way: str
    comment: str
    amount: LightMoney
    paid_at: datetime


class FlashcardTable:
    """Writes and reads cards and what was paid to them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._checkouts = CheckoutTable(database)
        self._invoices = HostInvoices(database)

    async def add(self, store_id: str, name: str) -> Flashcard:
        """Make a card with nothing on it."""
        row = {
            "id": secrets.token_hex(16),
            "store": store_id,
            "address": secrets.token_hex(8),
            "name": name,
            "balance_msat": 0,
            "created_at": now_ms(),
        }
        async with self._database.begin() as connection:
            await connection.execute(insert(_cards).values(row))
            return _read_card((await connection.execute(select(_cards).where(_cards.c.id == row["id"]))).one())

    async def find(self, card_id: str) -> Flashcard | None:
        """Return the card with this id, None when there is none."""
        return await self._one(_cards.c.id == card_id)

    async def find_by_address(self, address: str) -> Flashcard | None:
        """Return the card with this address, None when there is none."""
        return await self._one(_cards.c.address == address)

    async def page(
        self, store_id: str, *, offset: int = 0, before: Flashcard | None = None, limit: int
    ) -> list[Flashcard]:
        """List the cards of a store, newest first; only those that come behind `before`, if that is given."""
        query = select(_cards).where(_cards.c.store == store_id)
        if before is not None:
            time = to_ms(before.created_at)
            query = query.where(_cards.c.created_at <= time, or_(_cards.c.created_at < time, _cards.c.id > before.id))
        query = query.order_by(_cards.c.created_at.desc(), _cards.c.id).offset(offset).limit(limit)
        async with self._database.begin() as connection:
            return [_read_card(row) for row in await connection.execute(query)]

    async def history(self, card: Flashcard, *, offset: int = 0, limit: int) -> list[TopUp]:
        """List what was paid to a card, newest first."""
        query = select(_top_ups).where(_top_ups.c.card == card.id)
        query = query.order_by(_top_ups.c.number.desc()).offset(offset).limit(limit)
        async with self._database.begin() as connection:
            return [_read_top_up(row) for row in await connection.execute(query)]

    async def settle(self, connection: AsyncConnection, settlement: Settlement) -> None:
        """Credit a payment to its card; a handler of settlements, so each counts once."""
        found = await self._card_of(connection, settlement)
        if found is None:
            return
        card_id, way = found
        invoice = await self._invoices.find(settlement.store, settlement.payment_hash, connection=connection)
        row = {
            "store": settlement.store,
            "payment_hash": settlement.payment_hash,
            "card": card_id,
            "number": settlement.number,
            "way": way,
            "comment": "" if invoice is None else invoice.comment,
            "amount_msat": settlement.amount.msat,
            "paid_at": to_ms(settlement.paid_at),
        }
        if await self._database.insert_if_new(connection, _top_ups, row):
            grown = _cards.c.balance_msat + settlement.amount.msat
            await connection.execute(update(_cards).where(_cards.c.id == card_id).values(balance_msat=grown))
            _log.info("store %s: %s credited to flashcard %s", settlement.store, settlement.amount, card_id)

    async def _card_of(self, connection: AsyncConnection, settlement: Settlement) -> tuple[str, str] | None:
        """Return the card that a payment is for, and the way it came; None when it is for none."""
        if settlement.purpose == CHECKOUT_PURPOSE:
            checkout = await self._checkouts.find(settlement.subject, connection=connection)
            return None if checkout is None or checkout.card is None else (checkout.card, "checkout")
        if settlement.purpose != PURPOSE:
            return None
        query = select(_cards.c.id).where(_cards.c.address == settlement.subject, _cards.c.store == settlement.store)
        card_id = (await connection.execute(query)).scalar_one_or_none()
        if card_id is None:
            _log.error("store %s: %s paid a flashcard that is unknown", settlement.store, settlement.payment_hash)
            return None
        return card_id, "lnurl"

    async def _one(self, condition: Any) -> Flashcard | None:
        async with self._database.begin() as connection:
            row = (await connection.execute(select(_cards).where(condition))).one_or_none()
        return None if row is None else _read_card(row)


def _read_card(row: Row[Any]) -> Flashcard:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    values["created_at"] = from_ms(values["created_at"])
    return Flashcard(balance=LightMoney.from_msat(values.pop("balance_msat")), **values)


def _read_top_up(row: Row[Any]) -> TopUp:
    values = dict(row._mapping)  # noqa: SLF001 - as above
    values["paid_at"] = from_ms(values["paid_at"])
    return TopUp(amount=LightMoney.from_msat(values.pop("amount_msat")), **values)
