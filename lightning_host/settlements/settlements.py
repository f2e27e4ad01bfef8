"""The one place that hears of settled invoices: it records each once, and tells all subscribers.

    wallet of a store --listen--> record, once ──> handlers, in the same transaction (credit a card, queue a webhook)
                                     └──────────> subscribers, in every replica (pages, sockets)

Each replica listens to each store's wallet, so that none is missed when one dies. The first that hears inserts the
settlement; its primary key (store, payment hash) decides, and the insert of all others does nothing. The handlers run
in that very transaction: what they do to the database happens exactly once, or not at all and then again from the
start.

Subscribers are told from the table, not by the listener, so that they hear in each replica of what any replica has
recorded, in the order of `number`. A number is taken under a lock that is held until its transaction ends, so numbers
become visible in their order and following them misses none.

A replica that can't read the table for some seconds is *blind*: it ends its subscriptions and gives no new ones, so
that sockets and pages go to another replica instead of waiting at one that knows nothing.

Only invoices in `host_invoices` count: a wallet may have invoices that another host made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from lightning_host.logs import Trouble
from lightning_host.settlements.ledger import Filter, SettlementLedger
from lightning_host.settlements.recorder import Recorder
from lightning_host.settlements.subscription import Subscription
from lightning_host.settlements.wallet_listener import WalletListener
from lightning_host.tasks import TaskSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from connection_strings import LightningClient, LightningInvoice
    from lightning_host.database import Database
    from lightning_host.invoices import HostInvoice
    from lightning_host.settlements.ledger import Settlement
    from lightning_host.settlements.recorder import Handler
    from lightning_host.stores import Store, Stores

__all__ = ["Settlements"]

_log: Final = logging.getLogger("lightning_host")
_POLL_SECONDS: Final = 1.0
_READ_SECONDS: Final = 2.0
_BLIND_SECONDS: Final = 3.0
_PAGE: Final = 500


class Settlements:
    """Hears, records and tells of settled invoices, from `start` to `aclose`.

    Args:
        database: Where they are recorded.
        stores: Whose wallets to listen to.
        poll_seconds: How often to look for what other replicas have recorded.

    """

    def __init__(self, database: Database, stores: Stores, *, poll_seconds: float = _POLL_SECONDS) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._ledger = SettlementLedger(database)
        self._recorder = Recorder(database)
        self._listeners = {store.id: WalletListener(store, self._ledger, self._recorder) for store in stores}
        self._subscriptions: set[Subscription] = set()
        self._number = 0
        self._closing = False
        self._blind = False
        self._unread = Trouble(_log, end="settlements are read from the database again")
        self._tasks = TaskSet()

    def on_settled(self, handler: Handler) -> None:
        """Have a handler called with settlements of a store, in the transaction that records them; before `start`.

        What the handler does through the given connection happens exactly once, across restarts and replicas. It must
        do nothing else that lasts (the transaction may be undone and repeated), nor wait for the network. It gets what
        is recorded together, in the order of `number`. When it raises, none of it is recorded; each is tried by itself
        then, and what fails alone comes again.
        """
        self._recorder.add_handler(handler)

    @asynccontextmanager
    async def subscribe(
        self, store_id: str, *, purpose: str | None = None, subject: str | None = None, after: int | None = None
    ) -> AsyncIterator[Subscription]:
        """Give an iterator over settlements of a store: from now, or all those with a number above `after` first.

        Each is given once, in the order of `number`. The iteration ends when the host closes, and when this replica is
        blind; at another one it goes on after the last number that was had.
        """
        last = self._number if after is None else after
        subscription = Subscription(self._ledger, Filter(store_id, purpose, subject), last, behind=after is not None)
        self._subscriptions.add(subscription)
        if not self.telling:
            subscription.end()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def follow(self, store_id: str, act: Callable[[Settlement], object], *, purpose: str | None = None) -> None:
        """Call `act` with each settlement of a store from now on, until cancelled; may miss some while blind."""
        while True:
            async with self.subscribe(store_id, purpose=purpose) as settled:
                async for settlement in settled:
                    act(settlement)
            await asyncio.sleep(self._poll_seconds)

    @property
    def deaf(self) -> dict[str, str]:
        """The stores whose settlements can't be heard right now, and why."""
        return {name: why for name, listener in self._listeners.items() if (why := listener.deaf) is not None}

    @property
    def heard_since(self) -> dict[str, datetime]:
        """The stores whose settlements are heard, and since when without a break."""
        since = {name: listener.heard_since for name, listener in self._listeners.items()}
        return {name: time for name, time in since.items() if time is not None}

    @property
    def refused(self) -> set[str]:
        """The stores whose wallets refuse the token."""
        return {name for name, listener in self._listeners.items() if listener.token_refused}

    @property
    def telling(self) -> bool:
        """Whether subscribers are told: not while this replica is blind, nor once it closes."""
        return not (self._closing or self._blind)

    def subscribers(self, purpose: str) -> int:
        """Return how many subscriptions to settlements of one purpose are open."""
        return sum(subscription.purpose == purpose for subscription in self._subscriptions)

    async def find(self, store_id: str, payment_hash: str) -> Settlement | None:
        """Return the settlement of an invoice, None while it is not settled."""
        return await self._ledger.find(store_id, payment_hash)

    async def last_number(self) -> int:
        """Return the number of the latest settlement, zero for none."""
        return await self._ledger.last_number()

    async def invoices(
        self,
        store_id: str,
        *,
        settled_only: bool,
        external_id: str | None = None,
        since: int = 0,
        until: int | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> list[tuple[HostInvoice, Settlement | None]]:
        """List the invoices of a store with their settlements, newest first (see `SettlementLedger.invoices`)."""
        return await self._ledger.invoices(
            store_id,
            settled_only=settled_only,
            external_id=external_id,
            since=since,
            until=until,
            offset=offset,
            limit=limit,
        )

    async def count(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return how many were recorded, and how many millisatoshi, by store and purpose."""
        return await self._ledger.totals()

    async def see(self, store: Store, invoice: LightningInvoice) -> None:
        """Record an invoice that was found paid by asking; does nothing when it is not paid or was recorded."""
        await self._recorder.record(store.id, [invoice])

    async def complete(self, settlement: Settlement, invoice: LightningInvoice) -> Settlement:
        """Add to a settlement what its wallet has told since it was recorded; return it as it is then.

        Raises:
            SQLAlchemyError: It can't be written down now.
            OSError: The same.

        """
        return await self._ledger.complete(settlement, invoice)

    async def change_to(self, store: Store, client: LightningClient) -> None:
        """Hear of a store's settlements from another client of its wallet from now on (see `WalletListener`)."""
        await self._listeners[store.id].change_to(client)

    async def prove(self) -> None:
        """Prove that a settlement could be recorded now, by the very lock that recording takes.

        Raises:
            SQLAlchemyError: It could not.
            OSError: The same.

        """
        await self._ledger.prove()

    async def start(self) -> None:
        """Begin to listen and to tell."""
        self._number = await self._ledger.last_number()
        self._tasks.start(self._tell(), "tell of settlements")
        for name, listener in self._listeners.items():
            self._tasks.start(listener.run(), f"listen to {name}")

    def hang_up(self) -> None:
        """End every subscription, and those that follow at once: the host is going down."""
        self._closing = True
        self._end_subscriptions()

    async def aclose(self) -> None:
        """Stop; end every subscription."""
        self.hang_up()
        await self._tasks.aclose()

    # --- telling ----------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Tell subscribers of every settlement above the last number, whichever replica records it."""
        seen = time.monotonic()
        while True:
            self._recorder.recorded.clear()
            page = await self._read()
            if page is not None:
                seen, self._blind = time.monotonic(), False
                self._unread.over()
            elif not self._blind and time.monotonic() - seen > _BLIND_SECONDS:
                _log.error("settlements can't be read from the database: subscribers are sent to other replicas")
                self._blind = True
                self._end_subscriptions()
            for settlement in page or ():
                self._number = settlement.number
                for subscription in [*self._subscriptions]:
                    subscription.offer(settlement)
            if page is None or len(page) < _PAGE:
                await self._wait()

    async def _read(self) -> list[Settlement] | None:
        """Return the next page of settlements, None while they can't be read."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                return await self._ledger.after(self._number, limit=_PAGE)
        except Exception as error:  # noqa: BLE001 - nobody would be told of anything any more if this task ended
            self._unread.tell(f"settlements can't be read from the database: {type(error).__name__}; trying again")
            return None

    def _end_subscriptions(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._recorder.recorded.wait()
        except TimeoutError:
            return
