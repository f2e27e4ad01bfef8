"""Accounts in a database: whose token opens which, their lock, and their budget of new invoices."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, and_, bindparam, case, delete, exists, func, insert, select, true, update

from connection_strings.lightning import LightningPaymentStatus
from flash_driver.common.log import get_logger
from flash_driver.journal.budget_rules import Bucket, begin_of_window, block_end, budget_wait
from flash_driver.journal.errors import KnownElsewhere, ServerInUse
from flash_driver.journal.sql.schema import accounts, invoices, logins, payments, spent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Insert, Row, Table, Update
    from sqlalchemy.dialects import postgresql, sqlite

    from flash_driver.journal.budget_rules import BudgetWait, InvoiceBudget
    from flash_driver.journal.journal import HashOf

__all__ = [
    "account_of",
    "block",
    "dialect_insert",
    "insert_new",
    "insist_on_one_payer",
    "insist_unknown",
    "last_settle_index",
    "learn",
    "lock",
    "put_back",
    "remember",
    "rename_server",
    "spend",
]

_log: Final = get_logger(part="journal")

_BLOCKED_UNTIL: Final = {
    Bucket.OWN: accounts.c.blocked_until,
    Bucket.PUBLIC: accounts.c.public_blocked_until,
}
"""Where it is kept until when the server refuses; it blocks nothing that counts against another limit."""

_FREE: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of a row that is free, whatever the window."""

_SPARE_ROWS: Final = 20
"""How many free rows are added at once, within the limit."""

_LOCK: Final = select(accounts).where(accounts.c.id == bindparam("of")).with_for_update()
"""Locks an account; made once, as `invoices._FIND` is."""


def dialect_insert(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Return the INSERT of a dialect that can settle what becomes of a row that is there already."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_in_postgresql  # noqa: PLC0415 - SQLite does without

        return insert_in_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as insert_in_sqlite  # noqa: PLC0415 - PostgreSQL does without

    return insert_in_sqlite(table)


def insert_new(connection: Connection, table: Table, **values: object) -> bool:
    """Add a row unless one with the same key is there; tell whether it was added."""
    return connection.execute(_insert_new(table, connection.dialect.name), values).rowcount == 1


def account_of(connection: Connection, fingerprint: str) -> Row[Any] | None:
    """Return the account that a credential opens and what that was shown, None where that is not known."""
    query = select(accounts, logins.c.learned).join(logins).where(logins.c.fingerprint == fingerprint)
    return connection.execute(query).one_or_none()


def remember(connection: Connection, fingerprint: str, scope: str) -> Row[Any] | None:
    """Keep what the server said whose account a credential opens; return the account.

    An account that a driver before schema version 5 wrote down has no server. It gets the server on which a token opens
    it that opened it before, since what is kept of a token is a hash of server and token; no other server gets it.
    """
    known = account_of(connection, fingerprint)
    if known is not None and known.scope == scope.rpartition(" ")[2]:
        is_free = ~exists().where(accounts.c.scope == scope)
        adopted = update(accounts).where(accounts.c.id == known.id, is_free).values(scope=scope)
        if connection.execute(adopted).rowcount:
            return account_of(connection, fingerprint)
    insert_new(connection, accounts, scope=scope, journal_id=uuid.uuid4().hex[:12], last_settle_index=0)
    account = connection.execute(select(accounts.c.id).where(accounts.c.scope == scope)).scalar_one()
    if not insert_new(connection, logins, fingerprint=fingerprint, account=account):
        moved = update(logins).where(logins.c.fingerprint == fingerprint, logins.c.account != account)
        if connection.execute(moved.values(account=account, learned=None)).rowcount:
            _log.warning("the server says that this token is another account's now", fingerprint=fingerprint)
    return account_of(connection, fingerprint)


def learn(connection: Connection, fingerprint: str, account: int, learned: str | None) -> None:
    """Keep what the server showed to a credential, unless that opens another account by now."""
    mine = and_(logins.c.fingerprint == fingerprint, logins.c.account == account)
    connection.execute(update(logins).where(mine).values(learned=learned))


def rename_server(connection: Connection, old: str, new: str) -> int:
    """Let the accounts of a server be those of its new name; return how many they are.

    Args:
        connection: The transaction.
        old: The server's name as the journal shows it, such as `api.example/graphql`; `unknown` for accounts of
            drivers that wrote none down.
        new: The name that the server has now.

    An account that was opened under the new name, and for which nothing was kept there, becomes the old one.

    Raises:
        ServerInUse: One of these accounts has rows under the new name already: two journals do not become one.

    """
    kept = {row.scope: row.id for row in connection.execute(select(accounts.c.id, accounts.c.scope))}
    renamed = 0
    for scope, account in kept.items():
        server, _, account_id = scope.rpartition(" ")
        if (server or "unknown") != old:
            continue
        if (empty := kept.get(f"{new} {account_id}")) is not None:
            for table in (invoices, payments):
                if connection.execute(select(table.c.id).where(table.c.account == empty).limit(1)).first():
                    raise ServerInUse(new)
            connection.execute(update(logins).where(logins.c.account == empty).values(account=account))
            connection.execute(delete(spent).where(spent.c.account == empty))
            connection.execute(delete(accounts).where(accounts.c.id == empty))
        connection.execute(update(accounts).where(accounts.c.id == account).values(scope=f"{new} {account_id}"))
        renamed += 1
    return renamed


def insist_unknown(connection: Connection, account: int, kind: HashOf, payment_hash: str) -> None:
    """Make sure that no other account knows an invoice or a payment of this hash.

    Raises:
        KnownElsewhere: One does.

    """
    table = invoices if kind == "invoice" else payments
    elsewhere = (table.c.payment_hash == payment_hash) & (table.c.account != account)
    _refuse_if_found(connection, kind, table, elsewhere)


def insist_on_one_payer(connection: Connection, account: int, payment_hash: str) -> None:
    """Make sure that no other account has an attempt at this payment that has not definitely failed, until the end.

    Raises:
        KnownElsewhere: One has.

    """
    if connection.dialect.name == "postgresql":
        # Each account locks its own row only; SQLite has one writer.
        key = int.from_bytes(hashlib.sha256(payment_hash.encode()).digest()[:8], signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
    open_or_done = payments.c.status != LightningPaymentStatus.FAILED
    elsewhere = (payments.c.payment_hash == payment_hash) & (payments.c.account != account)
    _refuse_if_found(connection, "payment", payments, elsewhere & open_or_done)


def _refuse_if_found(connection: Connection, kind: HashOf, table: Table, where: ColumnElement[bool]) -> None:
    query = select(accounts.c.scope).join(table, table.c.account == accounts.c.id).where(where).limit(1)
    scope = connection.execute(query).scalar()
    if scope is not None:
        raise KnownElsewhere(kind, scope)


def lock(connection: Connection, account: int) -> Row[Any]:
    """Let nobody else change this account until the transaction ends; return its row as it is now."""
    return connection.execute(_LOCK, {"of": account}).one()


def last_settle_index(connection: Connection, account: int) -> int:
    """Return the highest settle index given so far."""
    return int(connection.execute(select(accounts.c.last_settle_index).where(accounts.c.id == account)).scalar_one())


def spend(
    connection: Connection, account: int, bucket: Bucket, limit: InvoiceBudget | None, now: datetime, *, count: int
) -> BudgetWait | None:
    """Take invoices out of a budget; return what to wait for where not as many are left.

    Each row stands for one invoice: it is taken for as long as its time is within the window, then free to be taken
    again. There are never more rows than the limit, so who finds a free one may take it, without a lock of the
    account. Only where none is found, or several are wanted, the account is locked and the rows are counted.
    """
    if limit is None:
        query = select(_BLOCKED_UNTIL[bucket]).where(accounts.c.id == account)
        return budget_wait(None, connection.execute(query).scalar_one(), None, now)
    begin = begin_of_window(limit, now)
    if count == 1:
        facts = {"of": account, "in": bucket, "begin": begin, "now": now, "most": limit.invoices}
        if connection.execute(_take_one(bucket), facts).rowcount == 1:
            return None
    mine = and_(spent.c.account == account, spent.c.bucket == bucket)
    row, blocked = lock(connection, account), _BLOCKED_UNTIL.get(bucket)
    blocked_until = None if blocked is None else getattr(row, blocked.name)
    # A time to come means that the clock was set back: it counts from now on, so that nobody waits for a day.
    connection.execute(update(spent).where(mine, spent.c.spent_at > now).values(spent_at=now))
    found = select(spent.c.id).where(mine, spent.c.spent_at <= begin).limit(count).with_for_update()
    free = connection.execute(found).scalars().all()
    counted = select(func.count(), func.count(case((spent.c.spent_at > begin, 1)))).where(mine)
    rows, taken = connection.execute(counted).one()
    frees = None
    if (lacking := taken + count - limit.invoices) > 0:
        oldest = select(spent.c.spent_at).where(mine, spent.c.spent_at > begin).order_by(spent.c.spent_at)
        frees = connection.execute(oldest.offset(lacking - 1).limit(1)).scalar_one()
    wait = budget_wait(frees, blocked_until, limit, now)
    if wait is None:
        if free:
            connection.execute(update(spent).where(spent.c.id.in_(free)).values(spent_at=now))
        if times := [now] * (count - len(free)):
            times += [_FREE] * min(_SPARE_ROWS, limit.invoices - rows - len(times))
            connection.execute(
                insert(spent), [{"account": account, "bucket": bucket, "spent_at": time} for time in times]
            )
    return wait


def put_back(connection: Connection, account: int, bucket: Bucket, taken: Sequence[datetime]) -> None:
    """Free what was taken at these times: what it was spent for cost nothing."""
    lock(connection, account)
    for moment, count in Counter(taken).items():
        mine = and_(spent.c.account == account, spent.c.bucket == bucket, spent.c.spent_at == moment)
        some = select(spent.c.id).where(mine).limit(count)
        connection.execute(update(spent).where(spent.c.id.in_(some)).values(spent_at=_FREE))


def block(connection: Connection, account: int, bucket: Bucket, until: datetime) -> None:
    """Let nobody take anything out of a budget until then."""
    blocked = _BLOCKED_UNTIL[bucket]
    end = block_end(getattr(lock(connection, account), blocked.name), until)
    connection.execute(update(accounts).where(accounts.c.id == account).values({blocked: end}))


@cache
def _take_one(bucket: Bucket) -> Update:
    """Return what takes one free row of a budget, unless there are too many rows or the server blocks the account."""
    of, now = bindparam("of", type_=spent.c.account.type), bindparam("now", type_=spent.c.spent_at.type)
    mine = and_(spent.c.account == of, spent.c.bucket == bindparam("in", type_=spent.c.bucket.type))
    free = select(spent.c.id).where(mine, spent.c.spent_at <= bindparam("begin", type_=spent.c.spent_at.type))
    rows = select(func.count()).select_from(spent).where(mine)
    blocked = _BLOCKED_UNTIL.get(bucket)
    is_open = true() if blocked is None else ~exists().where(accounts.c.id == of, blocked > now)
    one = free.limit(1).with_for_update(skip_locked=True).scalar_subquery()
    enough = rows.scalar_subquery() <= bindparam("most", type_=Integer())
    return update(spent).where(spent.c.id == one, enough, is_open).values(spent_at=now)


@cache
def _insert_new(table: Table, dialect: str) -> Insert:
    return dialect_insert(table, dialect).on_conflict_do_nothing()
