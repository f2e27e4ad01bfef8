"""What an amount is worth in the currency that a wallet holds, where the wallet tells."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from connection_strings import LightningError

if TYPE_CHECKING:
    from connection_strings import BalanceEstimate, LightMoney
    from lightning_host.stores import Store

__all__ = ["FiatQuotes"]

_PATIENCE_SECONDS: Final = 2.0
_KEEP_SECONDS: Final = 60.0
_LEAST: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class _Known:
    estimate: BalanceEstimate | None
    until: float


class FiatQuotes:
    """Turns amounts into words such as `≈ 1.05 USD`, at the rate that the wallet values its balance with."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def words(self, store: Store, amount: LightMoney) -> str | None:
        """Return the amount in words; None when the wallet tells no rate, or not soon enough."""
        known = self._known.get(store.id)
        if known is None or known.until <= time.monotonic():
            known = _Known(await self._ask(store), time.monotonic() + _KEEP_SECONDS)
            self._known[store.id] = known
        if known.estimate is None:
            return None
        units = amount.sat * known.estimate.minor_units_per_sat / 100
        words = f"≈ {units:,.2f}" if units >= _LEAST else f"< {_LEAST}"
        return f"{words}\N{NO-BREAK SPACE}{known.estimate.currency}"

    async def _ask(self, store: Store) -> BalanceEstimate | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return (await store.client.get_balance()).estimate
        except (LightningError, TimeoutError):
            return None  # a page without it is better than none
