"""The journal of one account in a database: one code for SQLite and PostgreSQL.

Whatever changes an account's rows locks the account's own row first (SQLite: the whole file). So settle indexes come
without gaps and in the order in which they become visible, and of two processes that begin the same payment one wins.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from connection_strings.lightning import LightningInvoiceStatus
from flash_driver.journal.budget_rules import begin_of_window, block_end, budget_wait
from flash_driver.journal.journal import PAGE
from flash_driver.journal.sql.payments import PaymentRows
from flash_driver.journal.sql.schema import CHANNEL, INVOICE_COLUMNS, accounts, invoices, read_invoice, spent, values_of
from flash_driver.journal.sql.transactions import Insertion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime, timedelta

    from sqlalchemy import ColumnElement, Connection, Insert, Row, Table

    from flash_driver.journal.budget_rules import InvoiceBudget
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord
    from flash_driver.journal.sql.store import SqlStore
    from flash_driver.journal.wakeup import Wakeup

__all__ = ["SqlJournal", "insert_new"]


class SqlJournal:
    """One account's part of a store.

    Args:
        store: Runs what reads and what writes.
        account: The account's number in it.
        journal_id: What its cursors begin with.
        wakeup: Rings when an invoice was settled, by whatever process.

    """

    def __init__(self, store: SqlStore, account: int, journal_id: str, wakeup: Wakeup) -> None:
        self._store = store
        self._account = account
        self._id = journal_id
        self._wakeup = wakeup
        self._payments = PaymentRows(account, self._lock)

    @property
    def id(self) -> str:
        """What tells this journal from any other."""
        return self._id

    @property
    def wakeup(self) -> Wakeup:
        """Rings when an invoice was settled."""
        return self._wakeup

    # --- invoices ---------------------------------------------------------------------------------------------------

    async def add_invoice(self, record: InvoiceRecord) -> None:
        """Keep a new invoice; one that was an orphan becomes the host's."""
        row = {"account": self._account, **values_of(record), "orphan": False}
        await self._store.write(Insertion(_add_invoice(self._store.dialect), row))

    async def add_orphan(self, record: InvoiceRecord) -> None:
        """Keep an invoice that the host will not get."""
        row = {"account": self._account, **values_of(replace(record, orphan=True))}
        await self._store.write(lambda connection: insert_new(connection, invoices, **row))

    async def list_orphans(self) -> list[InvoiceRecord]:
        """Return the orphans in the order they were made."""
        query = select(*INVOICE_COLUMNS).where(self._mine, invoices.c.orphan).order_by(invoices.c.id)
        return [read_invoice(row) for row in await self._rows(query)]

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        return await self._store.read(lambda connection: self._find(connection, payment_hash))

    async def list_invoices(self, *, pending_only: bool = False, offset: int = 0) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        query = select(*INVOICE_COLUMNS).where(self._hosts)
        if pending_only:
            query = query.where(invoices.c.status == LightningInvoiceStatus.UNPAID)
        return [read_invoice(row) for row in await self._rows(query.order_by(invoices.c.id).offset(offset))]

    async def pending_invoices(self, *, page: int = PAGE) -> AsyncIterator[InvoiceRecord]:
        """Yield unpaid invoices, the next to expire first; nothing is held open between two pages."""
        place = tuple_(invoices.c.expires_at, invoices.c.id)
        first = (
            select(invoices.c.id, *INVOICE_COLUMNS)
            .where(self._hosts, invoices.c.status == LightningInvoiceStatus.UNPAID)
            .order_by(invoices.c.expires_at, invoices.c.id)
            .limit(page)
        )
        rows = await self._rows(first)
        while rows:
            for row in rows:
                yield read_invoice(row)
            rows = await self._rows(first.where(place > (rows[-1].expires_at, rows[-1].id)))

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index."""

        def work(connection: Connection) -> InvoiceRecord | None:
            last = self._lock(connection).last_settle_index
            known = self._find(connection, payment_hash)
            if known is None or known.status is LightningInvoiceStatus.PAID:
                return known
            facts = {
                "status": LightningInvoiceStatus.PAID,
                "settle_index": last + 1,
                "paid_at": paid_at,
                "amount_received_msat": amount_received_msat,
                "preimage": preimage,
            }
            connection.execute(update(invoices).where(self._is(payment_hash)).values(facts))
            mine = update(accounts).where(accounts.c.id == self._account)
            connection.execute(mine.values(last_settle_index=last + 1))
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_notify(CHANNEL, str(self._account))))
            return self._find(connection, payment_hash)

        settled = await self._store.write(work)
        self._store.ring(self._account)
        return settled

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""

        def work(connection: Connection) -> InvoiceRecord | None:
            self._lock(connection)
            unpaid = (self._is(payment_hash), self._hosts, invoices.c.status == LightningInvoiceStatus.UNPAID)
            connection.execute(update(invoices).where(*unpaid).values(status=LightningInvoiceStatus.EXPIRED))
            return self._find(connection, payment_hash)

        return await self._store.write(work)

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this."""
        query = select(*INVOICE_COLUMNS).where(self._hosts, invoices.c.settle_index > settle_index)
        return [read_invoice(row) for row in await self._rows(query.order_by(invoices.c.settle_index).limit(limit))]

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far."""
        query = select(accounts.c.last_settle_index).where(accounts.c.id == self._account)
        return await self._store.read(lambda connection: int(connection.execute(query).scalar_one()))

    # --- the budget of new invoices ---------------------------------------------------------------------------------

    async def spend_invoices(self, limit: InvoiceBudget | None, now: datetime, count: int = 1) -> timedelta | None:
        """Take invoices out of the account's budget."""
        if limit is None:
            query = select(accounts.c.blocked_until).where(accounts.c.id == self._account)
            (row,) = await self._rows(query)
            return budget_wait(None, row.blocked_until, None, now)
        mine = spent.c.account == self._account

        def work(connection: Connection) -> timedelta | None:
            blocked_until = self._lock(connection).blocked_until
            connection.execute(delete(spent).where(mine, spent.c.spent_at <= begin_of_window(limit, now)))
            # A time to come means that the clock was set back: it counts from now on, so that nobody waits for a day.
            connection.execute(update(spent).where(mine, spent.c.spent_at > now).values(spent_at=now))
            known = connection.execute(select(func.count()).select_from(spent).where(mine)).scalar_one()
            frees = None
            if (lacking := known + count - limit.invoices) > 0:
                oldest = select(spent.c.spent_at).where(mine).order_by(spent.c.spent_at)
                frees = connection.execute(oldest.offset(lacking - 1).limit(1)).scalar_one()
            wait = budget_wait(frees, blocked_until, limit, now)
            if wait is None:
                connection.execute(insert(spent), [{"account": self._account, "spent_at": now}] * count)
            return wait

        return await self._store.write(work)

    async def block_invoices(self, until: datetime) -> None:
        """Let nobody take anything out of the budget until then."""

        def work(connection: Connection) -> None:
            end = block_end(self._lock(connection).blocked_until, until)
            mine = update(accounts).where(accounts.c.id == self._account)
            connection.execute(mine.values(blocked_until=end))

        await self._store.write(work)

    # --- payments ---------------------------------------------------------------------------------------------------

    async def begin_payment(self, record: PaymentRecord) -> PaymentRecord:
        """Keep an attempt to pay, unless one counts already."""
        return await self._store.write(lambda connection: self._payments.begin(connection, record))

    async def update_payment(self, record: PaymentRecord) -> None:
        """Keep what became of an attempt."""
        await self._store.write(lambda connection: self._payments.update(connection, record))

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        return await self._store.read(lambda connection: self._payments.telling(connection, payment_hash))

    async def payment_attempts(self, payment_hash: str) -> list[PaymentRecord]:
        """Return every attempt for this payment hash."""
        return await self._store.read(lambda connection: self._payments.attempts(connection, payment_hash))

    async def unresolved_payments(self) -> list[PaymentRecord]:
        """Return the payments of which it is not known how they ended."""
        return await self._store.read(lambda connection: self._payments.listed(connection, definite=False))

    async def list_payments(self, *, include_pending: bool = False, offset: int = 0) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        definite = None if include_pending else True
        return await self._store.read(
            lambda connection: self._payments.listed(connection, definite=definite, offset=offset)
        )

    async def aclose(self) -> None:
        """Keep everything; the store closes when its last user goes."""

    # --- inside a transaction ---------------------------------------------------------------------------------------

    @property
    def _mine(self) -> ColumnElement[bool]:
        return invoices.c.account == self._account

    @property
    def _hosts(self) -> ColumnElement[bool]:
        return self._mine & ~invoices.c.orphan

    def _is(self, payment_hash: str) -> ColumnElement[bool]:
        return self._mine & (invoices.c.payment_hash == payment_hash)

    async def _rows(self, query: Any) -> list[Row[Any]]:
        return await self._store.read(lambda connection: list(connection.execute(query).all()))

    def _lock(self, connection: Connection) -> Row[Any]:
        """Let nobody else change this account until the transaction ends; return its row as it is now."""
        return connection.execute(select(accounts).where(accounts.c.id == self._account).with_for_update()).one()

    def _find(self, connection: Connection, payment_hash: str) -> InvoiceRecord | None:
        row = connection.execute(select(*INVOICE_COLUMNS).where(self._is(payment_hash), self._hosts)).one_or_none()
        return None if row is None else read_invoice(row)


def insert_new(connection: Connection, table: Table, **values: object) -> bool:
    """Add a row unless one with the same key is there; tell whether it was added."""
    return connection.execute(_insert_new(table, connection.dialect.name), values).rowcount == 1


@cache
def _add_invoice(dialect: str) -> Insert:
    key = (invoices.c.account, invoices.c.payment_hash)
    return _insert(invoices, dialect).on_conflict_do_update(index_elements=key, set_={"orphan": False})


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    return _insert(table, dialect).on_conflict_do_nothing()


def _insert(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
