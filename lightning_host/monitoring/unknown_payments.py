"""Payments that stay unknown: the wallet can't tell whether the money left, so an operator has to look."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connection_strings import LightningError, LightningPaymentStatus, ListPaymentsParams

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from lightning_host.stores import Store

__all__ = ["UnknownPayments", "unknown_payments"]

_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class UnknownPayments:
    """How many payments of a store stay unknown.

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
    # A wallet of another kind may list more than it was asked for.
    unknown = [each for each in listed if each.status is LightningPaymentStatus.UNKNOWN]
    return UnknownPayments(len(unknown), min((each.sent_at or each.created_at for each in unknown), default=None))
