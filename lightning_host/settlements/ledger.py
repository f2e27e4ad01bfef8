"""The table of settled invoices, and where each store's listener stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, and_, func, select

from connection_strings import LightMoney
from lightning_host.database import Database, from_ms, metadata, now_ms, to_ms
from lightning_host.invoices import HostInvoices, host_invoices, read_invoice_row

if TYPE_CHECKING:
    from sqlalchemy.engine import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from connection_strings import LightningInvoice
    from lightning_host.invoices import HostInvoice

__all__ = ["Filter", "Settlement", "SettlementLedger", "settlements_table"]

_settlements: Final = Table(
    "host_settlements",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("payment_hash", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("purpose", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("external_id", Text),
    Column("amount_msat", BigInteger, nullable=False),
    Column("preimage", String(64)),
    Column("paid_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("host_settlements_by_subject", "store", "purpose", "subject"),
    Index("host_settlements_by_number", "store", "number"),
    Index("host_settlements_by_time", "store", "paid_at", "number", "amount_msat"),
    Index("host_settlements_by_amount", "store", "amount_msat"),
    Index("host_settlements_by_reference", "store", "external_id"),
)
settlements_table: Final = _settlements
"""The same, for rooms that read it together with tables of their own."""

_cursors: Final = Table(
    "host_cursors",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("cursor", Text, nullable=False),
)

_OF_SAME_INVOICE: Final = and_(
    _settlements.c.store == host_invoices.c.store, _settlements.c.payment_hash == host_invoices.c.payment_hash
)
_JOINED: Final = "settlement_"
_NUMBERS: Final = "settlements"
_LOOK_BACK: Final = timedelta(days=2)
"""How old an open invoice may be to be asked about: longer than any wallet lets one live after it was paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A settled invoice, as recorded.

    Attributes:
        number: Its place among all settlements of this host, counted from one, in the order they were recorded.
        amount: What was received; zero while the wallet has not told how much.
        purpose: As the invoice's (see `HostInvoice`).
        subject: As the invoice's.
        preimage: None while the wallet has not told it: it may come to know it after the payment.

    """

    store: str
    payment_hash: str
    number: int
    purpose: str
    subject: str
    external_id: str | None
    amount: LightMoney
    preimage: str | None
    paid_at: datetime
    recorded_at: datetime

    @property
    def complete(self) -> bool:
        """Whether nothing is left that the wallet may tell later."""
        return self.preimage is not None and self.amount != LightMoney.ZERO


@dataclass(frozen=True, slots=True)
class Filter:
    """Which settlements are meant: those of one store, and perhaps of one purpose or subject (see `HostInvoice`)."""

    store: str
    purpose: str | None = None
    subject: str | None = None

    def fits(self, settlement: Settlement) -> bool:
        """Whether a settlement is meant."""
        return (
            settlement.store == self.store
            and self.purpose in (None, settlement.purpose)
            and self.subject in (None, settlement.subject)
        )


class SettlementLedger:
    """Reads and writes settlements and cursors."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._invoices = HostInvoices(database)

    async def record(self, connection: AsyncConnection, store_id: str, invoice: LightningInvoice) -> Settlement | None:
        """Record a paid invoice of this host; None when it is none, or was recorded before."""
        if await self.find(store_id, invoice.payment_hash, connection=connection) is not None:
            return None
        made_for = await self._invoices.find(store_id, invoice.payment_hash, connection=connection)
        if made_for is None:
            return None
        settlement = Settlement(
            store=store_id,
            payment_hash=invoice.payment_hash,
            number=await self._database.next_number(connection, _NUMBERS),
            purpose=made_for.purpose,
            subject=made_for.subject,
            external_id=made_for.external_id,
            amount=invoice.amount_received or invoice.amount or LightMoney.ZERO,
            preimage=invoice.preimage,
            paid_at=invoice.paid_at or datetime.now(UTC),
            recorded_at=from_ms(now_ms()),
        )
        new = await self._database.insert_if_new(connection, _settlements, _row(settlement))
        return settlement if new else None

    async def complete(self, settlement: Settlement, invoice: LightningInvoice) -> Settlement:
        """Add what the wallet has told since it was recorded; what is known stays. Returns it as it is then."""
        amount = settlement.amount or invoice.amount_received or LightMoney.ZERO
        told = replace(settlement, amount=amount, preimage=settlement.preimage or invoice.preimage)
        if told != settlement:
            same = and_(_settlements.c.store == told.store, _settlements.c.payment_hash == told.payment_hash)
            new = {"amount_msat": told.amount.msat, "preimage": told.preimage}
            async with self._database.begin() as connection:
                await connection.execute(_settlements.update().where(same).values(new))
        return told

    async def find(
        self, store_id: str, payment_hash: str, *, connection: AsyncConnection | None = None
    ) -> Settlement | None:
        """Return the settlement of an invoice, None when none was recorded."""
        query = select(_settlements).where(
            _settlements.c.store == store_id, _settlements.c.payment_hash == payment_hash
        )
        async with self._database.within(connection) as reading:
            row = (await reading.execute(query)).one_or_none()
        return None if row is None else _read(row)

    async def invoices(
        self,
        store_id: str,
        *,
        settled_only: bool,
        external_id: str | None,
        since: int,
        until: int | None,
        offset: int,
        limit: int,
    ) -> list[tuple[HostInvoice, Settlement | None]]:
        """List the invoices of a store with their settlements, newest first.

        Args:
            store_id: Which store.
            settled_only: Only what was paid; times are those of the payment then, else those of the invoice.
            external_id: Only what the caller finds by this.
            since: From when on, in ms since 1970.
            until: Until when, in ms, the moment itself included; None for no end.
            offset: How many of those are left out first.
            limit: How many at most.

        """
        time = _settlements.c.paid_at if settled_only else host_invoices.c.created_at
        newest = _settlements.c.number if settled_only else time
        query = (
            select(host_invoices, *_settlement_columns())
            .outerjoin(_settlements, _OF_SAME_INVOICE)
            .where(host_invoices.c.store == store_id, time >= since)
            .order_by(newest.desc(), host_invoices.c.payment_hash)
        )
        if until is not None:
            query = query.where(time <= until)
        if external_id is not None:
            query = query.where(host_invoices.c.external_id == external_id)
        async with self._database.begin() as connection:
            rows = (await connection.execute(query.offset(offset).limit(limit))).all()
        return [(read_invoice_row(row), _read_joined(row)) for row in rows]

    async def after(self, number: int, *, wanted: Filter | None = None, limit: int) -> list[Settlement]:
        """Return the settlements above a number, in their order; only those that are wanted, if that is said."""
        query = select(_settlements).where(_settlements.c.number > number).order_by(_settlements.c.number).limit(limit)
        if wanted is not None:
            query = query.where(_settlements.c.store == wanted.store)
            if wanted.purpose is not None:
                query = query.where(_settlements.c.purpose == wanted.purpose)
            if wanted.subject is not None:
                query = query.where(_settlements.c.subject == wanted.subject)
        async with self._database.begin() as connection:
            return [_read(row) for row in await connection.execute(query)]

    async def prove(self) -> None:
        """Prove that a settlement could be recorded now."""
        await self._database.prove(_NUMBERS)

    async def last_number(self) -> int:
        """Return the number of the latest settlement, zero for none."""
        async with self._database.begin() as connection:
            return int((await connection.execute(select(func.max(_settlements.c.number)))).scalar() or 0)

    async def totals(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return count and millisatoshi of all settlements, by store and purpose."""
        query = select(
            _settlements.c.store, _settlements.c.purpose, func.count(), func.sum(_settlements.c.amount_msat)
        ).group_by(_settlements.c.store, _settlements.c.purpose)
        async with self._database.begin() as connection:
            return {(row[0], row[1]): (int(row[2]), int(row[3])) for row in await connection.execute(query)}

    async def open_invoices(self, store_id: str) -> list[str]:
        """Return the payment hashes of this store's recent invoices that are not recorded as settled."""
        since = to_ms(datetime.now(UTC) - _LOOK_BACK)
        query = (
            select(host_invoices.c.payment_hash)
            .outerjoin(_settlements, _OF_SAME_INVOICE)
            .where(host_invoices.c.store == store_id, host_invoices.c.created_at > since)
            .where(_settlements.c.number.is_(None))
            .order_by(host_invoices.c.created_at)
        )
        async with self._database.begin() as connection:
            return list((await connection.execute(query)).scalars())

    async def cursor(self, store_id: str) -> str | None:
        """Return where the store's listener stood, None when it never listened."""
        async with self._database.begin() as connection:
            found = await connection.execute(select(_cursors.c.cursor).where(_cursors.c.store == store_id))
            return found.scalar_one_or_none()

    async def keep_cursor(self, store_id: str, cursor: str, *, connection: AsyncConnection | None = None) -> None:
        """Remember where the store's listener stands."""
        async with self._database.within(connection) as writing:
            changed = await writing.execute(_cursors.update().where(_cursors.c.store == store_id).values(cursor=cursor))
            if changed.rowcount == 0:
                await self._database.insert_if_new(writing, _cursors, {"store": store_id, "cursor": cursor})


def _row(settlement: Settlement) -> dict[str, Any]:
    return {
        "store": settlement.store,
        "payment_hash": settlement.payment_hash,
        "number": settlement.number,
        "purpose": settlement.purpose,
        "subject": settlement.subject,
        "external_id": settlement.external_id,
        "amount_msat": settlement.amount.msat,
        "preimage": settlement.preimage,
        "paid_at": to_ms(settlement.paid_at),
        "recorded_at": to_ms(settlement.recorded_at),
    }


def _settlement_columns() -> list[Any]:
    """Return the columns of settlements, named apart from those of the invoices they are joined with."""
    return [column.label(f"{_JOINED}{column.name}") for column in _settlements.c]


def _read_joined(row: Row[Any]) -> Settlement | None:
    """Read the settlement in a joined row; None where there is none."""
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    values = {column.name: mapping[f"{_JOINED}{column.name}"] for column in _settlements.c}
    return None if values["number"] is None else _settlement(values)


def _read(row: Row[Any]) -> Settlement:
    return _settlement(dict(row._mapping))  # noqa: SLF001 - as above


def _settlement(values: dict[str, Any]) -> Settlement:
    for name in ("paid_at", "recorded_at"):
        values[name] = from_ms(values[name])
    return Settlement(amount=LightMoney.from_msat(values.pop("amount_msat")), **values)
