"""Keeps one order payable for longer than one invoice lives."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from connection_strings.lightning import LightningInvoiceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connection_strings.lightning import CreateInvoiceParams, LightningClient, LightningInvoice

__all__ = ["PayableOrder"]


def _now() -> datetime:
    return datetime.now(UTC)


class PayableOrder:
    """One order, payable by one invoice after the other.

    Some wallets make invoices that live for a minute, and a customer takes longer. A host shows `payable_invoice()`
    whenever somebody looks at the order. No second invoice is made before the server was asked about the earlier ones,
    so that a customer who has paid is never asked to pay again.

    Keep `invoice_ids` in the host's database: a payment is heard of by its invoice, and with the ids the order can be
    taken up again after a restart.

    Args:
        client: The wallet.
        params: The terms of each invoice: amount, description, expiry.
        invoice_ids: The invoices that were made before, oldest first.
        least_life: For how long an invoice must still be payable to be shown.
        clock: Tells the time, with its zone.

    """

    def __init__(
        self,
        client: LightningClient,
        params: CreateInvoiceParams,
        invoice_ids: Iterable[str] = (),
        *,
        least_life: timedelta = timedelta(seconds=10),
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._client = client
        self._params = params
        self._ids = list(invoice_ids)
        self._least_life = least_life
        self._clock = clock
        self._turn = asyncio.Lock()

    @property
    def invoice_ids(self) -> tuple[str, ...]:
        """The ids of all invoices of this order, oldest first."""
        return tuple(self._ids)

    async def payable_invoice(self) -> LightningInvoice:
        """Return the invoice to show now: the paid one if one is paid, else one that can still be paid.

        Raises:
            LightningError: It can't be found out now whether an earlier invoice was paid, or none can be made.

        """
        async with self._turn:
            newest = None
            for invoice_id in reversed(self._ids):
                invoice = await self._client.get_invoice(invoice_id)
                if invoice is not None and invoice.status is LightningInvoiceStatus.PAID:
                    return invoice
                newest = newest or invoice
            if newest is not None and self._lives_on(newest):
                return newest
            made = await self._client.create_invoice(self._params)
            self._ids.append(made.id)
            return made

    def _lives_on(self, invoice: LightningInvoice) -> bool:
        unpaid = invoice.status is LightningInvoiceStatus.UNPAID
        return unpaid and invoice.expires_at - self._clock() >= self._least_life
