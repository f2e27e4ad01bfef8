"""The one place that hears of settled invoices: it records each once, and tells whoever wants to know.

    wallet of a store --listen--> record, once ──> handlers, in the same transaction (credit a card, queue a webhook)
                                     └──────────> subscribers, in every replica (pages, sockets)

Each replica listens to each store's wallet, so that none is missed when one dies. Whoever hears first inserts the
settlement; its primary key (store, payment hash) decides, and everybody else's insert does nothing. The handlers run in
that very transaction: what they do to the database happens exactly once, or not at all and then again from the start.

Subscribers are told from the table, not by the listener, so that they hear in each replica of what any replica has
recorded, in the order of `number`. A number is taken under a lock that is held until its transaction ends, so numbers
become visible in their order and following them misses none.

Only invoices in `host_invoices` count: a wallet may have invoices that another host made.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from sqlalchemy.exc import SQLAlchemyError

from connection_strings import InvalidRequest, LightningError, LightningInvoiceStatus
from lightning_host.settlements.ledger import SettlementLedger
from lightning_host.settlements.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from connection_strings import LightningInvoice, LightningInvoiceListener
    from lightning_host.database import Database
    from lightning_host.invoices import HostInvoice
    from lightning_host.settlements.ledger import Settlement
    from lightning_host.stores import Store, Stores

    Handler: TypeAlias = Callable[[AsyncConnection, Settlement], Awaitable[None]]

__all__ = ["Settlements"]

_log: Final = logging.getLogger("lightning_host")
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_POLL_SECONDS: Final = 1.0
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
        self._stores = stores
        self._poll_seconds = poll_seconds
        self._ledger = SettlementLedger(database)
        self._handlers: list[Handler] = []
        self._subscriptions: set[Subscription] = set()
        self._recorded = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._deaf: dict[str, str] = {store.id: "not listening yet" for store in stores}

    def on_settled(self, handler: Handler) -> None:
        """Have a handler called with each settlement, in the transaction that records it; call before `start`.

        What the handler does through the given connection happens exactly once, across restarts and replicas. It must
        do nothing else that lasts (the transaction may be undone and repeated), nor wait for the network. When it
        raises, the settlement is not recorded, and comes again.
        """
        self._handlers.append(handler)

    @asynccontextmanager
    async def subscribe(
        self, store_id: str, *, purpose: str | None = None, subject: str | None = None, after: int | None = None
    ) -> AsyncIterator[Subscription]:
        """Give an iterator over settlements of a store: from now, or those with a number above `after` first.

        Each is given once. A subscriber that falls too far behind is cut off: its iteration ends, and it may subscribe
        again after the last number it had. At most 500 older ones are given.
        """
        subscription = Subscription(store_id, purpose, subject)
        if after is not None:
            subscription.hold()
        self._subscriptions.add(subscription)
        if self._closing:
            subscription.end()
        try:
            if after is not None:
                subscription.release(await self._ledger.after(after, store_id=store_id, limit=_PAGE))
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    @property
    def deaf(self) -> dict[str, str]:
        """The stores whose settlements can't be heard right now, and why."""
        return dict(self._deaf)

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    async def find(self, store_id: str, payment_hash: str) -> Settlement | None:
        """Return the settlement of an invoice, None while it is not settled."""
        return await self._ledger.find(store_id, payment_hash)

    async def last_number(self) -> int:
        """Return the number of the latest settlement, zero for none."""
        return await self._ledger.last_number()

    async def invoices(
        self, store_id: str, *, settled_only: bool, external_id: str | None = None, offset: int = 0, limit: int = 100
    ) -> list[tuple[HostInvoice, Settlement | None]]:
        """List the invoices of a store with their settlements, newest first."""
        return await self._ledger.invoices(
            store_id, settled_only=settled_only, external_id=external_id, offset=offset, limit=limit
        )

    async def count(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return how many were recorded, and how many millisatoshi, by store and purpose."""
        return await self._ledger.totals()

    async def start(self) -> None:
        """Begin to listen and to tell."""
        last = await self._ledger.last_number()
        self._tasks.append(asyncio.create_task(self._follow(last), name="follow settlements"))
        for store in self._stores:
            self._tasks.append(asyncio.create_task(self._listen(store), name=f"listen to {store.id}"))

    def hang_up(self) -> None:
        """End every subscription, and those that follow at once: the host is going down."""
        self._closing = True
        for subscription in self._subscriptions:
            subscription.end()

    async def aclose(self) -> None:
        """Stop; end every subscription."""
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def see(self, store: Store, invoice: LightningInvoice) -> None:
        """Record an invoice that somebody found paid by asking; does nothing when it is not paid or was recorded."""
        if invoice.status is LightningInvoiceStatus.PAID:
            await self._record(store, invoice, None)

    # --- hearing ----------------------------------------------------------------------------------------------------

    async def _listen(self, store: Store) -> None:
        """Listen to one store for ever: each time from where it stood."""
        pause = _FIRST_PAUSE
        while True:
            try:
                listener = await self._open(store)
                async with listener:
                    self._deaf.pop(store.id, None)
                    async for invoice in listener:
                        await self._record(store, invoice, listener.cursor)
                        pause = _FIRST_PAUSE
                reason = "the wallet stopped telling"
            except (LightningError, SQLAlchemyError, OSError) as error:
                reason = f"{type(error).__name__}: {error}" if isinstance(error, LightningError) else "database trouble"
            except Exception as error:  # noqa: BLE001 - a handler or a driver has a fault: the settlement comes again
                _log.exception("recording a settlement of store %s failed", store.id)
                reason = type(error).__name__
            self._deaf[store.id] = reason
            _log.warning("store %s is not heard: %s; listening again in %.1f s", store.id, reason, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _open(self, store: Store) -> LightningInvoiceListener:
        """Listen from the cursor that was kept; where there is none, or it is refused, ask about open invoices."""
        cursor = await self._ledger.cursor(store.id)
        if cursor is not None:
            try:
                return await store.client.listen(after=cursor)
            except InvalidRequest as error:
                _log.warning("the cursor of store %s is of no use: %s; asking about open invoices", store.id, error)
        listener = await store.client.listen()
        try:
            cursor = listener.cursor
            for payment_hash in await self._ledger.open_invoices(store.id):
                invoice = await store.client.get_invoice(payment_hash)
                if invoice is not None:
                    await self.see(store, invoice)
            # Not before: a cursor that is kept says that nothing in front of it is missing.
            await self._ledger.keep_cursor(store.id, cursor)
        except BaseException:
            await listener.aclose()
            raise
        return listener

    async def _record(self, store: Store, invoice: LightningInvoice, cursor: str | None) -> None:
        async with self._database.begin() as connection:
            settlement = await self._ledger.record(connection, store.id, invoice)
            if settlement is not None:
                for handler in self._handlers:
                    await handler(connection, settlement)
            if cursor is not None:
                await self._ledger.keep_cursor(store.id, cursor, connection=connection)
        if settlement is not None:
            _log.info("store %s: %s settled for %s", store.id, settlement.payment_hash, settlement.purpose)
        self._recorded.set()

    # --- telling ----------------------------------------------------------------------------------------------------

    async def _follow(self, number: int) -> None:
        """Tell subscribers of every settlement above a number, whichever replica records it."""
        while True:
            self._recorded.clear()
            try:
                page = await self._ledger.after(number, limit=_PAGE)
            except Exception as error:  # noqa: BLE001 - nobody would be told of anything any more if this task ended
                _log.warning("settlements can't be read from the database: %s; trying again", type(error).__name__)
                page = []
            for settlement in page:
                number = settlement.number
                for subscription in [*self._subscriptions]:
                    subscription.offer(settlement)
            if len(page) < _PAGE:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._recorded.wait()
        except TimeoutError:
            return
