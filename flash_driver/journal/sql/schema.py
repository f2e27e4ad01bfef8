"""The tables of a durable journal, the same in SQLite and PostgreSQL.

Columns of `invoices` and `payments` have the names of the records' fields; `migrations` says how the tables came to be.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)

from connection_strings.lightning import LightningInvoiceStatus, LightningPaymentStatus
from flash_driver.common.log import get_logger
from flash_driver.journal.budget_rules import Bucket
from flash_driver.journal.errors import UNREADABLE, UnreadableRow
from flash_driver.journal.records import InvoiceRecord, PaymentRecord
from flash_driver.journal.wakeup import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Dialect, Row, Select

__all__ = [
    "CHANNELS",
    "INVOICE_COLUMNS",
    "PAYMENT_COLUMNS",
    "Exactly",
    "Moment",
    "Words",
    "accounts",
    "invoices",
    "logins",
    "metadata",
    "payments",
    "read_all",
    "read_invoice",
    "read_one",
    "read_payment",
    "spent",
    "values_of",
    "version",
]


T = TypeVar("T")

_log: Final = get_logger(part="journal")


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC; SQLite has no zones, so there it is UTC by agreement."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, which nobody can place."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the journal keeps aware datetimes only")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - as the base has it
        """Give the zone back."""
        return value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC)


class Exactly(TypeDecorator[Decimal]):
    """A Decimal as text, digit for digit."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as the base has it
        """Write it out."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 - as the base has it
        """Read it back."""
        return None if value is None else Decimal(value)


class Words(TypeDecorator[str]):
    """Text of other people's making: what no database takes (NUL, half a surrogate pair) becomes a replacement mark."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as the base has it
        """Replace what can't be kept."""
        if value is None:
            return None
        return value.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _words(kind: type[LightningInvoiceStatus | LightningPaymentStatus | Bucket]) -> Enum:
    return Enum(
        kind, native_enum=False, create_constraint=False, length=16, values_callable=lambda e: [m.value for m in e]
    )


CHANNELS: Final = {Topic.SETTLED: "flash_journal", Topic.MADE: "flash_journal_made"}
"""Where PostgreSQL is told what is new in an account: each notification is the account's number.

Drivers before the second channel told everything on the first.
"""

metadata: Final = MetaData()

version: Final = Table("flash_journal", metadata, Column("version", Integer, nullable=False))
"""One row: which version of the schema this is."""

_Id: Final = BigInteger().with_variant(Integer(), "sqlite")

accounts: Final = Table(
    "flash_accounts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("scope", String, nullable=False, unique=True),
    Column("journal_id", String, nullable=False),
    Column("last_settle_index", BigInteger, nullable=False),
    Column("blocked_until", Moment),
    Column("public_blocked_until", Moment),
)
"""An account, by the UUID that its server gave it. What changes its rows locks this row first."""

logins: Final = Table(
    "flash_logins",
    metadata,
    Column("fingerprint", String, primary_key=True),
    Column("account", ForeignKey(accounts.c.id), nullable=False),
    Column("learned", String),
)
"""Which account a credential opens, so that the journal can be read without asking the server; and what the server
showed to it besides (`journal.learned`)."""

invoices: Final = Table(
    "flash_invoices",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", ForeignKey(accounts.c.id), nullable=False),
    Column("payment_hash", String, nullable=False),
    Column("bolt11", String, nullable=False),
    Column("wallet_id", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("amount_msat", BigInteger),
    Column("cents", Exactly),
    Column("description", Words, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("status", _words(LightningInvoiceStatus), nullable=False),
    Column("settle_index", BigInteger),
    Column("paid_at", Moment),
    Column("amount_received_msat", BigInteger),
    Column("preimage", String),
    Column("orphan", Boolean, nullable=False),
    UniqueConstraint("account", "payment_hash"),
    UniqueConstraint("account", "settle_index"),
    Index("flash_invoices_pending", "account", "status", "expires_at", "id"),
    Index("flash_invoices_listed", "account", "id"),
    Index("flash_invoices_hash", "payment_hash"),
    Index("flash_invoices_unsettled", "expires_at"),
    Index("flash_invoices_orphans", "account", "id"),
)

spent: Final = Table(
    "flash_spent",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("bucket", _words(Bucket), nullable=False),
    Column("spent_at", Moment, nullable=False),
)
"""The budgets of new invoices: a row counts for as long as its time is within the window, then it is used again."""

payments: Final = Table(
    "flash_payments",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", ForeignKey(accounts.c.id), nullable=False),
    Column("payment_hash", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("bolt11", String, nullable=False),
    Column("wallet_id", String, nullable=False),
    Column("amount_msat", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("idempotency_key", String),
    Column("cents", Exactly),
    Column("status", _words(LightningPaymentStatus), nullable=False),
    Column("fee_msat", BigInteger),
    Column("preimage", String),
    Column("failure", Words),
    Column("begun_by", String, nullable=False),
    Column("sent_at", Moment),
    Column("sender_until", Moment),
    Column("resolve_early", Boolean, nullable=False),
    Column("settled_by_hand", Words),
    UniqueConstraint("account", "payment_hash", "attempt"),
    Index("flash_payments_hash", "payment_hash"),
    Index("flash_payments_listed", "account", "id"),
    Index("flash_payments_open", "account", "payment_hash"),
)
"""One row for each attempt to pay."""

_INVOICE_FIELDS: Final = [field.name for field in fields(InvoiceRecord)]
_PAYMENT_FIELDS: Final = [field.name for field in fields(PaymentRecord)]

INVOICE_COLUMNS: Final = [invoices.c[name] for name in _INVOICE_FIELDS]
PAYMENT_COLUMNS: Final = [payments.c[name] for name in _PAYMENT_FIELDS]


def read_invoice(row: Row[Any]) -> InvoiceRecord:
    """Make a record of a row that begins with `INVOICE_COLUMNS`."""
    return InvoiceRecord(**dict(zip(_INVOICE_FIELDS, row, strict=False)))


def read_payment(row: Row[Any]) -> PaymentRecord:
    """Make a record of a row that begins with `PAYMENT_COLUMNS`."""
    return PaymentRecord(**dict(zip(_PAYMENT_FIELDS, row, strict=False)))


def values_of(record: InvoiceRecord | PaymentRecord) -> dict[str, Any]:
    """Return the columns that a record fills."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def read_one(
    connection: Connection, query: Select[Any], values: Mapping[str, object], read: Callable[[Row[Any]], T]
) -> T | None:
    """Return the record of the one row that a query finds, None where there is none.

    Args:
        connection: The transaction.
        query: What finds the row.
        values: The values of its parameters.
        read: Makes a record of the row.

    Raises:
        UnreadableRow: It is damaged: neither its content nor that it is unknown can be told.

    """
    try:
        row = connection.execute(query, values).one_or_none()
        return None if row is None else read(row)
    except UNREADABLE as error:
        raise UnreadableRow from error


def read_all(
    connection: Connection,
    query: Select[Any],
    table: Table,
    read: Callable[[Row[Any]], T],
    values: Mapping[str, object] | None = None,
) -> list[T]:
    """Return the records of the rows that a query on one table finds, without those that are damaged."""
    try:
        return [read(row) for row in connection.execute(query, values)]
    except UNREADABLE:
        found = []
        for number in connection.execute(query.with_only_columns(table.c.id), values).scalars().all():
            one = query.where(table.c.id == number).offset(None)
            try:
                found += [read(row) for row in connection.execute(one, values)]
            except UNREADABLE as error:
                _log.error("a damaged row is left out", table=table.name, row=number, error=type(error).__name__)
        return found
