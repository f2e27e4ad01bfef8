"""Records each settlement once, together with all that follows from it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from connection_strings import LightningInvoiceStatus
from lightning_host.tasks import TaskSet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sqlalchemy.ext.asyncio import AsyncConnection

    from connection_strings import LightningInvoice
    from lightning_host.database import Database
    from lightning_host.settlements.ledger import Settlement, SettlementLedger

    Handler: TypeAlias = Callable[[AsyncConnection, Settlement], Awaitable[None]]

__all__ = ["Recorder", "amount_is_awaited"]

_T = TypeVar("_T")
_log: Final = logging.getLogger("lightning_host")
_LAST_SECONDS: Final = 5.0
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

    def __init__(self, database: Database, ledger: SettlementLedger) -> None:
        self._database = database
        self._ledger = ledger
        self._handlers: list[Handler] = []
        self._writing = TaskSet()
        self.recorded = asyncio.Event()

    def add_handler(self, handler: Handler) -> None:
        """Have a handler called with each settlement, in the transaction that records it."""
        self._handlers.append(handler)

    async def record(self, store_id: str, invoice: LightningInvoice, *, cursor: str | None = None) -> None:
        """Record an invoice if it is paid and was made by this host, once; keep where the listener stands, if given.

        One whose amount is still awaited is not recorded yet: a settlement is written once, and not as nothing.

        Raises:
            Exception: The database's, or a handler's; then nothing was recorded.

        """
        if invoice.status is LightningInvoiceStatus.PAID and not amount_is_awaited(invoice):
            await self._whole(self._record(store_id, invoice, cursor))

    async def complete(self, settlement: Settlement, invoice: LightningInvoice) -> Settlement:
        """Add to a settlement what its wallet has told since; return it as it is then."""
        return await self._whole(self._ledger.complete(settlement, invoice))

    async def keep_cursor(self, store_id: str, cursor: str) -> None:
        """Write down where a store's listener stands."""
        await self._whole(self._ledger.keep_cursor(store_id, cursor))

    async def _whole(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let a transaction come to its end even if its caller is cancelled: SQLite stays locked by half of one."""
        return await asyncio.shield(self._writing.start(work, "recording"))

    async def aclose(self) -> None:
        """Wait for what is being written."""
        await self._writing.aclose(patience=_LAST_SECONDS)

    async def _record(self, store_id: str, invoice: LightningInvoice, cursor: str | None) -> None:
        async with self._database.begin() as connection:
            settlement = await self._ledger.record(connection, store_id, invoice)
            if settlement is not None:
                for handler in self._handlers:
                    await handler(connection, settlement)
            if cursor is not None:
                await self._ledger.keep_cursor(store_id, cursor, connection=connection)
        if settlement is not None:
            _log.info("store %s: %s settled for %s", store_id, settlement.payment_hash, settlement.purpose)
        self.recorded.set()
