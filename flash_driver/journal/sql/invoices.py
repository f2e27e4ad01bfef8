"""Invoices in a database, read and written inside a transaction."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, bindparam, case, cast, func, literal_column, select, tuple_, update

from connection_strings.errors import InvalidRequest
from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.journal.journal import LISTED
from flash_driver.journal.sql.accounts import dialect_insert, insert_new, lock
from flash_driver.journal.sql.schema import (
    CHANNELS,
    INVOICE_COLUMNS,
    accounts,
    invoices,
    read_all,
    read_invoice,
    read_one,
    values_of,
)
from flash_driver.journal.sql.transactions import Insertion
from flash_driver.journal.wakeup import Topic

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Insert

    from flash_driver.journal.records import InvoiceRecord

__all__ = ["InvoiceRows", "invoice_rows"]

_NEWEST_ID: Final = {"sqlite": "(SELECT max(id) + 1 FROM flash_invoices)", "postgresql": "DEFAULT"}
"""What gives a row the id that a new one would get."""
_FIND: Final = select(*INVOICE_COLUMNS).where(
    invoices.c.account == bindparam("of"), ~invoices.c.orphan, invoices.c.payment_hash == bindparam("known_as")
)
"""Finds an invoice; a statement that is made once costs an eighth of one that is made for each question."""
_SETTLED_AFTER: Final = (
    select(*INVOICE_COLUMNS)
    .where(invoices.c.account == bindparam("of"), ~invoices.c.orphan, invoices.c.settle_index > bindparam("after"))
    .order_by(invoices.c.settle_index)
    .limit(bindparam("most"))
)
_ACCOUNTS: Final = 1024
"""Of how many accounts the conditions are kept: to make them takes longer than a statement."""


@lru_cache(maxsize=_ACCOUNTS)
def invoice_rows(account: int) -> InvoiceRows:
    """Return the invoices of the account with this number in the store."""
    return InvoiceRows(account)


class InvoiceRows:
    """The invoices of one account.

    Args:
        account: The account's number in the store.

    """

    def __init__(self, account: int) -> None:
        self._account = account
        self._hosts = (invoices.c.account == account) & ~invoices.c.orphan

    def insertion(self, record: InvoiceRecord, dialect: str) -> Callable[[Connection], None]:
        """Return what adds an invoice, and tells other processes; one that was an orphan becomes the host's."""
        insertion = Insertion(_add_invoice(dialect), {"account": self._account, **values_of(record), "orphan": False})
        if dialect == "sqlite":
            return insertion

        def lock_and_add(connection: Connection) -> None:
            lock(connection, self._account)
            insertion(connection)

        return lock_and_add

    def add_orphan(self, connection: Connection, record: InvoiceRecord) -> None:
        """Add an invoice that the host will not get."""
        insert_new(connection, invoices, account=self._account, **values_of(replace(record, orphan=True)))

    def orphans(self, connection: Connection) -> list[InvoiceRecord]:
        """Return the orphans in the order they were made."""
        orphan: ColumnElement[bool] = literal_column(
            "flash_invoices.orphan"
        )  # in the words that their index is made with
        mine = (invoices.c.account == self._account, orphan)
        query = select(*INVOICE_COLUMNS).where(*mine).order_by(invoices.c.id).limit(LISTED)
        return read_all(connection, query, invoices, read_invoice)

    def latest_priced(self, connection: Connection, currency: str, count: int) -> list[InvoiceRecord]:
        """Return the last invoices of this currency that show a rate, newest first."""
        priced = (invoices.c.currency == currency) & invoices.c.cents.is_not(None) & invoices.c.amount_msat.is_not(None)
        mine = invoices.c.account == self._account
        query = select(*INVOICE_COLUMNS).where(mine, priced).order_by(invoices.c.id.desc()).limit(count)
        return read_all(connection, query, invoices, read_invoice)

    def find(self, connection: Connection, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        return read_one(connection, _FIND, {"of": self._account, "known_as": payment_hash}, read_invoice)

    def listed(
        self, connection: Connection, *, pending_only: bool, after: str | None, offset: int
    ) -> list[InvoiceRecord]:
        """Return invoices in the order they were made, `LISTED` at the most.

        Raises:
            InvalidRequest: There is no invoice with the payment hash `after`.

        """
        query = select(*INVOICE_COLUMNS).where(self._hosts)
        if after is not None:
            place = connection.execute(select(invoices.c.id).where(self._is(after))).scalar()
            if place is None:
                raise InvalidRequest("after", "names no invoice of this account; leave it out to list from the first")
            query = query.where(invoices.c.id > place)
        if pending_only:
            # The sum keeps SQLite from walking through all that is not unpaid, in the order asked for.
            query = query.where(invoices.c.status == LightningInvoiceStatus.UNPAID)
            query = query.order_by(invoices.c.id + literal_column("0"))
        return read_all(connection, query.order_by(invoices.c.id).offset(offset).limit(LISTED), invoices, read_invoice)

    def pending(
        self, connection: Connection, after: int | None, page: int, *, expired_since: datetime | None = None
    ) -> tuple[list[InvoiceRecord], int | None]:
        """Return a page of unpaid invoices, the next to expire first, and the id of its last row, None if it has none.

        Args:
            connection: The transaction.
            after: The id of the last row of the page before, None for the first page.
            page: How many.
            expired_since: Returns instead what is called expired and stopped being payable after this moment.

        """
        which = invoices.c.status == LightningInvoiceStatus.UNPAID
        if expired_since is not None:
            which = (invoices.c.status == LightningInvoiceStatus.EXPIRED) & (invoices.c.expires_at > expired_since)
        place = (invoices.c.expires_at, invoices.c.id)
        query = select(*INVOICE_COLUMNS).where(self._hosts, which).order_by(*place).limit(page)
        if after is not None:
            last = invoices.alias("last")
            expires_at = select(last.c.expires_at).where(last.c.id == after).scalar_subquery()
            query = query.where(tuple_(*place) > tuple_(expires_at, after))
        # The ids first: of rows that change in between some may come twice, but none is passed over.
        ids = connection.execute(query.with_only_columns(invoices.c.id)).scalars().all()
        return read_all(connection, query, invoices, read_invoice) if ids else [], ids[-1] if ids else None

    def settle(self, connection: Connection, payment_hash: str, facts: dict[str, Any]) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index; None when there is no such invoice."""
        last = lock(connection, self._account).last_settle_index
        open_ones = invoices.c.status.in_((LightningInvoiceStatus.UNPAID, LightningInvoiceStatus.EXPIRED))
        paid = {"status": LightningInvoiceStatus.PAID, "settle_index": last + 1, **facts}
        if connection.execute(update(invoices).where(self._is(payment_hash), open_ones).values(paid)).rowcount:
            counted = update(accounts).where(accounts.c.id == self._account).values(last_settle_index=last + 1)
            if connection.dialect.name == "postgresql":
                connection.execute(counted.returning(self._notice(Topic.SETTLED)))  # one flight less under the lock
            else:
                connection.execute(counted)
        return self.find(connection, payment_hash)

    def complete(
        self,
        connection: Connection,
        payment_hash: str,
        amount_received_msat: int | None,
        preimage: str | None,
        paid_at: datetime | None,
    ) -> InvoiceRecord | None:
        """Add to a paid invoice what is not known of it yet, and set when it was paid if that is given."""
        lock(connection, self._account)
        facts = {
            "amount_received_msat": func.coalesce(invoices.c.amount_received_msat, amount_received_msat),
            "preimage": func.coalesce(invoices.c.preimage, preimage),
            **({} if paid_at is None else {"paid_at": paid_at}),
        }
        paid = (self._is(payment_hash), invoices.c.status == LightningInvoiceStatus.PAID)
        connection.execute(update(invoices).where(*paid).values(facts))
        self._notify(connection, Topic.SETTLED)
        return self.find(connection, payment_hash)

    def incomplete(self, connection: Connection, since: datetime, limit: int) -> list[InvoiceRecord]:
        """Return paid invoices that lack amount or preimage and expired after a moment, the latest first."""
        lacking = invoices.c.amount_received_msat.is_(None) | invoices.c.preimage.is_(None)
        lately = (invoices.c.status == LightningInvoiceStatus.PAID) & (invoices.c.expires_at > since)
        query = select(*INVOICE_COLUMNS).where(self._hosts, lately, lacking)
        return read_all(connection, query.order_by(invoices.c.expires_at.desc()).limit(limit), invoices, read_invoice)

    def made_after(self, connection: Connection, place: int | None) -> tuple[list[InvoiceRecord], int]:
        """Return unpaid invoices with an id after a place, and the highest id."""
        mine = invoices.c.account == self._account
        highest = connection.execute(select(func.max(invoices.c.id)).where(mine)).scalar() or 0
        if place is None or highest <= place:
            return [], highest
        unpaid = invoices.c.status == LightningInvoiceStatus.UNPAID
        made = select(*INVOICE_COLUMNS).where(self._hosts, unpaid, invoices.c.id.between(place + 1, highest))
        return read_all(connection, made.order_by(invoices.c.id), invoices, read_invoice), highest

    def expire(self, connection: Connection, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""
        lock(connection, self._account)
        unpaid = invoices.c.status == LightningInvoiceStatus.UNPAID
        query = update(invoices).where(self._is(payment_hash), unpaid)
        connection.execute(query.values(status=LightningInvoiceStatus.EXPIRED))
        return self.find(connection, payment_hash)

    def settled_after(self, connection: Connection, settle_index: int, limit: int) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this, in their order."""
        values = {"of": self._account, "after": settle_index, "most": limit}
        return read_all(connection, _SETTLED_AFTER, invoices, read_invoice, values)

    def _notify(self, connection: Connection, topic: Topic) -> None:
        """Tell other processes, once this transaction is kept, what is new in the account; SQLite is looked at."""
        if connection.dialect.name == "postgresql":
            connection.execute(select(self._notice(topic)))

    def _notice(self, topic: Topic) -> ColumnElement[Any]:
        """Return what tells it where it is evaluated."""
        return func.pg_notify(CHANNELS[topic], str(self._account))

    def _is(self, payment_hash: str) -> ColumnElement[bool]:
        return self._hosts & (invoices.c.payment_hash == payment_hash)


@cache
def _add_invoice(dialect: str) -> Insert:
    """Return what adds an invoice or takes an orphan over; one that the host has breaks a constraint (NOT NULL).

    Either way it becomes the last one of all. On PostgreSQL it tells other processes, too: a statement of its own would
    be one flight more under the lock. SQLite is looked at.
    """
    key = (invoices.c.account, invoices.c.payment_hash)
    changes = {"orphan": case((invoices.c.orphan, False), else_=None), "id": literal_column(_NEWEST_ID[dialect])}
    adding = dialect_insert(invoices, dialect).on_conflict_do_update(index_elements=key, set_=changes)
    if dialect == "sqlite":
        return adding
    return adding.returning(func.pg_notify(CHANNELS[Topic.MADE], cast(invoices.c.account, String)))
