"""What the wallets of the stores tell: whether their backends answer, and which payments stay unknown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connection_strings import LightningError, LightningPaymentStatus, ListPaymentsParams, TellsHealth

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from connection_strings import BackendHealth, LightningPayment
    from lightning_host.stores import Store

__all__ = ["UnknownPayments", "backends", "unknown_payments"]

_SECONDS: Final = 3.0
"""How long a wallet may take to say which payments stay unknown."""


def backends(stores: Iterable[Store]) -> dict[str, BackendHealth]:
    """Return how the backend of each store stands, by the store's id; a driver that does not tell is left out."""
    return {store.id: store.client.health for store in stores if isinstance(store.client, TellsHealth)}


@dataclass(frozen=True, slots=True)
class UnknownPayments:
    """How many payments of a store stay unknown: the wallet can't tell whether the money left, so somebody has to look.

    Attributes:
        count: Their number, 1,000 at the most.
        since: When the oldest of them was sent; None when there is none.

    """

    count: int
    since: datetime | None


async def unknown_payments(stores: Iterable[Store]) -> dict[str, UnknownPayments]:
    """Ask every wallet, by the id of its store; one that can't say it now, or never can, is left out."""
    stores = tuple(stores)
    told = await asyncio.gather(*(_of(store) for store in stores))
    return {store.id: found for store, found in zip(stores, told, strict=True) if found is not None}


async def _of(store: Store) -> UnknownPayments | None:
    try:
        async with asyncio.timeout(_SECONDS):
            listed = await store.client.list_payments(ListPaymentsParams(unknown_only=True))
    except (LightningError, TimeoutError):
        return None
    unknown = [each for each in listed if _stays_unknown(each)]
    return UnknownPayments(len(unknown), min((each.sent_at or each.created_at for each in unknown), default=None))


def _stays_unknown(payment: LightningPayment) -> bool:
    """Whether it is not known how a payment ended, and nobody sends it: a wallet may list more than it was asked for.

    One whose backend said "in flight", and may never say more, is pending; its way out tells it from one on its way.
    """
    in_flight = payment.status is LightningPaymentStatus.PENDING and payment.way_out is not None
    return in_flight or payment.status is LightningPaymentStatus.UNKNOWN
