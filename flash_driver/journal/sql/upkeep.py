"""What an operator does with a journal: look at it, check it, export it, prune it, back it up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, delete, func, select, text

from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.journal.errors import UNREADABLE
from flash_driver.journal.learned import read_learned
from flash_driver.journal.sql.schema import (
    INVOICE_COLUMNS,
    PAYMENT_COLUMNS,
    accounts,
    invoices,
    logins,
    payments,
    read_invoice,
    read_payment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection, Row, Table

    from flash_driver.journal.learned import Learned

__all__ = ["ROWS", "AccountSummary", "back_up", "damaged", "page", "prune", "size_bytes", "summaries"]

ROWS: Final = 1000
"""How many rows are read or deleted in one transaction."""

_TABLES: Final[Mapping[str, tuple[Table, Sequence[Any], Any]]] = {
    "invoices": (invoices, INVOICE_COLUMNS, read_invoice),
    "payments": (payments, PAYMENT_COLUMNS, read_payment),
}


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """What a journal keeps of one account.

    Attributes:
        server: The server's name; `unknown` where an older driver did not write it down.
        account_id: The id that the server gave the account.
        invoices: How many rows, orphans among them.
        orphans: How many invoices were made that no host got.
        settled: How many invoices were settled.
        payments: How many attempts to pay.
        oldest: When the oldest invoice was made, None where there is none.
        learned: What the server showed to each token that opens it, the latest first.

    """

    server: str
    account_id: str
    invoices: int
    orphans: int
    settled: int
    payments: int
    oldest: datetime | None
    learned: Sequence[Learned]


def summaries(connection: Connection) -> list[AccountSummary]:
    """Return a summary of each account; reads every row."""
    found = []
    for row in connection.execute(select(accounts).order_by(accounts.c.id)).all():
        mine = invoices.c.account == row.id
        kept = connection.execute(select(func.count(), func.min(invoices.c.created_at)).where(mine)).one()
        orphans = connection.execute(select(func.count()).select_from(invoices).where(mine, invoices.c.orphan))
        attempts = connection.execute(select(func.count()).select_from(payments).where(payments.c.account == row.id))
        shown = connection.execute(select(logins.c.learned).where(logins.c.account == row.id)).scalars()
        learned = [each for each in map(read_learned, shown) if each is not None]
        server, _, account_id = row.scope.rpartition(" ")
        found.append(
            AccountSummary(
                server=server or "unknown",
                account_id=account_id,
                invoices=kept[0],
                orphans=orphans.scalar_one(),
                settled=row.last_settle_index,
                payments=attempts.scalar_one(),
                oldest=kept[1],
                learned=sorted(learned, key=lambda each: each.at, reverse=True),
            )
        )
    return found


def size_bytes(connection: Connection) -> int:
    """Return how much room the journal takes, in bytes."""
    if connection.dialect.name == "sqlite":
        pages = text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(connection.execute(pages).scalar_one())
    sizes = (select(func.pg_total_relation_size(table.name)) for table in (accounts, invoices, payments))
    return sum(int(connection.execute(size).scalar_one()) for size in sizes)


def page(connection: Connection, kind: str, after: int) -> list[dict[str, Any]]:
    """Return the next rows of `invoices` or `payments` behind an id, with the server and account of each."""
    table = _TABLES[kind][0]
    query = (
        select(accounts.c.scope, table)
        .join(accounts, accounts.c.id == table.c.account)
        .where(table.c.id > after)
        .order_by(table.c.id)
        .limit(ROWS)
    )
    return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - its public name, as documented


def damaged(connection: Connection, kind: str, after: int) -> tuple[list[int], int | None]:
    """Return which of the next rows of `invoices` or `payments` can't be read, and the last id looked at."""
    table, columns, read = _TABLES[kind]
    ids = connection.execute(select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(ROWS)).scalars()
    numbers = ids.all()
    if not numbers:
        return [], None
    among = select(*columns).where(table.c.id.between(numbers[0], numbers[-1]))
    if _readable(connection, among, read):
        return [], numbers[-1]
    one_by_one = ((number, select(*columns).where(table.c.id == number)) for number in numbers)
    return [number for number, query in one_by_one if not _readable(connection, query, read)], numbers[-1]


def prune(connection: Connection, before: datetime) -> int:
    """Delete invoices, orphans too, that stopped being payable before a moment and were never paid; tell how many.

    At most `ROWS` at once, so that nobody waits for long. What was settled stays, and so does every attempt to pay.
    """
    old = (invoices.c.settle_index.is_(None)) & (invoices.c.expires_at < before)
    unpaid = invoices.c.status != LightningInvoiceStatus.PAID
    some = select(invoices.c.id).where(old, unpaid).order_by(invoices.c.expires_at).limit(ROWS)
    return connection.execute(delete(invoices).where(invoices.c.id.in_(some))).rowcount


def back_up(source: Path, target: Path) -> None:
    """Copy a SQLite journal while it is in use.

    Raises:
        FileExistsError: There is a file already where the copy is to go.
        sqlite3.Error: It can't be read or written.

    """
    target.touch(mode=0o600, exist_ok=False)
    try:
        with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as write:
            read.backup(write)
    except sqlite3.Error:
        target.unlink()
        raise


def _readable(connection: Connection, query: Select[Any], read: Any) -> bool:
    rows: Sequence[Row[Any]]
    try:
        rows = connection.execute(query).all()
        for row in rows:
            read(row)
    except UNREADABLE:
        return False
    return True
