"""Invoices that strangers had made: who asks again for the same gets the same, as long as it can be paid."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import WeakValueDictionary

from aiohttp import web

if TYPE_CHECKING:
    from connection_strings import LightMoney, LightningInvoice

    Key: TypeAlias = tuple[str, str, str, str, int, str]

__all__ = ["OFFERS", "Offers"]

_MOST: Final = 5_000
_LEAST_LEFT: Final = timedelta(seconds=20)
"""How long an invoice must still be payable to be handed out again."""

_REFUSED_FOR: Final = timedelta(minutes=1)
_WHOLE_FOR: Final = timedelta(hours=1)


class Offers:
    """Remembers, in memory and in bounded room, what was made and what could not be made."""

    def __init__(self) -> None:
        self._made: OrderedDict[Key, LightningInvoice] = OrderedDict()
        self._refused: OrderedDict[tuple[str, int], datetime] = OrderedDict()
        self._turns: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    def turn(self, key: Key) -> asyncio.Lock:
        """Return a lock that those who ask for the same at once take in turn."""
        return self._turns.setdefault(key, asyncio.Lock())

    def find(self, key: Key) -> LightningInvoice | None:
        """Return the invoice that was made for the same client, target, amount and comment, if it lives long enough."""
        invoice = self._made.get(key)
        if invoice is not None and invoice.expires_at > datetime.now(UTC) + _LEAST_LEFT:
            return invoice
        self._made.pop(key, None)
        return None

    def keep(self, key: Key, invoice: LightningInvoice) -> None:
        """Remember what was made."""
        self._made[key] = invoice
        if len(self._made) > _MOST:
            self._made.popitem(last=False)

    def is_refused(self, store_id: str, amount: LightMoney) -> bool:
        """Whether the store's wallet could not make this amount a moment ago, or no fractions of a satoshi of late."""
        now, fraction = datetime.now(UTC), bool(amount.msat % 1_000)
        of_fractions = self._refused.get((store_id, 0), now) if fraction else now
        return max(self._refused.get((store_id, amount.msat), now), of_fractions) > now

    def refuse(self, store_id: str, amount: LightMoney) -> None:
        """Remember that the store's wallet can't make an invoice over exactly this amount."""
        now = datetime.now(UTC)
        self._refused[store_id, amount.msat] = now + _REFUSED_FOR
        if amount.msat % 1_000:
            self._refused[store_id, 0] = now + _WHOLE_FOR
        if len(self._refused) > _MOST:
            self._refused.popitem(last=False)


OFFERS: Final = web.AppKey("offers", Offers)
"""Where an application keeps them."""
