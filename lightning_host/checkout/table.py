"""Checkouts as they are remembered: one per thing to be paid, with however many BOLT11s it takes.

A checkout lasts 15 minutes; some wallets' invoices live for one. So a checkout has many invoices, one after the other,
and the first payment to any of them settles it. A payment to a second one is money too: it is added to `overpaid`.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, bindparam, insert, or_, select, update

from connection_strings import LightMoney
from lightning_host.database import from_ms, insert_if_new, metadata, now_ms, to_ms
from lightning_host.database.lists import newest_first

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.engine import Row

    from connection_strings import LightningInvoice
    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement

__all__ = [
    "PURPOSE",
    "Checkout",
    "CheckoutStatus",
    "CheckoutTable",
    "checkouts_table",
    "find_checkouts",
    "settle_checkouts",
]

PURPOSE: Final = "checkout"
"""The purpose of invoices that belong to checkouts; their subject is the checkout's id."""

_log: Final = logging.getLogger("lightning_host")
_checkouts: Final = Table(
    "host_checkouts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("store", String(64), nullable=False),
    Column("amount_msat", BigInteger, nullable=False),
    Column("fiat", String(64)),
    Column("description", Text, nullable=False),
    Column("external_id", Text),
    Column("redirect_url", Text),
    Column("card", String(32)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("payment_hash", String(64)),
    Column("bolt11", Text),
    Column("bolt11_msat", BigInteger),
    Column("bolt11_created_at", BigInteger),
    Column("bolt11_expires_at", BigInteger),
    Column("invoices", Integer, nullable=False),
    Column("renew_after", BigInteger, nullable=False),
    Column("received_msat", BigInteger, nullable=False),
    Column("overpaid_msat", BigInteger, nullable=False),
    Column("paid_at", BigInteger),
    Column("paid_hash", String(64)),
    Index("host_checkouts_by_time", "store", "created_at", "id"),
)
Index(
    "host_checkouts_overpaid",
    _checkouts.c.store,
    sqlite_where=_checkouts.c.overpaid_msat > 0,
    postgresql_where=_checkouts.c.overpaid_msat > 0,
)
checkouts_table: Final = _checkouts
"""The same, for rooms that read it together with tables of their own."""

_orders: Final = Table(
    "host_checkout_orders",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("external_id", String(200), primary_key=True),
    Column("checkout", String(32), nullable=False),
)
"""Checkouts that were opened once and for all per name of the shop's own."""
_TIMES: Final = ("created_at", "expires_at", "bolt11_created_at", "bolt11_expires_at", "renew_after", "paid_at")
_CLOSE: Final = timedelta(seconds=15)
"""For so short a time before its end a checkout needs no further code."""

_SETTLE: Final = (
    update(_checkouts)
    .where(_checkouts.c.id == bindparam("checkout"))
    .values({name: bindparam(f"new_{name}") for name in ("received_msat", "overpaid_msat", "paid_at", "paid_hash")})
)

_LEASE_MS: Final = 8_000
"""How long a replica may take to renew before another one tries: longer than any wallet takes to make an invoice."""


class CheckoutStatus(enum.StrEnum):
    """Where a checkout stands, in the words of BTCPay's invoices."""

    NEW = "New"
    SETTLED = "Settled"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """Something to be paid.

    Attributes:
        amount: What it costs.
        fiat: The same in the currency that the wallet holds, in words; None when the wallet does not tell.
        description: What for; untrusted, escape it where it is shown.
        external_id: The shop's own name for it.
        redirect_url: Where the page leads back to.
        card: The flashcard that is topped up by it.
        payment_hash: Of the newest invoice, as the four that follow.
        bolt11_amount: What the BOLT11 asks for: a little more than `amount` where the wallet can't do better.
        invoices: How many there have been.
        renew_after: Before this time nobody makes a new invoice: somebody is at it, or there was a failure.
        received: What was received in all.
        overpaid: What of it came after it had been settled.
        paid_hash: The payment hash of the payment that settled it.

    """

    id: str
    store: str
    amount: LightMoney
    fiat: str | None
    description: str
    external_id: str | None
    redirect_url: str | None
    card: str | None
    created_at: datetime
    expires_at: datetime
    payment_hash: str | None
    bolt11: str | None
    bolt11_amount: LightMoney | None
    bolt11_created_at: datetime | None
    bolt11_expires_at: datetime | None
    invoices: int
    renew_after: datetime
    received: LightMoney
    overpaid: LightMoney
    paid_at: datetime | None
    paid_hash: str | None

    def status(self, now: datetime) -> CheckoutStatus:
        """Where it stands at a time; a payment that comes late settles it, too."""
        if self.paid_at is not None:
            return CheckoutStatus.SETTLED
        return CheckoutStatus.NEW if now < self.expires_at else CheckoutStatus.EXPIRED

    def payable(self, now: datetime) -> bool:
        """Whether its BOLT11 can be paid at a time."""
        alive = self.bolt11_expires_at is not None and now < self.bolt11_expires_at
        return alive and self.status(now) is CheckoutStatus.NEW

    @property
    def place(self) -> tuple[int | str, ...]:
        """Where it stands in a list, as `newest_first` has it."""
        return to_ms(self.created_at), self.id

    @property
    def code_dies_early(self) -> bool:
        """Whether its BOLT11 can be paid for a time that is clearly shorter than the checkout's own."""
        return self.bolt11_expires_at is not None and self.bolt11_expires_at + _CLOSE < self.expires_at

    @property
    def paid_late(self) -> bool:
        """Whether it was settled after its time was over."""
        return self.paid_at is not None and self.paid_at > self.expires_at


class CheckoutTable:
    """Writes and reads checkouts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        checkout_id: str,
        store_id: str,
        amount: LightMoney,
        invoice: LightningInvoice | None,
        *,
        description: str,
        seconds: int,
        external_id: str | None = None,
        redirect_url: str | None = None,
        card: str | None = None,
        fiat: str | None = None,
        once: bool = False,
    ) -> Checkout:
        """Remember a new checkout together with its first invoice, if it has one.

        With `once` there is one checkout per store and `external_id`: if one exists by now, that is returned instead.
        """
        now = now_ms()
        row = {
            "id": checkout_id,
            "store": store_id,
            "amount_msat": amount.msat,
            "fiat": fiat,
            "description": description,
            "external_id": external_id,
            "redirect_url": redirect_url,
            "card": card,
            "created_at": now,
            "expires_at": now + seconds * 1_000,
            "invoices": 0,
            "renew_after": 0,
            "received_msat": 0,
            "overpaid_msat": 0,
        }
        if invoice is not None:
            row |= {**_of_invoice(invoice), "invoices": 1}

        def add(connection: Connection) -> Checkout:
            if once and external_id is not None:
                key = {"store": store_id, "external_id": external_id, "checkout": checkout_id}
                earlier = None
                if not insert_if_new(connection, _orders, key):
                    earlier = _of_order(connection, store_id, external_id)
                if earlier is not None:
                    return earlier
            connection.execute(insert(_checkouts).values(row))
            return find_checkouts(connection, [checkout_id])[0]

        return await self._database.write(add)

    async def find_order(self, store_id: str, external_id: str) -> Checkout | None:
        """Return the one checkout that was opened `once` for an `external_id`, None when none was."""
        return await self._database.read(lambda connection: _of_order(connection, store_id, external_id))

    async def find(self, checkout_id: str) -> Checkout | None:
        """Return a checkout, None when there is none with this id."""
        return next(iter(await self.find_many([checkout_id])), None)

    async def find_many(self, ids: Collection[str]) -> list[Checkout]:
        """Return those checkouts that exist."""
        return await self._database.read(lambda connection: find_checkouts(connection, ids))

    async def list(
        self,
        store_id: str,
        *,
        before: Checkout | None = None,
        after: Checkout | None = None,
        offset: int = 0,
        limit: int,
    ) -> list[Checkout]:
        """List the checkouts of a store, newest first; a part of them as `newest_first` has it."""
        part = partial(
            newest_first,
            query=select(_checkouts).where(_checkouts.c.store == store_id),
            columns=(_checkouts.c.created_at, _checkouts.c.id),
            before=before,
            after=after,
            offset=offset,
            limit=limit,
        )
        return [_read(row) for row in await self._database.read(part)]

    async def lease(self, checkout: Checkout) -> bool:
        """Take it upon oneself to renew the invoice; False when somebody else has done so, or has begun."""
        now = now_ms()
        same = _checkouts.c.payment_hash == checkout.payment_hash
        if checkout.payment_hash is None:
            same = _checkouts.c.payment_hash.is_(None)
        statement = (
            update(_checkouts)
            .where(_checkouts.c.id == checkout.id, same, _checkouts.c.renew_after <= now)
            .where(_checkouts.c.paid_at.is_(None), _checkouts.c.expires_at > now)
            .values(renew_after=now + _LEASE_MS)
        )
        return await self._database.write(lambda connection: connection.execute(statement).rowcount == 1)

    async def postpone(self, checkout: Checkout, seconds: float) -> None:
        """Let nobody renew the invoice for a while."""
        until = now_ms() + int(seconds * 1_000)
        statement = update(_checkouts).where(_checkouts.c.id == checkout.id).values(renew_after=until)
        await self._database.write(lambda connection: connection.execute(statement))

    async def renew(self, checkout: Checkout, invoice: LightningInvoice) -> None:
        """Show another invoice from now on, unless a later one is shown already."""
        expires_at = to_ms(invoice.expires_at)
        later = or_(_checkouts.c.bolt11_expires_at.is_(None), _checkouts.c.bolt11_expires_at <= expires_at)
        values = {**_of_invoice(invoice), "invoices": _checkouts.c.invoices + 1, "renew_after": 0}
        statement = update(_checkouts).where(_checkouts.c.id == checkout.id, later).values(values)
        await self._database.write(lambda connection: connection.execute(statement))


def find_checkouts(connection: Connection, ids: Collection[str]) -> list[Checkout]:
    """Return those checkouts that exist."""
    return [_read(row) for row in connection.execute(select(_checkouts).where(_checkouts.c.id.in_(ids)))]


def settle_checkouts(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Enter payments to checkouts; a handler of settlements, so each counts once."""
    payments = [settlement for settlement in settlements if settlement.purpose == PURPOSE]
    if not payments:
        return
    found = find_checkouts(connection, {payment.subject for payment in payments})
    checkouts = {checkout.id: checkout for checkout in found}
    for payment in payments:
        checkout = checkouts.get(payment.subject)
        if checkout is None:
            _log.error("store %s: %s paid a checkout that is unknown", payment.store, payment.payment_hash)
        else:
            checkouts[checkout.id] = _with_payment(checkout, payment)
    if changed := [_what_settles(checkout) for checkout in checkouts.values()]:
        connection.execute(_SETTLE, changed)


def _with_payment(checkout: Checkout, payment: Settlement) -> Checkout:
    """Return a checkout as it is after a payment to it."""
    received = checkout.received + payment.amount
    if checkout.paid_at is not None:
        done = "give it back" if checkout.card is None else f"credited to flashcard {checkout.card}"
        words = "store %s: checkout %s was paid once more: %s by %s; %s"
        _log.warning(words, payment.store, checkout.id, payment.amount, payment.payment_hash, done)
        return replace(checkout, received=received, overpaid=checkout.overpaid + payment.amount)
    if received < checkout.amount:
        words = "store %s: checkout %s received %s of %s"
        _log.warning(words, payment.store, checkout.id, received, checkout.amount)
        return replace(checkout, received=received)
    return replace(checkout, received=received, paid_at=payment.paid_at, paid_hash=payment.payment_hash)


def _what_settles(checkout: Checkout) -> dict[str, Any]:
    return {
        "checkout": checkout.id,
        "new_received_msat": checkout.received.msat,
        "new_overpaid_msat": checkout.overpaid.msat,
        "new_paid_at": None if checkout.paid_at is None else to_ms(checkout.paid_at),
        "new_paid_hash": checkout.paid_hash,
    }


def _of_order(connection: Connection, store_id: str, external_id: str) -> Checkout | None:
    query = (
        select(_checkouts)
        .join(_orders, _orders.c.checkout == _checkouts.c.id)
        .where(_orders.c.store == store_id, _orders.c.external_id == external_id)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _read(row)


def _of_invoice(invoice: LightningInvoice) -> dict[str, Any]:
    return {
        "payment_hash": invoice.payment_hash,
        "bolt11": invoice.bolt11,
        "bolt11_msat": None if invoice.amount is None else invoice.amount.msat,
        "bolt11_created_at": now_ms(),
        "bolt11_expires_at": to_ms(invoice.expires_at),
    }


def _read(row: Row[Any]) -> Checkout:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    for name in _TIMES:
        values[name] = None if values[name] is None else from_ms(values[name])
    bolt11 = values.pop("bolt11_msat")
    return Checkout(
        amount=LightMoney.from_msat(values.pop("amount_msat")),
        bolt11_amount=None if bolt11 is None else LightMoney.from_msat(bolt11),
        received=LightMoney.from_msat(values.pop("received_msat")),
        overpaid=LightMoney.from_msat(values.pop("overpaid_msat")),
        **values,
    )
