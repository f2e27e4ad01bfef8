"""Payments in a database: one row for each attempt, read and written inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, case, func, insert, select, update

from connection_strings.lightning import LightningPaymentStatus
from flash_driver.journal.attempt_rules import (
    WEIGHT,
    Begun,
    counting_attempt,
    is_as_seen,
    replaced_attempt,
    telling_attempt,
)
from flash_driver.journal.journal import LISTED
from flash_driver.journal.sql.accounts import insist_on_one_payer, lock
from flash_driver.journal.sql.reading import read_all
from flash_driver.journal.sql.schema import PAYMENT_COLUMNS, payments, read_payment, values_of

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, FromClause

    from flash_driver.journal.attempt_rules import Counted
    from flash_driver.journal.records import PaymentRecord

__all__ = ["PaymentRows"]


_OPEN: Final = WEIGHT[LightningPaymentStatus.UNKNOWN]


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
        row = (
            payments.c.account == self._account,
            payments.c.payment_hash == known.payment_hash,
            payments.c.attempt == known.attempt,
        )
        connection.execute(update(payments).where(*row).values(values_of(record)))

    def attempts(self, connection: Connection, payment_hash: str) -> list[PaymentRecord]:
        """Return every attempt for this payment hash, the first one first."""
        query = (
            select(*PAYMENT_COLUMNS)
            .where(payments.c.account == self._account, payments.c.payment_hash == payment_hash)
            .order_by(payments.c.attempt)
        )
        return [read_payment(row) for row in connection.execute(query)]

    def telling(self, connection: Connection, payment_hash: str) -> PaymentRecord | None:
        """Return the attempt that tells most."""
        return telling_attempt(self.attempts(connection, payment_hash))

    def listed(self, connection: Connection, *, definite: bool | None, offset: int = 0) -> list[PaymentRecord]:
        """Return the telling attempt of each payment in the order they were first attempted, `LISTED` at the most.

        Args:
            connection: The transaction.
            definite: Whether only those that have ended, only those that have not, or (None) all.
            offset: How many to pass over.

        """
        first, other = payments.alias("first"), payments.alias("other")
        same = (other.c.account == first.c.account) & (other.c.payment_hash == first.c.payment_hash)
        earliest = select(func.min(other.c.attempt)).where(same).scalar_subquery()
        query = select(first.c.payment_hash).where(first.c.account == self._account, first.c.attempt <= earliest)
        if definite is not None:
            weight = select(func.max(_weight(other))).where(same).scalar_subquery()
            query = query.where(weight != _OPEN if definite else weight == _OPEN)
        if definite is False:
            # There are few: found by the index of open ones, not by going through all.
            few = select(payments.c.payment_hash).where(payments.c.account == self._account, _is_open(payments))
            query = query.where(first.c.payment_hash.in_(few))
        page = connection.execute(query.order_by(first.c.id).offset(offset).limit(LISTED)).scalars().all()
        mine = (payments.c.account == self._account) & payments.c.payment_hash.in_(page)
        attempts: dict[str, list[PaymentRecord]] = {payment_hash: [] for payment_hash in page}
        for record in read_all(connection, select(*PAYMENT_COLUMNS).where(mine), payments, read_payment):
            attempts[record.payment_hash].append(record)
        telling = (telling_attempt(each) for each in attempts.values())
        return [record for record in telling if record is not None]


def _weight(table: FromClause) -> ColumnElement[int]:
    """Return how much an attempt tells, as `telling_attempt` has it."""
    return case(*((table.c.status == status, weight) for status, weight in WEIGHT.items()))


def _is_open(table: FromClause) -> ColumnElement[bool]:
    """Return the condition that an attempt has not ended, written out as the index of open ones has it."""
    words = (LightningPaymentStatus.PENDING, LightningPaymentStatus.UNKNOWN)
    return table.c.status.in_(bindparam("open", words, expanding=True, literal_execute=True))
