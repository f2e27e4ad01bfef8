"""Everything that the clients of one account share in this process: connections, memory, journal, watcher."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from flash_driver.accounts.calls import Calls
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.replies import Currency
from flash_driver.invoices.budget import Budget
from flash_driver.invoices.creation import CREATE_SECONDS, InvoiceCreation
from flash_driver.invoices.lookup import InvoiceLookup
from flash_driver.invoices.outage import Outage
from flash_driver.invoices.receipts import Receipts
from flash_driver.invoices.request import HashSupport
from flash_driver.invoices.server_clock import ServerClock
from flash_driver.journal.owner import account_scope
from flash_driver.money.rate_book import RateBook
from flash_driver.money.sending_rate import SendingRate
from flash_driver.money.server_price import ServerPrice
from flash_driver.payments.service import Payments
from flash_driver.settings.account import TokenKind
from flash_driver.settlements.listeners import Listeners
from flash_driver.settlements.watched import WatchedAccount
from flash_driver.transports.capabilities import Capabilities
from flash_driver.transports.router import Router
from flash_driver.transports.websocket.transport import WebSocketTransport
from flash_driver.wallets import WalletDirectory

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from weakref import finalize

    from flash_driver.accounts.timing import Timing
    from flash_driver.flash_api.replies import AccountReply
    from flash_driver.journal.store import JournalStore
    from flash_driver.payments.attempt_store import Unkept
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.settlements.health import Health
    from flash_driver.settlements.listeners import FlashInvoiceListener
    from flash_driver.transports.transport_set import TransportSet

__all__ = ["Account", "AccountMemory"]

_DECIMALS: Final = {Currency.USD: 6, Currency.USDT: 4, Currency.BTC: 0}


@dataclass(frozen=True, slots=True)
class AccountMemory:
    """What this process remembers of an account between clients, besides its journal; bound to no event loop."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    price: ServerPrice = field(default_factory=ServerPrice)
    receiving: dict[Currency, RateBook] = field(init=False)
    sending: dict[Currency, SendingRate] = field(init=False)
    server_clock: ServerClock = field(default_factory=ServerClock)
    hashes: HashSupport = field(default_factory=HashSupport)
    outage: Outage = field(default_factory=Outage)
    unkept_payments: dict[str, Unkept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        receiving = {currency: RateBook(decimals, self.price) for currency, decimals in _DECIMALS.items()}
        sending = {currency: SendingRate(decimals, self.price) for currency, decimals in _DECIMALS.items()}
        object.__setattr__(self, "receiving", receiving)
        object.__setattr__(self, "sending", sending)


class Account:
    """One account on one event loop: everything its clients share.

    Args:
        settings: The account's connection string.
        process: What is set for the process.
        memory: What this process remembers of the account.
        store: Where its journal is.
        ways: The transports of its server and token, which outlive it where others use them.
        timing: Every wait, pace and limit.

    Attributes:
        users: The clients that share it, each with what is done when it is garbage-collected.

    """

    def __init__(  # noqa: PLR0917 - one caller, the pool
        self,
        settings: FlashSettings,
        process: ProcessSettings,
        memory: AccountMemory,
        store: JournalStore,
        ways: TransportSet,
        timing: Timing,
    ) -> None:
        self.settings = settings
        self.process = process
        self.memory = memory
        self.journal = store.journal(settings.fingerprint, self._look_up)
        self._timing = timing
        self._calls = Calls()
        self.users: WeakKeyDictionary[object, finalize[..., object]] = WeakKeyDictionary()
        transports = ways.choose(settings)
        self.socket = next((way for way in transports if isinstance(way, WebSocketTransport)), None)
        self.router = Router(
            transports,
            memory.capabilities,
            ways.session(settings),
            spare_credential=settings.token_kind is TokenKind.API_KEY,
        )
        self.wallets = WalletDirectory(settings, self.router, self._see_account)
        self.receipts = Receipts(self.router, self.wallets, self.rates)
        self.creation = InvoiceCreation(
            settings=settings,
            process=process,
            router=self.router,
            wallets=self.wallets,
            rates=self.rates,
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
        by_api_key = settings.token_kind is TokenKind.API_KEY
        watching = timing.watching
        costs_the_key = by_api_key and "public" not in settings.transports
        self.listeners = Listeners(
            WatchedAccount(
                socket=self.socket,
                router=self.router,
                lookup=self.lookup,
                journal=self.journal,
                identify=self._identify,
                on_tick=memory.price.see,
                spacing=watching.api_key_spacing if costs_the_key else watching.spacing,
                trust_events=process.settle_on == "event",
                timing=watching,
            )
        )

    def rates(self, currency: Currency) -> RateBook:
        """Return what is known of the rate at which a currency is received."""
        return self.memory.receiving[currency]

    def call(self) -> AbstractContextManager[None]:
        """Hold the account open for a call, as far as its close can wait for that."""
        return self._calls.one()

    @property
    def health(self) -> Health:
        """How things stand."""
        return self.listeners.health(self.memory.capabilities.summary())

    async def listen(self, after: str | None, owner: object) -> FlashInvoiceListener:
        """Start a listener that keeps its owner alive, and the watcher if it is the first.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        return await self.listeners.listen(after, owner)

    async def aclose(self) -> None:
        """Let the calls under way come to their end, within limits, then end every task, whichever of them fails to.

        What is remembered stays, and so do the transports.
        """
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.journal.owner.aclose)
            last_first.push_async_callback(self.payments.aclose)
            last_first.push_async_callback(self.listeners.aclose)
            last_first.callback(self.router.close)
            last_first.push_async_callback(self._calls.ended, self._timing.linger)

    async def _look_up(self) -> None:
        """Have the server say whose account this is, which `_see_account` hears."""
        await self.wallets.choose(Deadline.after(CREATE_SECONDS))

    async def _identify(self, at_most_old: timedelta) -> None:
        """Have the server say whose account this is, unless it did so lately."""
        await self.wallets.choose(Deadline.after(CREATE_SECONDS), at_most_old=at_most_old)

    def _see_account(self, account: AccountReply) -> None:
        self.journal.owner.belongs_to(account_scope(self.settings.server, account.account_id))
        self.memory.price.see(account.price)
