"""Asking wallets about single invoices, so that one that answers nothing does not hold every caller up.

BTCPay asks about all its open invoices one after the other before it listens again. A wallet that has just failed to
answer is therefore not asked for some seconds: the next caller is told so at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from connection_strings import (
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    LightningError,
    LightningInvoiceStatus,
    NotSupported,
    RequestRefused,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connection_strings import LightningInvoice
    from lightning_host.settlements.ledger import Settlement
    from lightning_host.settlements.settlements import Settlements
    from lightning_host.stores import Store

__all__ = ["InvoiceLookups"]

_ANSWER_SECONDS: Final = 4.0
_REST_SECONDS: Final = 5.0
_COMPLETING_SECONDS: Final = 2.0
_OF_ONE_INVOICE: Final = (InvalidRequest, InvalidReply, NotSupported, RequestRefused)
"""What is about the invoice that was asked for; everything else is about the wallet."""


class InvoiceLookups:
    """Looks invoices up at the wallets, for one process, and has what is found paid recorded."""

    def __init__(self, settlements: Settlements) -> None:
        self._settlements = settlements
        self._failed: dict[str, tuple[float, str]] = {}

    async def look_up(self, store: Store, payment_hash: str) -> LightningInvoice | None:
        """Ask the store's wallet about an invoice; None when it certainly does not know it.

        Raises:
            LightningError: It can't tell now, or could not some seconds ago.
            SQLAlchemyError: The invoice is paid, and that can't be recorded.
            OSError: The same.

        """
        until, words = self._failed.get(store.id, (0.0, ""))
        if time.monotonic() < until:
            raise BackendUnavailable("asking about an invoice", {"wallet": f"it failed a moment ago: {words}"})
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                invoice = await store.client.get_invoice(payment_hash)
        except _OF_ONE_INVOICE:
            raise
        except (LightningError, TimeoutError) as error:
            words = str(error) or f"it did not answer within {_ANSWER_SECONDS:.0f} s"
            self._failed[store.id] = (time.monotonic() + _REST_SECONDS, words)
            if isinstance(error, LightningError):
                raise
            raise BackendUnavailable("asking about an invoice", {"wallet": words}) from None
        self._failed.pop(store.id, None)
        if invoice is not None:
            await self._settlements.see(store, invoice)
        return invoice

    async def complete(self, store: Store, settled: Sequence[Settlement]) -> list[Settlement]:
        """Add what the wallet has learned since the settlements were recorded: preimages, and amounts not known then.

        What the wallet, or the database, can't tell or keep within two seconds in all stays as it was: it is settled
        all the same, and is asked about again the next time.
        """
        told = {settlement.payment_hash: settlement for settlement in settled}
        with contextlib.suppress(LightningError, TimeoutError, SQLAlchemyError, OSError):
            async with asyncio.timeout(_COMPLETING_SECONDS):
                for settlement in settled:
                    if settlement.complete or time.monotonic() < self._failed.get(store.id, (0.0, ""))[0]:
                        continue
                    invoice = await store.client.get_invoice(settlement.payment_hash)
                    if invoice is not None and invoice.status is LightningInvoiceStatus.PAID:
                        told[invoice.payment_hash] = await self._settlements.complete(settlement, invoice)
        return list(told.values())
