"""One subscriber's view of settled invoices."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from lightning_host.settlements.ledger import Filter, Settlement, SettlementLedger

__all__ = ["Subscription"]

_MOST_WAITING: Final = 1_000
_PAGE: Final = 500


class Subscription:
    """Iterates over settlements that fit, each once, in the order of `number`; ends when the host closes.

    New ones are offered to it; older ones, and those that it was too slow to take, it reads from the ledger page by
    page. So it misses none, however many there are. Made by `Settlements.subscribe`.

    Args:
        ledger: Where settlements are recorded.
        wanted: Which are meant.
        last: The number that everything given has to be above.
        behind: Whether there may be recorded ones above it already.

    """

    def __init__(self, ledger: SettlementLedger, wanted: Filter, last: int, *, behind: bool) -> None:
        self._ledger = ledger
        self._wanted = wanted
        self._last = last
        self._behind = behind
        self._waiting: deque[Settlement] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    def offer(self, settlement: Settlement) -> None:
        """Take a settlement that was recorded, if it fits and is new."""
        newest = self._waiting[-1].number if self._waiting else self._last
        if self._ended or self._behind or settlement.number <= newest or not self._wanted.fits(settlement):
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._behind = True
        else:
            self._waiting.append(settlement)
        self._changed.set()

    @property
    def purpose(self) -> str | None:
        """What the wanted settlements were made for; None for all of them."""
        return self._wanted.purpose

    @property
    def more(self) -> bool:
        """Whether further ones are at hand."""
        return bool(self._waiting)

    @property
    def behind(self) -> bool:
        """Whether the next ones are read from the ledger."""
        return self._behind

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
            if self._behind:
                await self._catch_up()
                continue
            self._changed.clear()
            await self._changed.wait()
        settlement = self._waiting.popleft()
        self._last = settlement.number
        return settlement

    async def _catch_up(self) -> None:
        """Read the next page; what is offered meanwhile comes behind it."""
        self._behind = False
        try:
            page = await self._ledger.after(self._last, wanted=self._wanted, limit=_PAGE)
        except BaseException:
            self._behind = True
            raise
        if len(page) == _PAGE:
            self._behind = True
            self._waiting = deque(page)
        else:
            self._waiting = deque({each.number: each for each in (*page, *self._waiting)}.values())
