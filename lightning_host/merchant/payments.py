"""What a store received: each settlement with what it was made for, found by key, never by reading a whole table.

The tables belong to settlements, invoices and checkouts; here they are only read, joined as the merchant looks at them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, select, tuple_

from connection_strings import LightMoney
from lightning_host.checkout.table import PURPOSE as CHECKOUT
from lightning_host.checkout.table import checkouts_table as checkouts
from lightning_host.database import from_ms
from lightning_host.flashcards.table import PURPOSE as FLASHCARD
from lightning_host.invoices import host_invoices
from lightning_host.lnurl.routes import PURPOSE as ADDRESS
from lightning_host.settlements.ledger import settlements_table as settlements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from sqlalchemy import ColumnElement, Connection, Select
    from sqlalchemy.engine import Row

    from lightning_host.database import Database
    from lightning_host.merchant.periods import Period

__all__ = ["Payment", "Payments", "Takings"]

_PAGE: Final = 500
_LEAST_HASH: Final = 6
_HEX: Final = re.compile(rf"[0-9a-f]{{{_LEAST_HASH},64}}")
_AFTER_HEX: Final = "g"
_AMOUNT: Final = re.compile(r"([0-9]{1,3}([ ,][0-9]{3})+|[0-9]{1,16})( ?sats?)?")
_ABOVE: Final = 100
"""A payment counts as one of an amount up to a hundredth more: wallets of another currency make invoices so."""

_settling: Final = settlements.alias("settling")
"""The payment that settled the checkout which a payment is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment that was received.

    Attributes:
        number: Its place among all settlements of this host.
        kind: `Checkout`, `Address`, `Card` or `API`.
        reference: The shop's own name for it; None without one.
        checkout: The id of its checkout; None when it was for none.
        description: What it was for; untrusted, escape it where it is shown, as the next.
        comment: What the payer said (LUD-12).
        fiat: The amount asked in another currency, in words, as told when the checkout was opened.
        asked: What was to be paid; None where the payer chose.
        received: What came; zero while the wallet has not told how much.
        double: Whether its checkout had been paid before.
        to_give_back: Whether that is the shop's to return: a double payment to a card is on the card.
        late: Whether its checkout's time was over.

    """

    number: int
    payment_hash: str
    paid_at: datetime
    kind: str
    reference: str | None
    checkout: str | None
    description: str
    comment: str
    fiat: str | None
    asked: LightMoney | None
    received: LightMoney
    double: bool
    to_give_back: bool
    late: bool

    @property
    def short(self) -> bool:
        """Whether less came than was asked for."""
        return self.asked is not None and self.received < self.asked and not self.double


@dataclass(frozen=True, slots=True, kw_only=True)
class Takings:
    """What came in a period, each payment counted once.

    Attributes:
        count: How many payments, but for those to give back.
        received: What they brought.
        doubles: How many payments came for checkouts that had been paid before, and are to be given back.
        given_twice: What those brought.

    """

    count: int
    received: LightMoney
    doubles: int
    given_twice: LightMoney


class Payments:
    """Reads the payments of one store.

    Args:
        database: Where they are.
        store_id: Which store.

    """

    def __init__(self, database: Database, store_id: str) -> None:
        self._database = database
        self._store = store_id

    async def newest(self, *, before: int | None, limit: int) -> list[Payment]:
        """Return the latest payments, those below a number if it is given, newest first."""
        return await self._read(self._below(_joined(), before).limit(limit))

    async def search(self, words: str, *, before: int | None, limit: int) -> list[Payment]:
        """Return the payments that words find, newest first.

        They are a reference, whole; or the beginning of a payment hash or of the receipt that payers see, from six
        characters on; or an amount in satoshi, which also finds what brought up to a hundredth more.
        """
        found: dict[int, Payment] = {}
        for condition in self._meant(words.strip()):
            query = self._below(_joined().where(condition), before).limit(limit)
            found |= {payment.number: payment for payment in await self._read(query)}
        return sorted(found.values(), key=lambda payment: payment.number, reverse=True)[:limit]

    async def of(self, period: Period) -> AsyncIterator[Payment]:
        """Give every payment of a period, oldest first, read page by page."""
        place, query = (settlements.c.paid_at, settlements.c.number), _joined().where(*self._during(period))
        last: tuple[int, int] | None = None
        while True:
            page = query if last is None else query.where(tuple_(*place) > last)
            page = page.order_by(*place).limit(_PAGE)
            rows = await self._database.read(partial(_all, query=page))
            for row in rows:
                yield _payment(row)
            if len(rows) < _PAGE:
                return
            last = rows[-1].paid_at, rows[-1].number

    async def takings(self, period: Period) -> Takings:
        """Add up a period."""
        amount = func.coalesce(func.sum(settlements.c.amount_msat), 0)
        whole = select(func.count(), amount).where(*self._during(period))
        again = (
            select(func.count(), amount)
            .select_from(checkouts)
            .join(settlements, _of_checkout())
            .join(_settling, _settles())
            .where(checkouts.c.store == self._store, checkouts.c.overpaid_msat > 0, checkouts.c.card.is_(None))
            .where(settlements.c.number > _settling.c.number, *self._during(period))
        )

        def add_up(connection: Connection) -> list[int]:
            return [int(each) for query in (whole, again) for each in connection.execute(query).one()]

        count, msat, doubles, twice = await self._database.read(add_up)
        return Takings(
            count=count - doubles,
            received=LightMoney.from_msat(msat - twice),
            doubles=doubles,
            given_twice=LightMoney.from_msat(twice),
        )

    def _during(self, period: Period) -> tuple[ColumnElement[bool], ...]:
        paid_at = settlements.c.paid_at
        return settlements.c.store == self._store, paid_at >= period.begins_ms, paid_at < period.ends_ms

    def _below(self, query: Select[Any], before: int | None) -> Select[Any]:
        query = query.where(settlements.c.store == self._store).order_by(settlements.c.number.desc())
        return query if before is None else query.where(settlements.c.number < before)

    def _meant(self, words: str) -> Iterable[ColumnElement[bool]]:
        """Give what words may mean: each is a condition that an index answers."""
        if not words:
            return
        yield settlements.c.external_id == words
        if _HEX.fullmatch(words.lower()):
            begin = words.lower()
            yield and_(settlements.c.payment_hash >= begin, settlements.c.payment_hash < begin + _AFTER_HEX)
            subject = settlements.c.subject
            yield and_(settlements.c.purpose == CHECKOUT, subject >= begin, subject < begin + _AFTER_HEX)
        if (amount := _AMOUNT.fullmatch(words)) is not None:
            sat = int(re.sub(r"[ ,]", "", amount[1]))
            msat = min(sat, LightMoney.MAX.msat // 1_000) * 1_000
            yield settlements.c.amount_msat.between(msat, msat + msat // _ABOVE + 999)

    async def _read(self, query: Select[Any]) -> list[Payment]:
        return [_payment(row) for row in await self._database.read(partial(_all, query=query))]


def _all(connection: Connection, query: Select[Any]) -> Sequence[Row[Any]]:
    return connection.execute(query).all()


def _of_checkout() -> ColumnElement[bool]:
    """Join a payment and the checkout that it is for."""
    return and_(
        settlements.c.store == checkouts.c.store,
        settlements.c.purpose == CHECKOUT,
        settlements.c.subject == checkouts.c.id,
    )


def _settles() -> ColumnElement[bool]:
    """Join a checkout and the payment that settled it."""
    return and_(_settling.c.store == checkouts.c.store, _settling.c.payment_hash == checkouts.c.paid_hash)


def _joined() -> Select[Any]:
    of_invoice = and_(
        host_invoices.c.store == settlements.c.store, host_invoices.c.payment_hash == settlements.c.payment_hash
    )
    return (
        select(
            settlements,
            host_invoices.c.description,
            host_invoices.c.comment,
            host_invoices.c.amount_msat.label("invoice_msat"),
            checkouts.c.amount_msat.label("checkout_msat"),
            checkouts.c.description.label("checkout_description"),
            checkouts.c.expires_at,
            checkouts.c.card,
            checkouts.c.fiat,
            _settling.c.number.label("settled_by"),
        )
        .select_from(settlements)
        .outerjoin(host_invoices, of_invoice)
        .outerjoin(checkouts, _of_checkout())
        .outerjoin(_settling, _settles())
    )


def _payment(row: Row[Any]) -> Payment:
    of_checkout = row.checkout_msat is not None
    asked = row.checkout_msat if of_checkout else row.invoice_msat
    double = row.settled_by is not None and row.settled_by < row.number
    return Payment(
        number=row.number,
        payment_hash=row.payment_hash,
        paid_at=from_ms(row.paid_at),
        kind=_kind(row),
        reference=row.external_id,
        checkout=row.subject if of_checkout else None,
        description=row.checkout_description if of_checkout else _in_words(row.description or ""),
        comment=row.comment or "",
        fiat=row.fiat,
        asked=None if asked is None else LightMoney.from_msat(asked),
        received=LightMoney.from_msat(row.amount_msat),
        double=double,
        to_give_back=double and row.card is None,
        late=of_checkout and row.paid_at > row.expires_at,
    )


def _in_words(description: str) -> str:
    """Return what an invoice was for; of LNURL's metadata (LUD-06) the text alone."""
    if not description.startswith("[["):
        return description
    try:
        entries = json.loads(description)
        text = next(str(entry[1]) for entry in entries if entry[0] == "text/plain")
        text.encode()  # half a character, which JSON can spell, can be written to no page
    except (ValueError, RecursionError, IndexError, KeyError, TypeError, StopIteration):
        return description
    return text


def _kind(row: Row[Any]) -> str:
    if row.purpose == CHECKOUT:
        return "Checkout" if row.card is None else "Card"
    return {ADDRESS: "Address", FLASHCARD: "Card"}.get(row.purpose, "API")
