"""Flashcards as they are remembered: a balance each, and every payment that made it grow.

A payment is entered under its payment hash, in the transaction that records the settlement: its entry and the growth of
the balance are both there, once, or neither is.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, bindparam, insert, select, update

from connection_strings import LightMoney
from lightning_host.checkout.table import PURPOSE as CHECKOUT_PURPOSE
from lightning_host.checkout.table import find_checkouts
from lightning_host.database import from_ms, insert_if_new, metadata, now_ms, to_ms
from lightning_host.database.lists import newest_first
from lightning_host.invoices import comments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, RowMapping

    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement

__all__ = ["PURPOSE", "Flashcard", "FlashcardTable", "TopUp", "host_flashcards", "settle_flashcards"]

PURPOSE: Final = "flashcard"
"""The purpose of invoices that a card's LNURL handed out; their subject is the card's address."""

_log: Final = logging.getLogger("lightning_host")
host_flashcards: Final = Table(
    "host_flashcards",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("store", String(64), nullable=False),
    Column("address", String(32), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("balance_msat", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("host_flashcards_by_time", "store", "created_at", "id"),
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
_CREDIT: Final = (
    update(host_flashcards)
    .where(host_flashcards.c.id == bindparam("card"))
    .values(balance_msat=host_flashcards.c.balance_msat + bindparam("amount_msat", type_=BigInteger))
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

    @property
    def place(self) -> tuple[int | str, ...]:
        """Where it stands in a list, as `newest_first` has it."""
        return to_ms(self.created_at), self.id


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

    @property
    def place(self) -> tuple[int | str, ...]:
        """Where it stands in a list, as `newest_first` has it."""
        return (self.number,)


class FlashcardTable:
    """Writes and reads cards and what was paid to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        await self._database.write(lambda connection: connection.execute(insert(host_flashcards), row))
        return _read_card(row)

    async def find(self, card_id: str) -> Flashcard | None:
        """Return the card with this id, None when there is none."""
        return await self._one(host_flashcards.c.id == card_id)

    async def find_by_address(self, address: str) -> Flashcard | None:
        """Return the card with this address, None when there is none."""
        return await self._one(host_flashcards.c.address == address)

    async def page(
        self,
        store_id: str,
        *,
        before: Flashcard | None = None,
        after: Flashcard | None = None,
        offset: int = 0,
        limit: int,
    ) -> list[Flashcard]:
        """List the cards of a store, newest first; a part of them as `newest_first` has it."""
        part = partial(
            newest_first,
            query=select(host_flashcards).where(host_flashcards.c.store == store_id),
            columns=(host_flashcards.c.created_at, host_flashcards.c.id),
            before=before,
            after=after,
            offset=offset,
            limit=limit,
        )
        return [_read_card(row._mapping) for row in await self._database.read(part)]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    async def history(
        self,
        card: Flashcard,
        *,
        before: TopUp | None = None,
        after: TopUp | None = None,
        offset: int = 0,
        limit: int,
    ) -> list[TopUp]:
        """List what was paid to a card, newest first; a part of it as `newest_first` has it."""
        part = partial(
            newest_first,
            query=select(_top_ups).where(_top_ups.c.card == card.id),
            columns=(_top_ups.c.number,),
            before=before,
            after=after,
            offset=offset,
            limit=limit,
        )
        return [_read_top_up(row._mapping) for row in await self._database.read(part)]  # noqa: SLF001 - as above

    async def find_top_up(self, card: Flashcard, payment_hash: str) -> TopUp | None:
        """Return a payment to a card, None when there is none with this hash."""
        query = select(_top_ups).where(_top_ups.c.store == card.store, _top_ups.c.payment_hash == payment_hash)
        query = query.where(_top_ups.c.card == card.id)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _read_top_up(row)

    async def _one(self, condition: Any) -> Flashcard | None:
        query = select(host_flashcards).where(condition)
        row = await self._database.read(lambda connection: connection.execute(query).mappings().one_or_none())
        return None if row is None else _read_card(row)


def settle_flashcards(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Credit payments to their cards; a handler of settlements, so each counts once."""
    cards = _cards_of(connection, settlements)
    paid = [settlement for settlement in settlements if settlement.payment_hash in cards]
    if not paid:
        return
    store_id = paid[0].store
    comments = comments_of(connection, store_id, [settlement.payment_hash for settlement in paid])
    for settlement in paid:
        card, way = cards[settlement.payment_hash]
        row = {
            "store": store_id,
            "payment_hash": settlement.payment_hash,
            "card": card,
            "number": settlement.number,
            "way": way,
            "comment": comments.get(settlement.payment_hash, ""),
            "amount_msat": settlement.amount.msat,
            "paid_at": to_ms(settlement.paid_at),
        }
        if insert_if_new(connection, _top_ups, row):
            connection.execute(_CREDIT, {"card": card, "amount_msat": settlement.amount.msat})
            _log.info("store %s: %s credited to flashcard %s", store_id, settlement.amount, card)


def _cards_of(connection: Connection, settlements: Sequence[Settlement]) -> dict[str, tuple[str, str]]:
    """Return the cards that payments of a store are for, and the ways they came, by payment hash."""
    by_checkout = [settlement for settlement in settlements if settlement.purpose == CHECKOUT_PURPOSE]
    by_lnurl = [settlement for settlement in settlements if settlement.purpose == PURPOSE]
    cards: dict[str, tuple[str, str]] = {}
    if by_checkout:
        found = find_checkouts(connection, {settlement.subject for settlement in by_checkout})
        topped_up = {checkout.id: checkout.card for checkout in found}
        for settlement in by_checkout:
            if (card := topped_up.get(settlement.subject)) is not None:
                cards[settlement.payment_hash] = card, "checkout"
    if by_lnurl:
        addresses = {settlement.subject for settlement in by_lnurl}
        query = select(host_flashcards.c.address, host_flashcards.c.id)
        query = query.where(host_flashcards.c.address.in_(addresses), host_flashcards.c.store == by_lnurl[0].store)
        ids = {row.address: row.id for row in connection.execute(query)}
        for settlement in by_lnurl:
            if (card := ids.get(settlement.subject)) is not None:
                cards[settlement.payment_hash] = card, "lnurl"
            else:
                _log.error("store %s: %s paid a flashcard that is unknown", settlement.store, settlement.payment_hash)
    return cards


def _read_card(row: RowMapping | dict[str, Any]) -> Flashcard:
    values = dict(row)
    values["created_at"] = from_ms(values["created_at"])
    return Flashcard(balance=LightMoney.from_msat(values.pop("balance_msat")), **values)


def _read_top_up(row: RowMapping | dict[str, Any]) -> TopUp:
    values = dict(row)
    values["paid_at"] = from_ms(values["paid_at"])
    return TopUp(amount=LightMoney.from_msat(values.pop("amount_msat")), **values)
