"""A fresh BOLT11 before the old one dies: made on demand, once for all viewers and replicas, within a budget."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import CreateInvoiceParams, LightningError, RateLimited
from lightning_host.checkout.table import PURPOSE, CheckoutStatus

if TYPE_CHECKING:
    from connection_strings import LightningInvoice
    from lightning_host.checkout.table import Checkout, CheckoutTable
    from lightning_host.host import Host

__all__ = ["CheckoutRenewal", "dies_at", "is_due"]

_log: Final = logging.getLogger("lightning_host")
_MARGIN: Final = timedelta(seconds=10)
"""How long before its death a BOLT11 is replaced: a payer who has just scanned it still has the time to pay."""

_LEAST_EXPIRY: Final = timedelta(minutes=1)
_PAUSE_SECONDS: Final = 3.0


def dies_at(checkout: Checkout) -> datetime:
    """Return when the BOLT11 has to be replaced; long ago when there is none."""
    if checkout.bolt11_expires_at is None or checkout.bolt11_created_at is None:
        return checkout.created_at
    life = checkout.bolt11_expires_at - checkout.bolt11_created_at
    return checkout.bolt11_expires_at - min(_MARGIN, life / 3)


def is_due(checkout: Checkout, now: datetime) -> bool:
    """Whether the checkout needs another BOLT11, and nobody is at it."""
    waits = checkout.status(now) is CheckoutStatus.NEW and now >= checkout.renew_after
    outlives = checkout.bolt11_expires_at is None or checkout.bolt11_expires_at < checkout.expires_at
    return waits and outlives and now >= dies_at(checkout)


class CheckoutRenewal:
    """Makes the invoices of checkouts.

    Args:
        host: Whose wallets make them.
        rows: Where the checkouts are.

    """

    def __init__(self, host: Host, rows: CheckoutTable) -> None:
        self._host = host
        self._rows = rows

    async def first(self, checkout: Checkout) -> None:
        """Make the first invoice; spends nothing of the budget for renewals.

        Raises:
            LightningError: The wallet makes none.

        """
        await self._rows.renew(checkout, await self._make(checkout))

    async def renew(self, checkout: Checkout) -> None:
        """Make the next invoice, unless somebody else does; a failure is logged and tried again later."""
        if not is_due(checkout, datetime.now(UTC)) or not await self._rows.lease(checkout):
            return
        settings = self._host.settings
        wait = await self._host.budgets.spend(f"checkout {checkout.store}", settings.checkout_allowance)
        if wait:
            _log.info("checkout %s waits %d s for its next invoice: too many are open", checkout.id, wait)
            await self._rows.postpone(checkout, wait)
            return
        try:
            invoice = await self._make(checkout)
        except LightningError as error:
            _log.warning("checkout %s got no new invoice: %s", checkout.id, error)
            pause = error.retry_after.total_seconds() if isinstance(error, RateLimited) else _PAUSE_SECONDS
            await self._rows.postpone(checkout, pause)
            return
        await self._rows.renew(checkout, invoice)

    async def _make(self, checkout: Checkout) -> LightningInvoice:
        store = self._host.stores.get(checkout.store)
        if store is None:
            raise LightningError(f"the store {checkout.store} is not configured any more")
        params = CreateInvoiceParams(
            amount=checkout.amount,
            description=checkout.description,
            expiry=max(_LEAST_EXPIRY, checkout.expires_at - datetime.now(UTC)),
        )
        return await self._host.invoices.create(
            store, params, purpose=PURPOSE, subject=checkout.id, external_id=checkout.external_id
        )
