"""What open pages look at: each checkout's newest state, read once for all who look at it.

Settlements wake it at once; what other replicas do and invoices that are about to die are seen by a look at the
database every second, one for all checkouts together. Checkouts that nobody looks at cost nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from lightning_host.checkout.renewal import dies_at, is_due, needs_code
from lightning_host.checkout.table import PURPOSE
from lightning_host.logs import Trouble
from lightning_host.tasks import TaskSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lightning_host.checkout.renewal import CheckoutRenewal
    from lightning_host.checkout.table import Checkout, CheckoutStatus, CheckoutTable
    from lightning_host.host import Host

__all__ = ["CheckoutView", "LiveCheckouts"]

_log: Final = logging.getLogger("lightning_host")
_TICK_SECONDS: Final = 1.0
_PAGE: Final = 500


class CheckoutView:
    """One checkout as this process saw it last.

    Attributes:
        checkout: Its newest state.
        changed: Set once that state is outdated; each state has an event of its own.

    """

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self._shown = _shown(checkout)
        self.changed = asyncio.Event()
        self.viewers = 0

    def update(self, checkout: Checkout) -> None:
        """Take a newer state, and wake up those who wait if something is different by now."""
        shown = _shown(checkout)
        if shown != self._shown:
            self.checkout, self._shown = checkout, shown
            self.changed.set()
            self.changed = asyncio.Event()


class LiveCheckouts:
    """Follows every checkout that somebody looks at.

    Args:
        host: Tells of settlements.
        rows: Where the checkouts are.
        renewal: Makes fresh invoices.

    """

    def __init__(self, host: Host, rows: CheckoutTable, renewal: CheckoutRenewal) -> None:
        self._host = host
        self._rows = rows
        self._renewal = renewal
        self._views: dict[str, CheckoutView] = {}
        self._renewing: set[str] = set()
        self._tasks = TaskSet()
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow while the block runs."""
        follow = self._host.settlements.follow
        for store in self._host.stores:
            following = follow(store.id, lambda _: self._wake.set(), purpose=PURPOSE)
            self._tasks.start(following, f"follow settlements of checkouts of {store.id}")
        self._tasks.start(self._run(), "watch checkouts")
        try:
            yield
        finally:
            await self._tasks.aclose()

    @asynccontextmanager
    async def view(self, checkout: Checkout) -> AsyncIterator[CheckoutView]:
        """Look at a checkout while the block runs."""
        view = self._views.setdefault(checkout.id, CheckoutView(checkout))
        view.viewers += 1
        self._wake.set()  # it may have changed since it was read, and its invoice may be about to die
        try:
            yield view
        finally:
            view.viewers -= 1
            if view.viewers == 0:
                del self._views[checkout.id]

    async def _run(self) -> None:
        trouble = Trouble(_log, end="open checkouts are followed again")
        while True:
            self._wake.clear()
            try:
                await self._look()
                trouble.over()
            except Exception as error:  # noqa: BLE001 - no open page would be told of anything any more
                trouble.tell(f"open checkouts can't be followed now: {type(error).__name__}; trying again")
            try:
                async with asyncio.timeout(self._until_next_look()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _until_next_look(self) -> float | None:
        """Look every second, and just when an invoice has to be replaced; never while nobody looks at anything."""
        if not self._views:
            return None
        next_due = min(dies_at(view.checkout) for view in self._views.values())
        until_due = (next_due - datetime.now(UTC)).total_seconds()
        return until_due if 0 < until_due < _TICK_SECONDS else _TICK_SECONDS

    def ahead_of(self, checkout: Checkout) -> list[Checkout]:
        """Return the checkouts of the same store that somebody looks at and that have waited longer for a code."""
        now, since = datetime.now(UTC), dies_at(checkout)
        others = (view.checkout for view in self._views.values() if view.checkout.store == checkout.store)
        return [other for other in others if dies_at(other) < since and needs_code(other, now)]

    async def _look(self) -> None:
        ids = [*self._views]
        for start in range(0, len(ids), _PAGE):
            for checkout in await self._rows.find_many(ids[start : start + _PAGE]):
                view = self._views.get(checkout.id)
                if view is not None:
                    view.update(checkout)
        self._renew()

    def _renew(self) -> None:
        """Begin to renew what is due; who has waited longest comes first."""
        if self._host.settings.checkout_codes == "lnurl":
            return
        now = datetime.now(UTC)
        ahead: defaultdict[str, list[Checkout]] = defaultdict(list)
        wanting = (view.checkout for view in self._views.values() if needs_code(view.checkout, now))
        for checkout in sorted(wanting, key=dies_at):
            if checkout.id not in self._renewing and is_due(checkout, now):
                self._renewing.add(checkout.id)
                self._tasks.start(self._renew_one(checkout, [*ahead[checkout.store]]), f"renew checkout {checkout.id}")
            ahead[checkout.store].append(checkout)

    async def _renew_one(self, checkout: Checkout, ahead: list[Checkout]) -> None:
        try:
            await self._renewal.renew(checkout, ahead=ahead)
        except (SQLAlchemyError, OSError):
            _log.warning("checkout %s got no new invoice: database trouble", checkout.id)
        finally:
            self._renewing.discard(checkout.id)
            self._wake.set()


def _shown(checkout: Checkout) -> tuple[Checkout, CheckoutStatus, bool]:
    """Return all that decides what a page shows at this moment."""
    now = datetime.now(UTC)
    return checkout, checkout.status(now), checkout.payable(now)
