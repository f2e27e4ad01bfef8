"""Orders that are marked paid exactly once, whatever is restarted: what the shops of this folder share.

Three tables. `orders` is the shop's own. `invoices` says which order an invoice belongs to: one order may need several,
because an invoice of Flash lives for a minute. `cursor` says how far the listener has read, and is written in the very
transaction that marks an order, so that a crash between the two can't happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from connection_strings import CreateInvoiceParams, LightMoney, LightningClientFactory, LightningError, PayableOrder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from connection_strings import LightningInvoice

__all__ = ["Order", "Shop", "UnknownOrderError"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, sat INTEGER NOT NULL, paid_by TEXT);
CREATE TABLE IF NOT EXISTS invoices (payment_hash TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders);
CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
"""
_PAUSE_SECONDS = 1.0
_log = logging.getLogger("shop")


class UnknownOrderError(LookupError):
    """There is no such order."""


@dataclass(frozen=True)
class Order:
    """An order as the table holds it; `paid_by` is the payment hash that paid it."""

    id: str
    sat: int
    paid_by: str | None


class Shop:
    """Opens orders, shows what can be paid, and marks them paid.

    Args:
        connection_string: The wallet, for example `type=flash;token=...`.
        path: The SQLite file with the tables; several workers may share it.

    """

    def __init__(self, connection_string: str, path: str) -> None:
        self._client = LightningClientFactory().create(connection_string)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; {_SCHEMA}")
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen(), name="shop listens")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._client.aclose()
        self._database.close()

    def open_order(self, sat: int) -> str:
        """Take an order over whole satoshi, and return its id.

        Raises:
            ValueError: The amount is not above zero.

        """
        if sat <= 0:
            raise ValueError("an order is over one satoshi or more")
        order_id = uuid.uuid4().hex
        self._database.execute("INSERT INTO orders VALUES (?, ?, NULL)", (order_id, sat))
        return order_id

    def find(self, order_id: str) -> Order:
        """Read an order.

        Raises:
            UnknownOrderError: There is none of this id.

        """
        row = self._database.execute("SELECT id, sat, paid_by FROM orders WHERE id = ?", (order_id,)).fetchone()
        if row is None:
            raise UnknownOrderError(order_id)
        return Order(*row)

    async def invoice_to_show(self, order_id: str) -> LightningInvoice | None:
        """Return what the customer has to pay now; None once the order is paid.

        Raises:
            UnknownOrderError: There is no such order.
            LightningError: The wallet can't make an invoice, or can't say whether the last one was paid.

        """
        order = self.find(order_id)
        if order.paid_by is not None:
            return None
        invoice = await self._payable_order(order).payable_invoice()
        row = (invoice.payment_hash, order_id)
        self._database.execute("INSERT INTO invoices VALUES (?, ?) ON CONFLICT DO NOTHING", row)
        if invoice.paid_at is not None:
            self._mark_paid(invoice.payment_hash)
            return None
        return invoice

    def _payable_order(self, order: Order) -> PayableOrder:
        """Take the order up from the table each time: another worker may have made an invoice meanwhile."""
        made = self._database.execute("SELECT payment_hash FROM invoices WHERE order_id = ?", (order.id,)).fetchall()
        params = CreateInvoiceParams(LightMoney.from_sat(order.sat), f"Order {order.id[:8]}", timedelta(minutes=15))
        return PayableOrder(self._client, params, [payment_hash for (payment_hash,) in made])

    async def _listen(self) -> None:
        """Mark what is paid, from where the last listener stood; tried again for as long as the shop is open."""
        while True:
            try:
                async with await self._client.listen(after=self._cursor()) as listener:
                    async for paid in listener:
                        self._mark_paid(paid.payment_hash, listener.cursor)
            except LightningError as error:
                _log.warning("not listening now: %s", error)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _cursor(self) -> str | None:
        row = self._database.execute("SELECT value FROM cursor").fetchone()
        return None if row is None else str(row[0])

    def _mark_paid(self, payment_hash: str, cursor: str | None = None) -> None:
        """Mark the order of an invoice, and remember how far was read, both or neither."""
        with self._transaction():
            self._database.execute(
                "UPDATE orders SET paid_by = ?1 WHERE paid_by IS NULL"
                " AND id = (SELECT order_id FROM invoices WHERE payment_hash = ?1)",
                (payment_hash,),
            )
            if cursor is not None:
                self._database.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (cursor,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
