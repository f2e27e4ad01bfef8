"""Listens to one store's wallet, from where it stood, and records what it hears.

The cursor that is kept says that nothing in front of it is missing. What can't be recorded at once is put into a
backlog, which is asked about and recorded beside the listening; while there is a backlog the cursor stays where it is,
and after a restart everything behind it is heard again. So one settlement that can't be recorded, or one invoice that
can't be told, stops no other. A payment whose amount the wallet does not know yet waits there too, for a minute: it is
recorded once, and must not be recorded as nothing.

What comes while something is being recorded is recorded together, in one transaction.

Where there is no cursor, or the wallet refuses it, all open invoices that could be paid in the last two days are the
backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from connection_strings import CredentialRejected, InvalidRequest, LightningError
from lightning_host.database import is_away
from lightning_host.logs import Trouble
from lightning_host.settlements.batches import in_batches
from lightning_host.settlements.recorder import amount_is_awaited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from connection_strings import LightningClient, LightningInvoice, LightningInvoiceListener
    from lightning_host.settlements.batches import Heard
    from lightning_host.settlements.ledger import SettlementLedger
    from lightning_host.settlements.recorder import Recorder
    from lightning_host.stores import Store

__all__ = ["WalletListener"]

_log: Final = logging.getLogger("lightning_host")
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
"""Not longer, because a wallet whose token is dead asks about its open invoices while it is listened to only."""

SOUND_SECONDS: Final = 12.0
"""How long listening has to go well after a failure before the store counts as heard.

A wallet that refuses its token lets each listener begin, and fails it once it is certain of that, some seconds later.
"""


class WalletListener:
    """Listens to one store's wallet while `run` runs.

    Attributes:
        deaf: Why its settlements can't be heard right now; None while they are. The reason of a failure stays until
            listening has gone well for a while.
        token_refused: Whether that reason is that the wallet refuses the store's token.

    """

    def __init__(self, store: Store, ledger: SettlementLedger, recorder: Recorder) -> None:
        self._store = store
        self._ledger = ledger
        self._recorder = recorder
        self._backlog: set[str] = set()
        self._behind = asyncio.Event()
        self._stands = ""
        self._failed = False
        self._client = store.client
        self._next: LightningInvoiceListener | None = None
        self._changed = asyncio.Event()
        self._heard_since: datetime | None = None
        self._not_heard = Trouble(_log, end=f"store {store.id} is heard again")
        self._not_told = Trouble(_log, end=f"all invoices of store {store.id} are told again")
        self.deaf: str | None = "not listening yet"
        self.token_refused = False

    async def run(self) -> None:
        """Listen for ever: each time from where it stood."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work_off(), name=f"work off the backlog of {self._store.id}")
            pause = _FIRST_PAUSE
            while True:
                self._changed.clear()
                reason = await self._listen()
                if self._changed.is_set():
                    pause, self._failed = _FIRST_PAUSE, False
                    continue
                pause = _FIRST_PAUSE if self.deaf is None else min(pause * 2, _LONGEST_PAUSE)
                self.deaf, self._failed = reason, True
                self._not_heard.tell(f"store {self._store.id} is not heard: {reason}; listening again until it is")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                        self._failed = False

    async def change_to(self, client: LightningClient) -> None:
        """Listen to another client of the same wallet, from where this stands; nothing is missed between the two.

        Raises:
            InvalidRequest: Its wallet does not know where this stands, so it is another wallet.
            LightningError: It can't be listened to now. In both cases all goes on with the client before.
            SQLAlchemyError: Where this stands can't be read now; likewise.
            OSError: The same.

        """
        cursor = await self._ledger.cursor(self._store.id)
        opened = None if cursor is None else await client.listen(after=cursor)
        self._client, self._next = client, opened
        self._changed.set()

    async def _listen(self) -> str:
        """Listen until that ends; gives the reason."""
        try:
            async with (
                await self._open() as listener,
                self._closed_for_another(listener),
                self._hearing(),
                aclosing(in_batches(listener)) as batches,
            ):
                async for heard in batches:
                    await self._hear(heard)
        except LightningError as error:
            self.token_refused = isinstance(error, CredentialRejected)
            return f"{type(error).__name__}: {error}"
        except (SQLAlchemyError, OSError):
            return "database trouble"
        except Exception as error:  # noqa: BLE001 - a driver has a fault: it is asked again
            _log.exception("listening to store %s failed", self._store.id)
            return type(error).__name__
        return "the wallet stopped telling"

    @asynccontextmanager
    async def _closed_for_another(self, listener: LightningInvoiceListener) -> AsyncIterator[None]:
        """Close the listener, which ends its iteration, once another client is to be listened to."""

        async def close() -> None:
            await self._changed.wait()
            await listener.aclose()

        closing = asyncio.create_task(close(), name=f"listen to another client of {self._store.id}")
        try:
            yield
        finally:
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)

    @asynccontextmanager
    async def _hearing(self) -> AsyncIterator[None]:
        """Call the store heard: at once the first time, after a failure once listening has gone well for a while."""
        after = SOUND_SECONDS if self._failed else 0
        sound = asyncio.get_running_loop().call_later(after, self._is_heard)
        try:
            yield
        finally:
            sound.cancel()

    @property
    def heard_since(self) -> datetime | None:
        """Since when settlements are heard without a break; None while they are not."""
        return self._heard_since if self.deaf is None else None

    def _is_heard(self) -> None:
        if self.deaf is not None:
            self._heard_since = datetime.now(UTC)
        self.deaf, self.token_refused, self._failed = None, False, False
        self._not_heard.over()

    async def _open(self) -> LightningInvoiceListener:
        if self._next is not None:
            listener, self._next = self._next, None
            self._stands = listener.cursor
            return listener
        cursor = await self._ledger.cursor(self._store.id)
        if cursor is not None:
            try:
                listener = await self._client.listen(after=cursor)
            except InvalidRequest as error:
                words = "the cursor of store %s is of no use: %s; asking about open invoices"
                _log.warning(words, self._store.id, error)
            else:
                self._stands = listener.cursor
                return listener
        listener = await self._client.listen()
        try:
            self._backlog.update(await self._ledger.open_invoices(self._store.id))
        except BaseException:
            await listener.aclose()
            raise
        self._stands = listener.cursor
        self._behind.set()  # also for no open invoice at all: the cursor is kept then
        return listener

    async def _hear(self, heard: Sequence[Heard]) -> None:
        """Record what was heard, all together or, where that fails, each by itself."""
        invoices = [invoice for invoice, _ in heard]
        for invoice in invoices:
            if amount_is_awaited(invoice):
                self._put_off(invoice)
        _, cursor = heard[-1]
        try:
            await self._recorder.record(self._store.id, invoices, cursor=None if self._backlog else cursor)
        except Exception as error:  # a handler or the driver has a fault
            if is_away(error):
                raise
            if len(heard) > 1:
                for one in heard:
                    await self._hear([one])
                return
            _log.exception("a settlement of store %s can't be recorded now", self._store.id)
            self._put_off(invoices[0])
        self._stands = cursor

    def _put_off(self, invoice: LightningInvoice) -> None:
        self._backlog.add(invoice.payment_hash)
        self._behind.set()

    # --- the backlog ------------------------------------------------------------------------------------------------

    async def _work_off(self) -> None:
        """Ask about what is in the backlog until all of it is told, with growing pauses between two rounds."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            pause = _FIRST_PAUSE
            while not await self._go_through():
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _go_through(self) -> bool:
        """Ask about each once; tells whether nothing is left and that is written down."""
        try:
            # What is settled, or too old to be asked about, is not open any more.
            self._backlog.intersection_update(await self._ledger.open_invoices(self._store.id))
            failed: Exception | None = None
            for payment_hash in sorted(self._backlog):
                try:
                    invoice = await self._client.get_invoice(payment_hash)
                    if invoice is not None and amount_is_awaited(invoice):
                        continue
                    if invoice is not None:
                        await self._recorder.record(self._store.id, [invoice])
                except Exception as error:  # noqa: BLE001 - one that can't be told or recorded stops no other
                    failed = error
                else:
                    self._backlog.discard(payment_hash)
            if failed is not None:
                kind = type(failed).__name__
                self._not_told.tell(
                    f"invoices of store {self._store.id} can't be told yet, one for {kind}; asking again"
                )
            if self._backlog:
                return False
            self._not_told.over()
            await self._recorder.record(self._store.id, [], cursor=self._stands)
        except (SQLAlchemyError, OSError):
            return False
        return True
