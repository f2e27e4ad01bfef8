"""Every invoice that this host has made, and what it was made for.

The wallet knows the invoices, too; this table adds the purpose, so that a settlement finds its card, its checkout or
its LNURL request again. A row is written before the BOLT11 is handed out: nobody can pay an invoice that has none.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - dataclass fields are read at run time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, select

from connection_strings import LightMoney, LightningError, RateLimited
from lightning_host.database import from_ms, metadata, now_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection
    from sqlalchemy.engine import Row

    from connection_strings import CreateInvoiceParams, LightningInvoice
    from lightning_host.database import Database
    from lightning_host.stores import Store

__all__ = [
    "HostInvoice",
    "HostInvoices",
    "comments_and_ends_of",
    "comments_of",
    "find_invoice",
    "host_invoices",
    "read_invoice_row",
]

host_invoices: Final = Table(
    "host_invoices",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("payment_hash", String(64), primary_key=True),
    Column("purpose", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("description", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("external_id", Text),
    Column("bolt11", Text, nullable=False),
    Column("amount_msat", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("host_invoices_by_subject", "store", "purpose", "subject", "created_at", "payment_hash"),
    Index("host_invoices_by_time", "store", "created_at", "payment_hash"),
    Index("host_invoices_by_expiry", "store", "expires_at"),
)
_HAS_EXTERNAL_ID: Final = host_invoices.c.external_id.is_not(None)
Index(
    "host_invoices_by_external_id",
    *(host_invoices.c[name] for name in ("store", "external_id", "created_at", "payment_hash")),
    sqlite_where=_HAS_EXTERNAL_ID,
    postgresql_where=_HAS_EXTERNAL_ID,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInvoice:
    """An invoice and what it was made for.

    Attributes:
        purpose: Which subject made it: `greenfield`, `lnurl`, `phoenixd`, `checkout`, `flashcard`.
        subject: What within that subject it is for, such as a card's or a checkout's id; may be empty.
        description: The text of the BOLT11, or the text whose hash it carries.
        comment: What the payer said (LUD-12); untrusted, escape it where it is shown.
        external_id: What the caller wants to find it by.

    """

    store: str
    payment_hash: str
    purpose: str
    subject: str
    description: str
    comment: str
    external_id: str | None
    bolt11: str
    amount: LightMoney | None
    created_at: datetime
    expires_at: datetime


class HostInvoices:
    """Makes invoices for all subjects and finds them again.

    Attributes:
        failed: How many invoices the wallets did not make, by store and purpose, in this process.

    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.failed: Counter[tuple[str, str]] = Counter()
        self._blocked: dict[str, tuple[float, str]] = {}

    @property
    def blocked(self) -> dict[str, str]:
        """The stores whose wallets make no invoices right now, and why, as far as this process was told."""
        now = time.monotonic()
        return {store: words for store, (until, words) in self._blocked.items() if now < until}

    async def create(
        self,
        store: Store,
        params: CreateInvoiceParams,
        *,
        purpose: str,
        subject: str = "",
        comment: str = "",
        external_id: str | None = None,
    ) -> LightningInvoice:
        """Have the store's wallet make an invoice, and remember what for.

        Raises:
            LightningError: The wallet makes none.

        """
        try:
            invoice = await store.client.create_invoice(params)
        except LightningError as error:
            self.failed[store.id, purpose] += 1
            if isinstance(error, RateLimited) and error.blocked:
                self._blocked[store.id] = time.monotonic() + error.retry_after.total_seconds(), error.words
            raise
        self._blocked.pop(store.id, None)
        row = {
            "store": store.id,
            "payment_hash": invoice.payment_hash,
            "purpose": purpose,
            "subject": subject,
            "description": params.description,
            "comment": comment,
            "external_id": external_id,
            "bolt11": invoice.bolt11,
            "amount_msat": None if invoice.amount is None else invoice.amount.msat,
            "created_at": now_ms(),
            "expires_at": to_ms(invoice.expires_at),
        }
        await self._database.add(host_invoices, row)
        return invoice

    async def find(self, store_id: str, payment_hash: str) -> HostInvoice | None:
        """Return the invoice of a store, None when this host made none with this payment hash."""
        return await self._database.read(lambda connection: find_invoice(connection, store_id, payment_hash))

    async def newest(self, store_id: str, *, purpose: str, subject: str, limit: int) -> list[HostInvoice]:
        """Return the latest invoices that were made for a subject, newest first."""
        query = (
            select(host_invoices)
            .where(host_invoices.c.store == store_id, host_invoices.c.purpose == purpose)
            .where(host_invoices.c.subject == subject)
            .order_by(host_invoices.c.created_at.desc(), host_invoices.c.payment_hash.desc())
            .limit(limit)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [read_invoice_row(row) for row in rows]

    async def made_since(self, store_id: str, since: datetime) -> list[tuple[str, datetime]]:
        """Return what the invoices of a store that are younger than a time were made for, and when, oldest first."""
        query = (
            select(host_invoices.c.subject, host_invoices.c.created_at)
            .where(host_invoices.c.store == store_id, host_invoices.c.created_at > to_ms(since))
            .order_by(host_invoices.c.created_at)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [(subject, from_ms(made_at)) for subject, made_at in rows]


def find_invoice(connection: Connection, store_id: str, payment_hash: str) -> HostInvoice | None:
    """Return the invoice of a store, None when this host made none with this payment hash."""
    query = select(host_invoices).where(host_invoices.c.store == store_id, host_invoices.c.payment_hash == payment_hash)
    row = connection.execute(query).one_or_none()
    return None if row is None else read_invoice_row(row)


def comments_of(connection: Connection, store_id: str, hashes: Iterable[str]) -> dict[str, str]:
    """Return what the payers of a store's invoices said, by payment hash (LUD-12); untrusted."""
    return {
        payment_hash: comment
        for payment_hash, (comment, _) in comments_and_ends_of(connection, store_id, hashes).items()
    }


def comments_and_ends_of(
    connection: Connection, store_id: str, hashes: Iterable[str]
) -> dict[str, tuple[str, datetime]]:
    """Return the same, and when each invoice expires."""
    query = select(host_invoices.c.payment_hash, host_invoices.c.comment, host_invoices.c.expires_at).where(
        host_invoices.c.store == store_id, host_invoices.c.payment_hash.in_(hashes)
    )
    return {row.payment_hash: (row.comment, from_ms(row.expires_at)) for row in connection.execute(query)}


def read_invoice_row(row: Row[Any]) -> HostInvoice:
    """Read a row that holds the columns of `host_invoices`, and perhaps others."""
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    values = {column.name: mapping[column.name] for column in host_invoices.c}
    amount = values.pop("amount_msat")
    for name in ("created_at", "expires_at"):
        values[name] = from_ms(values[name])
    return HostInvoice(amount=None if amount is None else LightMoney.from_msat(amount), **values)
