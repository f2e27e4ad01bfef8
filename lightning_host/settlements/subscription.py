"""One subscriber's view of settled invoices."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from lightning_host.settlements.ledger import Settlement

__all__ = ["Subscription"]

_MOST_WAITING: Final = 1_000


class Subscription:
    """Iterates over settlements that fit, each once, in the order of `number`; ends when the host closes.

    Made by `Settlements.subscribe`.
    """

    def __init__(self, store_id: str, purpose: str | None, subject: str | None) -> None:
        self._store_id = store_id
        self._purpose = purpose
        self._subject = subject
        self._waiting: deque[Settlement] = deque()
        self._changed = asyncio.Event()
        self._last = 0
        self._ended = False
        self._held: list[Settlement] | None = None

    def hold(self) -> None:
        """Keep back what is offered until `release`: older settlements are on their way."""
        self._held = []

    def release(self, older: list[Settlement]) -> None:
        """Take the older settlements, then what was kept back."""
        held, self._held = self._held or [], None
        for settlement in (*older, *held):
            self.offer(settlement)

    def offer(self, settlement: Settlement) -> None:
        """Take a settlement if it fits and is new; a subscriber too far behind is cut off instead."""
        fits = (
            settlement.number > self._last
            and settlement.store == self._store_id
            and self._purpose in (None, settlement.purpose)
            and self._subject in (None, settlement.subject)
        )
        if not fits or self._ended:
            return
        if self._held is not None:
            self._held.append(settlement)
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.end()
            return
        self._last = settlement.number
        self._waiting.append(settlement)
        self._changed.set()

    def end(self) -> None:
        """Let the iteration end once what is waiting has been given out."""
        self._ended = True
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Settlement:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()
