"""The journal of one account in a database: one code for SQLite and PostgreSQL.

What changes an account's rows locks the account's own row first (SQLite: the whole file). So rows and settle indexes
are numbered in the order in which they become visible: what comes after a number is complete, however many processes
write. And of two that begin the same payment one wins.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from flash_driver.journal.errors import JournalError
from flash_driver.journal.journal import PAGE, Journal
from flash_driver.journal.sql.accounts import block, insist_unknown, last_settle_index, put_back, spend
from flash_driver.journal.sql.invoices import invoice_rows
from flash_driver.journal.sql.payments import PaymentRows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from flash_driver.journal.attempt_rules import Begun, Counted
    from flash_driver.journal.budget_rules import Bucket, BudgetWait, InvoiceBudget
    from flash_driver.journal.journal import HashOf
    from flash_driver.journal.owner import JournalOwner
    from flash_driver.journal.records import InvoiceRecord, PaymentRecord
    from flash_driver.journal.sql.invoices import InvoiceRows
    from flash_driver.journal.sql.transactions import Transactions

__all__ = ["SqlJournal"]


class SqlJournal(Journal):
    """One account's part of a database.

    Args:
        transactions: Runs what reads and what writes.
        owner: Whose part it is.

    """

    def __init__(self, transactions: Transactions, owner: JournalOwner) -> None:
        super().__init__(owner)
        self._transactions = transactions

    # --- invoices ---------------------------------------------------------------------------------------------------

    async def add_invoice(self, record: InvoiceRecord) -> bool:
        """Keep a new invoice, unless the host has it already; one that was an orphan becomes the host's."""
        account = await self.owner.account()
        rows = invoice_rows(account.number)
        try:
            await self._transactions.write(rows.insertion(record, self._transactions.dialect))
        except JournalError as error:
            if isinstance(error.__cause__, IntegrityError):
                return False
            raise
        account.news.made.wake()
        return True

    async def add_orphan(self, record: InvoiceRecord) -> None:
        """Keep an invoice that the host will not get."""
        rows = await self._invoices()
        await self._transactions.write(lambda connection: rows.add_orphan(connection, record))

    async def list_orphans(self) -> list[InvoiceRecord]:
        """Return the orphans in the order they were made."""
        return await self._transactions.read((await self._invoices()).orphans, long=True)

    async def latest_priced(self, currency: str, count: int) -> list[InvoiceRecord]:
        """Return the last invoices of this currency that show a rate, newest first."""
        rows = await self._invoices()
        return await self._transactions.read(lambda connection: rows.latest_priced(connection, currency, count))

    async def find_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Return the invoice with this payment hash."""
        rows = await self._invoices()
        return await self._transactions.read(lambda connection: rows.find(connection, payment_hash))

    async def list_invoices(
        self, *, pending_only: bool = False, after: str | None = None, offset: int = 0
    ) -> list[InvoiceRecord]:
        """Return invoices in the order they were made."""
        rows = await self._invoices()
        return await self._transactions.read(
            lambda connection: rows.listed(connection, pending_only=pending_only, after=after, offset=offset), long=True
        )

    async def pending_invoices(
        self, *, expired_since: datetime | None = None, page: int = PAGE
    ) -> AsyncIterator[InvoiceRecord]:
        """Yield unpaid invoices, the next to expire first, then those that expired lately.

        Nothing is held open between two pages.
        """
        rows = await self._invoices()
        for since in (None,) if expired_since is None else (None, expired_since):
            last: int | None = None
            ends: set[int] = set()
            while True:
                work = partial(rows.pending, after=last, page=page, expired_since=since)
                found, last = await self._transactions.read(work)
                for record in found:
                    yield record
                if last is None or last in ends:  # a damaged index can lead back to a page that was read
                    break
                ends.add(last)

    async def made_after(self, place: int | None) -> tuple[list[InvoiceRecord], int]:
        """Return unpaid invoices that were made after a place, and the place to go on from."""
        rows = await self._invoices()
        return await self._transactions.read(lambda connection: rows.made_after(connection, place))

    async def settle_invoice(
        self,
        payment_hash: str,
        *,
        paid_at: datetime,
        amount_received_msat: int | None,
        preimage: str | None = None,
    ) -> InvoiceRecord | None:
        """Mark an invoice paid and give it the next settle index."""
        account = await self.owner.account()
        facts = {"paid_at": paid_at, "amount_received_msat": amount_received_msat, "preimage": preimage}
        rows = invoice_rows(account.number)
        settled = await self._transactions.write(lambda connection: rows.settle(connection, payment_hash, facts))
        account.news.settled.wake()
        return settled

    async def complete_invoice(
        self,
        payment_hash: str,
        *,
        amount_received_msat: int | None = None,
        preimage: str | None = None,
        paid_at: datetime | None = None,
    ) -> InvoiceRecord | None:
        """Add to a paid invoice what was not known when it was settled."""
        account = await self.owner.account()
        rows = invoice_rows(account.number)
        completed = await self._transactions.write(
            lambda connection: rows.complete(connection, payment_hash, amount_received_msat, preimage, paid_at)
        )
        account.news.settled.wake()
        return completed

    async def incomplete_invoices(self, since: datetime, limit: int = PAGE) -> list[InvoiceRecord]:
        """Return paid invoices of which something is not known yet."""
        rows = await self._invoices()
        return await self._transactions.read(lambda connection: rows.incomplete(connection, since, limit))

    async def expire_invoice(self, payment_hash: str) -> InvoiceRecord | None:
        """Mark an unpaid invoice expired."""
        rows = await self._invoices()
        return await self._transactions.write(lambda connection: rows.expire(connection, payment_hash))

    async def settled_after(self, settle_index: int, limit: int = 100) -> list[InvoiceRecord]:
        """Return settled invoices with a higher index than this."""
        rows = await self._invoices()
        return await self._transactions.read(lambda connection: rows.settled_after(connection, settle_index, limit))

    async def last_settle_index(self) -> int:
        """Return the highest settle index given so far."""
        account = (await self.owner.account()).number
        return await self._transactions.read(lambda connection: last_settle_index(connection, account))

    # --- the budget of new invoices ---------------------------------------------------------------------------------

    async def spend_invoices(
        self, bucket: Bucket, limit: InvoiceBudget | None, now: datetime, count: int = 1
    ) -> BudgetWait | None:
        """Take invoices out of a budget of the account."""
        account = (await self.owner.account()).number
        work = partial(spend, account=account, bucket=bucket, limit=limit, now=now, count=count)
        if limit is None:
            return await self._transactions.read(work)
        return await self._transactions.write(work, durable=False)

    async def return_invoices(self, bucket: Bucket, taken: Sequence[datetime]) -> None:
        """Put back what was taken at these times and turned out to cost nothing."""
        account = (await self.owner.account()).number
        await self._transactions.write(lambda connection: put_back(connection, account, bucket, taken), durable=False)

    async def block_invoices(self, bucket: Bucket, until: datetime) -> None:
        """Let nobody take anything out of a budget until then."""
        account = (await self.owner.account()).number
        await self._transactions.write(lambda connection: block(connection, account, bucket, until))

    # --- payments ---------------------------------------------------------------------------------------------------

    async def begin_payment(self, record: PaymentRecord) -> Begun | Counted:
        """Keep an attempt to pay, unless another one counts."""
        rows = await self._payments()
        return await self._transactions.write(lambda connection: rows.begin(connection, record))

    async def insist_unknown(self, kind: HashOf, payment_hash: str) -> None:
        """Make sure that no other account knows this payment hash."""
        account = (await self.owner.account()).number
        await self._transactions.read(lambda connection: insist_unknown(connection, account, kind, payment_hash))

    async def update_payment(self, record: PaymentRecord, *, seen: PaymentRecord) -> PaymentRecord | None:
        """Keep what became of an attempt, if it is as the caller has seen it."""
        rows = await self._payments()
        return await self._transactions.write(lambda connection: rows.update(connection, record, seen))

    async def find_payment(self, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        rows = await self._payments()
        return await self._transactions.read(lambda connection: rows.telling(connection, payment_hash))

    async def unresolved_payments(self) -> list[PaymentRecord]:
        """Return the payments of which it is not known how they ended."""
        return await self._transactions.read((await self._payments()).unresolved, long=True)

    async def list_payments(
        self, *, include_pending: bool = False, after: str | None = None, offset: int = 0
    ) -> list[PaymentRecord]:
        """Return payments in the order they were first attempted."""
        rows = await self._payments()
        return await self._transactions.read(
            lambda connection: rows.listed(connection, include_pending=include_pending, after=after, offset=offset),
            long=True,
        )

    async def _invoices(self) -> InvoiceRows:
        account = self.owner.current or await self.owner.account()
        return invoice_rows(account.number)

    async def _payments(self) -> PaymentRows:
        account = self.owner.current or await self.owner.account()
        return PaymentRows(account.number)
