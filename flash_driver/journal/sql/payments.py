"""Payments in a database: one row for each attempt, read and written inside a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, func, insert, select, update

from flash_driver.journal.attempt_rules import (
    DEFINITE,
    WEIGHT,
    Begun,
    counting_attempt,
    is_as_seen,
    replaced_attempt,
    telling_attempt,
)
from flash_driver.journal.sql.accounts import insist_on_one_payer, lock
from flash_driver.journal.sql.schema import PAYMENT_COLUMNS, payments, read_payment, values_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from flash_driver.journal.attempt_rules import Counted
    from flash_driver.journal.records import PaymentRecord

__all__ = ["PaymentRows"]

_WEIGHT: Final = case(
    *((payments.c.status == status, weight) for status, weight in WEIGHT.items()),
)


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
        """Return the telling attempt of each payment in the order they were first attempted.

        Args:
            connection: The transaction.
            definite: Whether only those that have ended, only those that have not, or (None) all.
            offset: How many to pass over.

        """
        of_one: dict[str, Any] = {"partition_by": payments.c.payment_hash}
        ranked = (
            select(
                *PAYMENT_COLUMNS,
                func.row_number().over(order_by=(_WEIGHT.desc(), payments.c.attempt.desc()), **of_one).label("place"),
                func.min(payments.c.id).over(**of_one).label("first"),
            )
            .where(payments.c.account == self._account)
            .subquery()
        )
        query = select(ranked).where(ranked.c.place == 1)
        if definite is not None:
            ended = ranked.c.status.in_(DEFINITE)
            query = query.where(ended if definite else ~ended)
        return [read_payment(row) for row in connection.execute(query.order_by(ranked.c.first).offset(offset))]
