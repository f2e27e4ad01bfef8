"""What the phoenixd-compatible API remembers: payments that were asked for, and what its clients have been told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, String, Table, Text, select

from lightning_host.database import Database, insert_if_new, metadata, now_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from lightning_host.stores import Store

__all__ = ["PhoenixdTable"]

_payouts: Final = Table(
    "host_phoenixd_payouts",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("payment_hash", String(64), primary_key=True),
    Column("bolt11", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
_told: Final = Table(
    "host_phoenixd_told",
    metadata,
    Column("store", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
)


class PhoenixdTable:
    """Reads and writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_payout(self, store: Store, payment_hash: str, bolt11: str) -> int:
        """Remember that a payment was asked for, before it is sent; gives when that was, in ms."""
        asked_at = now_ms()
        row = {"store": store.id, "payment_hash": payment_hash, "bolt11": bolt11, "created_at": asked_at}

        def add(connection: Connection) -> None:
            if not insert_if_new(connection, _payouts, row):
                connection.execute(_payouts.update().where(*_is(store, payment_hash)).values(row))

        await self._database.write(add)
        return asked_at

    async def forget_payout(self, store: Store, payment_hash: str, asked_at: int) -> None:
        """Forget a payment that certainly was not sent, unless it was asked for again since."""
        same = (*_is(store, payment_hash), _payouts.c.created_at == asked_at)
        await self._database.write(lambda connection: connection.execute(_payouts.delete().where(*same)))

    async def find_payout(self, store: Store, payment_hash: str) -> tuple[str, int] | None:
        """Return BOLT11 and time (ms) of a payment that was asked for and may be under way."""
        query = select(_payouts.c.bolt11, _payouts.c.created_at).where(*_is(store, payment_hash))
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else (row[0], row[1])

    async def told(self, store: Store) -> int | None:
        """Return the number of the last settlement that a client has, None when there never was a client."""
        query = select(_told.c.number).where(_told.c.store == store.id)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def keep_told(self, store: Store, number: int) -> None:
        """Remember that a client has this settlement and those before."""
        raised = _told.update().where(_told.c.store == store.id, _told.c.number < number).values(number=number)

        def keep(connection: Connection) -> None:
            if connection.execute(raised).rowcount == 0:
                insert_if_new(connection, _told, {"store": store.id, "number": number})

        await self._database.write(keep)


def _is(store: Store, payment_hash: str) -> tuple[ColumnElement[bool], ...]:
    return _payouts.c.store == store.id, _payouts.c.payment_hash == payment_hash
