"""Payments in a database: one row for each attempt, read and written inside a transaction."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, exists, func, insert, select, update

from connection_strings.errors import InvalidRequest
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.journal.attempt_rules import (
    Begun,
    counting_attempt,
    is_as_seen,
    replaced_attempt,
    telling_attempt,
)
from flash_driver.journal.journal import LISTED
from flash_driver.journal.sql.accounts import insist_on_one_payer, lock
from flash_driver.journal.sql.schema import PAYMENT_COLUMNS, payments, read_all, read_payment, values_of

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from flash_driver.journal.attempt_rules import Counted
    from flash_driver.journal.records import PaymentRecord

__all__ = ["PaymentRows"]

_ATTEMPTS: Final = (
    select(*PAYMENT_COLUMNS)
    .where(payments.c.account == bindparam("of"), payments.c.payment_hash == bindparam("known_as"))
    .order_by(payments.c.attempt)
)
"""Finds every attempt for a payment hash; made once, as `invoices._FIND` is."""


class PaymentRows:
    """The attempts to pay of one account.

    Args:
        account: The account's number in the store.

    """

    def __init__(self, account: int) -> None:
        self._account = account

    def begin(self, connection: Connection, record: PaymentRecord) -> Begun | Counted:
        """Add an attempt unless another one counts."""
        lock(connection, self._account)
        attempts = self.attempts(connection, record.payment_hash)
        decision = counting_attempt(attempts, record)
        if isinstance(decision, Begun):
            insist_on_one_payer(connection, self._account, record.payment_hash)
            if (replaced := replaced_attempt(attempts)) is not None:
                self._write(connection, replaced, record)
            else:
                connection.execute(insert(payments).values(account=self._account, **values_of(record)))
        return decision

    def update(self, connection: Connection, record: PaymentRecord, seen: PaymentRecord) -> PaymentRecord | None:
        """Write down what became of an attempt, if it is as the caller has seen it; return it as it is now."""
        lock(connection, self._account)
        attempts = self.attempts(connection, record.payment_hash)
        known = next((each for each in attempts if each.attempt == record.attempt), None)
        if known is not None and is_as_seen(known, seen):
            self._write(connection, known, record)
            return record
        return known

    def _write(self, connection: Connection, known: PaymentRecord, record: PaymentRecord) -> None:
        row = self._is(known.payment_hash) & (payments.c.attempt == known.attempt)
        connection.execute(update(payments).where(row).values(values_of(record)))

    def attempts(self, connection: Connection, payment_hash: str) -> list[PaymentRecord]:
        """Return every attempt for this payment hash, the first one first."""
        rows = connection.execute(_ATTEMPTS, {"of": self._account, "known_as": payment_hash})
        return [read_payment(row) for row in rows]

    def telling(self, connection: Connection, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        return telling_attempt(self.attempts(connection, payment_hash))

    def listed(
        self, connection: Connection, *, include_pending: bool, after: str | None, offset: int
    ) -> list[PaymentRecord]:
        """Return the telling attempt of each payment in the order they were first attempted, `LISTED` at the most.

        Raises:
            InvalidRequest: There is no payment with the payment hash `after`.

        """
        first = payments.alias("first")
        query = _first_attempts(first, self._account)
        if after is not None:
            known = select(func.min(payments.c.id)).where(self._is(after))
            if (place := connection.execute(known).scalar()) is None:
                raise InvalidRequest("after", "names no payment of this account; leave it out to list from the first")
            query = query.where(first.c.id > place)
        if not include_pending:
            query = query.where(first.c.payment_hash.not_in(_unresolved(self._account)))
        return self._telling_of(connection, query.order_by(first.c.id).offset(offset).limit(LISTED))

    def unresolved(self, connection: Connection) -> list[PaymentRecord]:
        """Return the telling attempt of each payment that has not ended, in the order they were first attempted."""
        first = payments.alias("first")
        query = _first_attempts(first, self._account).where(first.c.payment_hash.in_(_unresolved(self._account)))
        return self._telling_of(connection, query.order_by(first.c.id).limit(LISTED))

    def _telling_of(self, connection: Connection, firsts: Select[tuple[int, str]]) -> list[PaymentRecord]:
        """Return the telling attempt of each payment whose first attempt a query finds, in its order."""
        page = firsts.subquery("page")
        query = (
            select(*PAYMENT_COLUMNS)
            .join(page, payments.c.payment_hash == page.c.payment_hash)
            .where(payments.c.account == self._account)
            .order_by(page.c.id, payments.c.attempt)
        )
        rows = read_all(connection, query, payments, read_payment)
        told = (telling_attempt(list(same)) for _, same in groupby(rows, lambda row: row.payment_hash))
        return [record for record in told if record is not None]

    def _is(self, payment_hash: str) -> ColumnElement[bool]:
        return (payments.c.account == self._account) & (payments.c.payment_hash == payment_hash)


def _first_attempts(first: FromClause, account: int) -> Select[tuple[int, str]]:
    """Return what finds the first attempt of each payment; it has another number than one if that was never sent."""
    other = payments.alias("other")
    earlier = (other.c.account == account) & (other.c.payment_hash == first.c.payment_hash)
    is_first = (first.c.attempt == 1) | ~exists().where(earlier, other.c.attempt < first.c.attempt)
    return select(first.c.id, first.c.payment_hash).where(first.c.account == account, is_first)


def _unresolved(account: int) -> Select[tuple[str]]:
    """Return what finds the payments that may be under way. There are few, and they have an index of their own."""
    other = payments.alias("other")
    same = (other.c.account == account) & (other.c.payment_hash == payments.c.payment_hash)
    complete = exists().where(same, other.c.status == LightningPaymentStatus.COMPLETE)
    return select(payments.c.payment_hash).where(payments.c.account == account, _is_open(payments), ~complete)


def _is_open(table: FromClause) -> ColumnElement[bool]:
    """Return the condition that an attempt has not ended, written out as the index of open ones has it."""
    words = (LightningPaymentStatus.PENDING, LightningPaymentStatus.UNKNOWN)
    return table.c.status.in_(bindparam("open", words, expanding=True, literal_execute=True))
