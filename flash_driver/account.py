"""Everything that the clients of one account share in this process: connections, memory, journal, watcher."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from flash_driver import __version__
from flash_driver.budget import Budget
from flash_driver.deadline import Deadline
from flash_driver.invoices import CREATE_SECONDS, Invoices
from flash_driver.journal.scoped import AccountJournal
from flash_driver.listener import Audience
from flash_driver.payments import Payments
from flash_driver.rates import RateBook
from flash_driver.receipts import Receipts
from flash_driver.replies import Currency
from flash_driver.server_clock import ServerClock
from flash_driver.settings import TokenKind
from flash_driver.transports.capabilities import Capabilities
from flash_driver.transports.connection import Endpoint
from flash_driver.transports.graphql import GraphQLTransport
from flash_driver.transports.http import HttpTransport
from flash_driver.transports.network import make_tls_context
from flash_driver.transports.router import Router
from flash_driver.transports.websocket import WebSocketTransport
from flash_driver.wallets import WalletDirectory
from flash_driver.watcher import Watcher

if TYPE_CHECKING:
    from weakref import finalize

    from flash_driver.health import Health
    from flash_driver.journal.base import InvoiceRecord
    from flash_driver.journal.store import JournalStore
    from flash_driver.listener import FlashInvoiceListener
    from flash_driver.replies import AccountReply, PriceTick
    from flash_driver.settings import FlashSettings, ProcessSettings
    from flash_driver.transports.base import Transport

__all__ = ["Account", "AccountMemory"]

CAPABILITY_HEADER: Final = "x-flash-client-capabilities"
CAPABILITIES: Final = "cash-wallet-usdt-v1"
"""Shows an account's USDT wallet after the server's move away from USD wallets (flash-api.md 1.5, 3.2)."""

_DECIMALS: Final = {Currency.USD: 6, Currency.USDT: 4, Currency.BTC: 0}
_POLL_SPACING: Final = timedelta(milliseconds=50)
_API_KEY_POLL_SPACING: Final = timedelta(milliseconds=600)
"""Keeps below the 120 requests a minute of an API key (flash-api.md 1.4)."""


@dataclass(frozen=True, slots=True)
class AccountMemory:
    """What this process remembers of an account between clients, besides its journal; bound to no event loop."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    rates: dict[Currency, RateBook] = field(
        default_factory=lambda: {currency: RateBook(decimals) for currency, decimals in _DECIMALS.items()}
    )
    server_clock: ServerClock = field(default_factory=ServerClock)

    def see_tick(self, tick: PriceTick | None) -> None:
        """Tell every rate the server's price."""
        for currency, rates in self.rates.items():
            if currency.in_cents:
                rates.see_tick(tick)


class Account:
    """One account on one event loop: everything its clients share.

    Args:
        settings: The account's connection string.
        process: What is set for the process.
        memory: What this process remembers of the account.
        store: Where its journal is.

    Attributes:
        users: The clients that share it, each with what is done when it is garbage-collected.

    """

    def __init__(
        self, settings: FlashSettings, process: ProcessSettings, memory: AccountMemory, store: JournalStore
    ) -> None:
        self.settings = settings
        self.process = process
        self.memory = memory
        self.journal = AccountJournal(store, settings.fingerprint, self._look_up)
        self.users: WeakKeyDictionary[object, finalize[..., object]] = WeakKeyDictionary()
        transports = _transports(settings)
        self.socket = next((way for way in transports if isinstance(way, WebSocketTransport)), None)
        self._transports = transports
        self.router = Router(transports, memory.capabilities)
        self.wallets = WalletDirectory(settings, self.router, self._see_account)
        self.receipts = Receipts(self.router, self.wallets, self.rates)
        self.invoices = Invoices(
            settings=settings,
            process=process,
            router=self.router,
            wallets=self.wallets,
            rates=self.rates,
            receipts=self.receipts,
            journal=self.journal,
            budget=Budget(process.invoice_budget),
            server_clock=memory.server_clock,
        )
        self.payments = Payments(
            process=process, router=self.router, wallets=self.wallets, rates=self.rates, journal=self.journal
        )
        by_api_key = settings.token_kind is TokenKind.API_KEY
        self.watcher = Watcher(
            socket=self.socket,
            router=self.router,
            invoices=self.invoices,
            journal=self.journal,
            identify=self._identify,
            on_tick=memory.see_tick,
            poll_spacing=_API_KEY_POLL_SPACING if by_api_key else _POLL_SPACING,
            believe_events=process.settle_on == "event",
        )
        self.audience = Audience(self.journal, self.watcher)

    def rates(self, currency: Currency) -> RateBook:
        """Return what is known of the rate of a currency."""
        return self.memory.rates[currency]

    @property
    def health(self) -> Health:
        """How things stand."""
        return self.watcher.health(self.memory.capabilities.summary())

    async def listen(self, after: str | None) -> FlashInvoiceListener:
        """Start a listener, and the watcher if it is the first.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        return await self.audience.listen(after)

    def watch(self, record: InvoiceRecord) -> None:
        """Watch a new invoice, if anybody listens."""
        self.watcher.watch(record)

    async def aclose(self) -> None:
        """End every task and close every connection, whichever of them fails to; what is remembered stays."""
        async with AsyncExitStack() as last_first:
            for transport in reversed(self._transports):
                last_first.push_async_callback(transport.aclose)
            last_first.push_async_callback(self.journal.aclose)
            last_first.push_async_callback(self.payments.aclose)
            last_first.push_async_callback(self.audience.aclose)

    async def _look_up(self) -> None:
        """Have the server say whose account this is, which `_see_account` hears."""
        await self.wallets.choose(Deadline.after(CREATE_SECONDS))

    async def _identify(self, at_most_old: timedelta) -> None:
        """Have the server say whose account this is, unless it did so lately."""
        await self.wallets.choose(Deadline.after(CREATE_SECONDS), at_most_old=at_most_old)

    def _see_account(self, account: AccountReply) -> None:
        # A UUID, so the same under every name of the server, and never that of another server's account.
        self.journal.belongs_to(account.account_id)
        self.memory.see_tick(account.price)


def _transports(settings: FlashSettings) -> list[Transport]:
    """Make the transports in the order in which they are tried; none connects before it is used."""
    token = settings.token.reveal()
    api_key = settings.token_kind is TokenKind.API_KEY
    credential = {"X-API-KEY": token} if api_key else {"Authorization": f"Bearer {token}"}
    headers = {**credential, CAPABILITY_HEADER: CAPABILITIES, "User-Agent": f"flash-driver/{__version__}"}
    tls = make_tls_context() if "https:" in settings.server or "wss:" in settings.websocket else None
    made: list[Transport] = []
    for name in settings.transports:
        if name == "http":
            made.append(HttpTransport(settings.server, headers, tls))
        elif name == "graphql":
            made.append(GraphQLTransport(settings.server, headers, tls))
        elif not api_key:
            # The server reads neither on a socket with an API key; it would be anonymous there (flash-api.md 1.3).
            init = {"Authorization": f"Bearer {token}", CAPABILITY_HEADER: CAPABILITIES}
            socket_tls = tls if settings.websocket.startswith("wss:") else None
            made.append(WebSocketTransport(Endpoint(settings.websocket, headers, init, socket_tls)))
    return made
