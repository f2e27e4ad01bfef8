"""Records each settlement once, together with all that follows from it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from connection_strings import LightningInvoiceStatus
from lightning_host.settlements.ledger import keep_cursor, record_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from connection_strings import LightningInvoice
    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement

    Handler: TypeAlias = Callable[[Connection, Sequence[Settlement]], None]

__all__ = ["Recorder", "amount_is_awaited"]

_log: Final = logging.getLogger("lightning_host")
_AMOUNT_PATIENCE: Final = timedelta(minutes=1)
"""How long after a payment its amount is waited for; a wallet that may not read it never tells it."""


def amount_is_awaited(invoice: LightningInvoice) -> bool:
    """Whether a payment of any amount has just been made and the wallet does not know yet how much came."""
    if invoice.paid_at is None or invoice.amount_received is not None or invoice.amount is not None:
        return False
    return datetime.now(UTC) - invoice.paid_at < _AMOUNT_PATIENCE


class Recorder:
    """Writes settlements down, for one process.

    Attributes:
        recorded: Set after each one.

    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._handlers: list[Handler] = []
        self.recorded = asyncio.Event()

    def add_handler(self, handler: Handler) -> None:
        """Have a handler called with what is recorded, in the transaction that records it."""
        self._handlers.append(handler)

    async def record(self, store_id: str, invoices: Sequence[LightningInvoice], *, cursor: str | None = None) -> None:
        """Record invoices that are paid and were made by this host, each once, all in one transaction.

        One whose amount is still awaited is not recorded yet: a settlement is written once, and not as nothing.

        Args:
            store_id: Whose they are.
            invoices: Of whatever status.
            cursor: Where the listener stands once they are recorded; None keeps it where it was.

        Raises:
            Exception: The database's, or a handler's; then nothing was recorded.

        """
        paid = [
            invoice
            for invoice in invoices
            if invoice.status is LightningInvoiceStatus.PAID and not amount_is_awaited(invoice)
        ]
        if paid or cursor is not None:
            await self._record(store_id, paid, cursor)

    async def _record(self, store_id: str, paid: Sequence[LightningInvoice], cursor: str | None) -> None:
        def record(connection: Connection) -> list[Settlement]:
            settlements = record_settled(connection, store_id, paid) if paid else []
            if settlements:
                for handler in self._handlers:
                    handler(connection, settlements)
            if cursor is not None:
                keep_cursor(connection, store_id, cursor)
            return settlements

        for settlement in await self._database.write(record):
            _log.info("store %s: %s settled for %s", store_id, settlement.payment_hash, settlement.purpose)
        self.recorded.set()
