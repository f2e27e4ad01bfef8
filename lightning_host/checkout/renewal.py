"""A fresh BOLT11 before the old one dies: made on demand, once for all viewers and replicas, within a budget.

No second code is shown before the wallet was asked about the first: its settlement may not have been heard. A code is
asked about once more when the next but one is due, since it can still be paid while its successor is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import CreateInvoiceParams, LightningError, RateLimited
from lightning_host.checkout.table import PURPOSE, CheckoutStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from connection_strings import LightMoney, LightningInvoice
    from lightning_host.allowance import Allowance
    from lightning_host.checkout.table import Checkout, CheckoutTable
    from lightning_host.host import Host
    from lightning_host.invoices import HostInvoices
    from lightning_host.stores import Store

__all__ = ["CheckoutRenewal", "dies_at", "is_due", "needs_code"]

_log: Final = logging.getLogger("lightning_host")
_MARGIN: Final = timedelta(seconds=10)
"""How long before its death a BOLT11 is replaced: a payer who has just scanned it still has the time to pay."""

_LEAST_EXPIRY: Final = timedelta(minutes=1)
_PAUSE_SECONDS: Final = 3.0
_ASK_SECONDS: Final = 2.5
"""How long the wallet may take to tell about the codes shown so far; with the making of the next one it stays below the
lease of a renewal."""

_ASKED: Final = 3


def dies_at(checkout: Checkout) -> datetime:
    """Return when the BOLT11 has to be replaced; long ago when there is none."""
    if checkout.bolt11_expires_at is None or checkout.bolt11_created_at is None:
        return checkout.created_at
    life = checkout.bolt11_expires_at - checkout.bolt11_created_at
    return checkout.bolt11_expires_at - min(_MARGIN, life / 3)


def needs_code(checkout: Checkout, now: datetime) -> bool:
    """Whether the checkout can use another BOLT11 by now."""
    outlives = checkout.bolt11 is None or checkout.code_dies_early
    return checkout.status(now) is CheckoutStatus.NEW and outlives and now >= dies_at(checkout)


def is_due(checkout: Checkout, now: datetime) -> bool:
    """Whether the checkout needs another BOLT11, and nobody is at it."""
    return needs_code(checkout, now) and now >= checkout.renew_after


class CheckoutRenewal:
    """Makes the invoices of checkouts.

    Args:
        host: Whose wallets make them.
        rows: Where the checkouts are.

    Attributes:
        postponed: How often a renewal had to wait for the budget, by store, in this process.

    """

    def __init__(self, host: Host, rows: CheckoutTable) -> None:
        self._host = host
        self._rows = rows
        self.postponed: Counter[str] = Counter()

    async def make(
        self,
        store: Store,
        checkout_id: str,
        amount: LightMoney,
        *,
        description: str,
        external_id: str | None,
        seconds: int,
    ) -> LightningInvoice:
        """Make an invoice of a checkout; the budget of renewals does not hold it back.

        Raises:
            LightningError: The wallet makes none.

        """
        params = CreateInvoiceParams(amount, description, max(_LEAST_EXPIRY, timedelta(seconds=seconds)))
        return await self._host.invoices.create(
            store, params, purpose=PURPOSE, subject=checkout_id, external_id=external_id
        )

    async def renew(self, checkout: Checkout, *, ahead: Collection[Checkout] = ()) -> None:
        """Make the next invoice, unless somebody else does; a failure is logged and tried again later.

        Args:
            checkout: What needs one.
            ahead: The checkouts of this store that have waited longer.

        """
        if not is_due(checkout, datetime.now(UTC)) or not await self._rows.lease(checkout):
            return
        store = self._host.stores.get(checkout.store)
        if store is None:
            _log.warning("checkout %s: the store %s is not configured any more", checkout.id, checkout.store)
            await self._rows.postpone(checkout, _PAUSE_SECONDS)
            return
        try:
            if await self.was_paid(store, checkout):
                return
            wait = await _wait(self._host.invoices, store, self._host.settings.checkout_allowance, ahead)
            if wait:
                _log.info("checkout %s waits %.0f s for its next invoice: too many are open", checkout.id, wait)
                self.postponed[store.id] += 1
                await self._rows.postpone(checkout, wait)
                return
            invoice = await self.make(
                store,
                checkout.id,
                checkout.amount,
                description=checkout.description,
                external_id=checkout.external_id,
                seconds=round((checkout.expires_at - datetime.now(UTC)).total_seconds()),
            )
        except (LightningError, TimeoutError) as error:
            _log.warning("checkout %s got no new invoice: %s", checkout.id, str(error) or "the wallet did not answer")
            pause = error.retry_after.total_seconds() if isinstance(error, RateLimited) else _PAUSE_SECONDS
            await self._rows.postpone(checkout, pause)
            return
        await self._rows.renew(checkout, invoice)

    async def was_paid(self, store: Store, checkout: Checkout) -> bool:
        """Ask the wallet about the codes that were shown last, and record what it knows; tell whether that was enough.

        Raises:
            LightningError: The wallet can't tell now.
            TimeoutError: It did not tell in time.

        """
        shown = await self._host.invoices.newest(store.id, purpose=PURPOSE, subject=checkout.id, limit=_ASKED)
        async with asyncio.timeout(_ASK_SECONDS):
            told = await asyncio.gather(*(store.client.get_invoice(each.payment_hash) for each in shown))
        for invoice in told:
            if invoice is not None:
                await self._host.settlements.see(store, invoice)
        newest = await self._rows.find(checkout.id)
        return newest is not None and newest.paid_at is not None


async def _wait(
    invoices: HostInvoices, store: Store, allowance: Allowance | None, ahead: Collection[Checkout]
) -> float:
    """Return how many seconds a renewal has to wait; 0 when the store's invoices leave room for it and those ahead."""
    if allowance is None:
        return 0
    now, window = datetime.now(UTC), timedelta(seconds=allowance.seconds)
    made = await invoices.made_since(store.id, now - window)
    newest = dict(made)
    # One whose next invoice has just been made counts as that, and no longer as waiting.
    waiting = [each for each in ahead if each.id not in newest or newest[each.id] < dies_at(each)]
    lacking = len(waiting) + 1 - (allowance.times - len(made))
    if lacking <= 0:
        return 0
    leaves = made[lacking - 1][1] if lacking <= len(made) else now
    return max(1.0, (leaves + window - now).total_seconds())
