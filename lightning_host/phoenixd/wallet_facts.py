"""What is told of a store's wallet, kept for a while: BTCPay asks for it with each invoice and each page.

Answers are at most `FRESH` old while somebody asks now and then: one that is older is still given, and renewed behind
it. One that is older than `KEPT` is not given any more, so that a wallet that is away is told as away.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connection_strings import NotSupported
from lightning_host.tasks import TaskSet

if TYPE_CHECKING:
    from connection_strings import LightningNodeBalance, LightningNodeInformation
    from lightning_host.stores import Store

__all__ = ["FRESH", "KEPT", "WALLET_FACTS", "WalletFacts"]

FRESH: Final = 15.0
"""Seconds after which what is told is renewed behind the answer."""

KEPT: Final = 60.0
"""Seconds after which it is not told any more."""


@dataclass(frozen=True, slots=True)
class _Facts:
    info: LightningNodeInformation
    balance: LightningNodeBalance | None
    read_at: float

    @property
    def age(self) -> float:
        return time.monotonic() - self.read_at


class WalletFacts:
    """Remembers node information and balance by store, for one process."""

    def __init__(self) -> None:
        self._known: dict[str, _Facts] = {}
        self._reading: dict[str, asyncio.Task[_Facts]] = {}
        self._tasks = TaskSet()

    async def get(self, store: Store) -> tuple[LightningNodeInformation, LightningNodeBalance | None]:
        """Return information and balance; None for a wallet that tells none.

        Raises:
            LightningError: The wallet can't tell now, and what it told before is too old.

        """
        facts = self._known.get(store.id)
        if facts is None or facts.age > KEPT:
            facts = await asyncio.shield(self._read(store))
        elif facts.age > FRESH:
            self._read(store)
        return facts.info, facts.balance

    async def aclose(self) -> None:
        """Stop reading."""
        await self._tasks.aclose()

    def _read(self, store: Store) -> asyncio.Task[_Facts]:
        """Read again; callers that come meanwhile share the answer."""
        reading = self._reading.get(store.id)
        if reading is None or reading.done():
            reading = self._reading[store.id] = self._tasks.start(self._read_now(store), f"read facts of {store.id}")
        return reading

    async def _read_now(self, store: Store) -> _Facts:
        started = time.monotonic()
        # Side by side: clients wait for a few seconds only, and a wallet may take two for each answer.
        info, balance = await asyncio.gather(store.client.get_info(), _balance_of(store), return_exceptions=True)
        if isinstance(info, BaseException):
            raise info
        if isinstance(balance, BaseException):
            raise balance
        facts = self._known[store.id] = _Facts(info, balance, started)
        return facts


async def _balance_of(store: Store) -> LightningNodeBalance | None:
    try:
        return await store.client.get_balance()
    except NotSupported:
        return None


WALLET_FACTS: Final = web.AppKey("wallet_facts", WalletFacts)
"""Where an application keeps them."""
