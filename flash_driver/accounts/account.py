"""Everything that the clients of one connection string share in this process, and their calls under way."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from flash_driver.invoices.budget import Budget
from flash_driver.invoices.creation import InvoiceCreation
from flash_driver.invoices.lookup import InvoiceLookup
from flash_driver.invoices.receipts import Receipts
from flash_driver.payments.service import Payments
from flash_driver.settings.values import TokenKind
from flash_driver.transports.router import Router
from flash_driver.transports.websocket.transport import SocketTransport
from flash_driver.wallets import WalletDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from weakref import finalize

    from flash_driver.accounts.listening import AccountListening
    from flash_driver.accounts.memory import AccountMemory
    from flash_driver.accounts.timing import Timing
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.settlements.health import Health
    from flash_driver.settlements.listeners import FlashInvoiceListener, Listeners
    from flash_driver.transports.transport_set import TransportSet

__all__ = ["Account", "Calls"]


class Account:
    """One account on one event loop, as a connection string names it: everything its clients share.

    Args:
        settings: The account's connection string.
        process: What is set for the process.
        memory: What this process remembers of the account.
        ways: The transports of its server and token, which outlive it where others use them.
        listening: Its journal and its listeners, likewise.
        timing: Every wait, pace and limit.

    Attributes:
        calls: The calls under way, whose end its close waits for.
        users: The clients that share it, each with what is done when it is garbage-collected.
        deserted_at: When the last of them left, by the event loop's clock.

    """

    def __init__(  # noqa: PLR0917 - one caller, the pool
        self,
        settings: FlashSettings,
        process: ProcessSettings,
        memory: AccountMemory,
        ways: TransportSet,
        listening: AccountListening,
        timing: Timing,
    ) -> None:
        self.settings = settings
        self.process = process
        self.memory = memory
        self.journal = listening.journal
        self._listening = listening
        self._timing = timing
        self.calls = Calls()
        self.users: WeakKeyDictionary[object, finalize[..., object]] = WeakKeyDictionary()
        self.deserted_at = 0.0
        transports = ways.choose(settings)
        self.socket = next((way for way in transports if isinstance(way, SocketTransport)), None)
        self.router = Router(
            transports,
            memory.capabilities,
            ways.session(settings),
            memory.contact,
            spare_credential=settings.token_kind is TokenKind.API_KEY,
            key=listening.key,
        )
        self.wallets = WalletDirectory(settings, self.router, listening.see_account, listening.known)
        rates = memory.receiving.__getitem__
        self.receipts = Receipts(self.router, self.wallets, rates)
        self.creation = InvoiceCreation(
            settings=settings,
            process=process,
            router=self.router,
            wallets=self.wallets,
            knowledge=listening.knowledge,
            rates=rates,
            journal=self.journal,
            budget=Budget(self.journal, process.invoice_budget),
            server_clock=memory.server_clock,
            hashes=memory.hashes,
        )
        self.lookup = InvoiceLookup(
            process=process,
            router=self.router,
            receipts=self.receipts,
            journal=self.journal,
            server_clock=memory.server_clock,
            outage=memory.outage,
        )
        self.payments = Payments(
            process=process,
            router=self.router,
            wallets=self.wallets,
            price=memory.price,
            rates=memory.sending.__getitem__,
            journal=self.journal,
            unkept=memory.unkept_payments,
            persistence=timing.payments,
        )

    @property
    def listeners(self) -> Listeners:
        """The listeners of all connection strings with its server and token."""
        return self._listening.listeners

    @contextlib.contextmanager
    def calling(self) -> Iterator[Self]:
        """Hold it open for a call, for as long as the block runs."""
        with self.calls.one():
            yield self

    async def calls_ended(self) -> None:
        """Wait until no call is under way, within limits."""
        await self.calls.ended(self._timing.last_calls_seconds)

    @property
    def health(self) -> Health:
        """How things stand."""
        health = self.listeners.health(self.memory.capabilities.summary(), self.socket)
        unknown = self.payments.known_unknown
        if unknown is None:
            return health
        return replace(health, unknown_payments=len(unknown), unknown_since=min(unknown.values(), default=None))

    async def listen(self, after: str | None, owner: object) -> FlashInvoiceListener:
        """Start a listener that keeps its owner alive.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        listener = await self._listening.listen(after, owner)
        self.payments.watch()
        return listener

    async def aclose(self) -> None:
        """Let the calls under way come to their end, within limits, then end every task, whichever of them fails to.

        What is remembered stays, and so does what other connection strings use: transports, journal and listeners.
        """
        async with contextlib.AsyncExitStack() as last_first:
            last_first.push_async_callback(self.payments.aclose)
            last_first.push_async_callback(self.creation.aclose)
            last_first.callback(self.router.close)
            last_first.push_async_callback(self.calls_ended)


class Calls:
    """Counts what is under way on one event loop."""

    def __init__(self) -> None:
        self._under_way = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Count a call for as long as the block runs."""
        self._under_way += 1
        self._none.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                self._none.set()

    async def ended(self, seconds: float) -> None:
        """Wait until no call is under way, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none.wait()
