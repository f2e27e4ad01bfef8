"""The table of settled invoices, and where each store's listener stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, String, Table, Text, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from connection_strings import LightMoney
from lightning_host.database import Database, from_ms, insert_if_new, metadata, now_ms, take_numbers, to_ms
from lightning_host.invoices import host_invoices, read_invoice_row
from lightning_host.settlements.totals import add_next, correct, find_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy.engine import Row

    from connection_strings import LightningInvoice
    from lightning_host.invoices import HostInvoice

__all__ = ["Filter", "Settlement", "SettlementLedger", "keep_cursor", "record_settled", "settlements_table"]

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
    Index("host_settlements_by_reference", "store", "external_id", "number"),
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
_ADDED_AT_ONCE: Final = 10_000
_JOINED: Final = "settlement_"
_NUMBERS: Final = "settlements"
_LOOK_BACK: Final = timedelta(days=2)
"""For how long after its expiry an open invoice is asked about: a database put back from yesterday misses what was paid
since, and what was paid in time may be reported late."""


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

    async def complete(self, settlement: Settlement, invoice: LightningInvoice) -> Settlement:
        """Add what the wallet has told since it was recorded; what is known stays. Returns it as it is then."""
        amount = settlement.amount or invoice.amount_received or LightMoney.ZERO
        told = replace(settlement, amount=amount, preimage=settlement.preimage or invoice.preimage)
        if told != settlement:
            same = and_(_settlements.c.store == told.store, _settlements.c.payment_hash == told.payment_hash)
            new = {"amount_msat": told.amount.msat, "preimage": told.preimage}
            statement = _settlements.update().where(same, _settlements.c.amount_msat == settlement.amount.msat)

            def add(connection: Connection) -> None:
                # Another replica may have added it meanwhile: then nothing is left to be done.
                added = connection.execute(statement.values(new)).rowcount == 1
                if added and told.amount != settlement.amount:
                    more = (told.amount - settlement.amount).msat
                    correct(connection, told.store, told.purpose, told.number, more)

            await self._database.write(add)
        return told

    async def find(self, store_id: str, payment_hash: str) -> Settlement | None:
        """Return the settlement of an invoice, None when none was recorded."""
        query = select(_settlements).where(
            _settlements.c.store == store_id, _settlements.c.payment_hash == payment_hash
        )
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
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
        query = select(host_invoices, *_settlement_columns())
        if settled_only:
            time, last = _settlements.c.paid_at, _settlements.c.number
            query = query.join(_settlements, _OF_SAME_INVOICE).where(_settlements.c.store == store_id)
        else:
            time, last = host_invoices.c.created_at, host_invoices.c.payment_hash
            query = query.outerjoin(_settlements, _OF_SAME_INVOICE).where(host_invoices.c.store == store_id)
        query = query.where(time >= since).order_by(time.desc(), last.desc())
        if until is not None:
            query = query.where(time <= until)
        if external_id is not None:
            query = query.where(host_invoices.c.external_id == external_id)
        query = query.offset(offset).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
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
        return await self._database.read(lambda connection: [_read(row) for row in connection.execute(query)])

    async def prove(self) -> None:
        """Prove that a settlement could be recorded now."""
        await self._database.prove(_NUMBERS)

    async def last_number(self) -> int:
        """Return the number of the latest settlement, zero for none."""
        query = select(func.max(_settlements.c.number))
        return int(await self._database.read(lambda connection: connection.execute(query).scalar()) or 0)

    async def totals(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return count and millisatoshi of all settlements, by store and purpose."""
        while await self._database.write(_add_next) == _ADDED_AT_ONCE:
            pass
        return await self._database.read(find_sums)

    async def open_invoices(self, store_id: str) -> list[str]:
        """Return the payment hashes of this store's invoices that may have been paid of late, and are not recorded."""
        since = to_ms(datetime.now(UTC) - _LOOK_BACK)
        query = (
            select(host_invoices.c.payment_hash)
            .outerjoin(_settlements, _OF_SAME_INVOICE)
            .where(host_invoices.c.store == store_id, host_invoices.c.expires_at > since)
            .where(_settlements.c.number.is_(None))
            .order_by(host_invoices.c.expires_at)
        )
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))

    async def cursor(self, store_id: str) -> str | None:
        """Return where the store's listener stood, None when it never listened."""
        query = select(_cursors.c.cursor).where(_cursors.c.store == store_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())


def record_settled(connection: Connection, store_id: str, paid: Sequence[LightningInvoice]) -> list[Settlement]:
    """Record paid invoices of a store, and return what was recorded: not those of other hosts, nor those of before.

    Several are recorded by as many statements as one.
    """
    query = select(host_invoices).outerjoin(_settlements, _OF_SAME_INVOICE)
    query = query.where(host_invoices.c.store == store_id, _settlements.c.number.is_(None))
    query = query.where(host_invoices.c.payment_hash.in_({invoice.payment_hash for invoice in paid}))
    made_for = {row.payment_hash: read_invoice_row(row) for row in connection.execute(query)}
    if not made_for:
        return []
    # What another replica records meanwhile is there once this lock is given.
    number = take_numbers(connection, _NUMBERS, len(made_for)) - len(made_for)
    settlements: list[Settlement] = []
    for invoice in paid:
        made = made_for.pop(invoice.payment_hash, None)
        if made is not None:
            number += 1
            settlements.append(_settled(made, invoice, number))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insertion = dialect.insert(_settlements).on_conflict_do_nothing().returning(_settlements.c.payment_hash)
    new = set(connection.execute(insertion, [_row(settlement) for settlement in settlements]).scalars())
    return [settlement for settlement in settlements if settlement.payment_hash in new]


def _add_next(connection: Connection) -> int:
    return add_next(connection, _settlements, _ADDED_AT_ONCE)


def keep_cursor(connection: Connection, store_id: str, cursor: str) -> None:
    """Remember where a store's listener stands."""
    changed = connection.execute(_cursors.update().where(_cursors.c.store == store_id).values(cursor=cursor))
    if changed.rowcount == 0:
        insert_if_new(connection, _cursors, {"store": store_id, "cursor": cursor})


def _settled(made: HostInvoice, invoice: LightningInvoice, number: int) -> Settlement:
    return Settlement(
        store=made.store,
        payment_hash=made.payment_hash,
        number=number,
        purpose=made.purpose,
        subject=made.subject,
        external_id=made.external_id,
        amount=invoice.amount_received or invoice.amount or LightMoney.ZERO,
        preimage=invoice.preimage,
        paid_at=invoice.paid_at or datetime.now(UTC),
        recorded_at=from_ms(now_ms()),
    )


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
