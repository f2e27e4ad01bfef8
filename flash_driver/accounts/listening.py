"""The journal of an account, and listening for its settlements: one for all strings with its server and token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_driver.common.deadline import Deadline
from flash_driver.invoices.creation import CREATE_SECONDS
from flash_driver.invoices.lookup import InvoiceLookup
from flash_driver.invoices.receipts import Receipts
from flash_driver.journal.owner import account_scope
from flash_driver.knowledge import Knowledge
from flash_driver.settings.values import TokenKind
from flash_driver.settlements.listeners import Listeners
from flash_driver.settlements.watched import WatchedAccount
from flash_driver.transports.key_allowance import KeyAllowance
from flash_driver.transports.router import Router
from flash_driver.transports.websocket.transport import SocketTransport
from flash_driver.wallets import KnownAccount, WalletDirectory

if TYPE_CHECKING:
    from datetime import timedelta

    from flash_driver.accounts.memory import AccountMemory
    from flash_driver.flash_api.replies import AccountReply
    from flash_driver.journal.store import JournalStore
    from flash_driver.settings.account import FlashSettings
    from flash_driver.settings.process import ProcessSettings
    from flash_driver.settlements.listeners import FlashInvoiceListener
    from flash_driver.settlements.timing import TokenLooks, WatchTiming
    from flash_driver.transports.transport_set import TransportSet

__all__ = ["AccountListening"]


class AccountListening:
    """The journal and the listeners of an account on one event loop: one watcher asks for all of them.

    An invoice is the account's, in whatever wallet and by whatever connection string it was made. So strings that
    differ in wallet, currency or tolerance are watched together; where they differ in `transports`, the ways of all of
    them are used.

    Args:
        settings: The first connection string with this server and token.
        process: What is set for the process.
        memory: What this process remembers of the account.
        store: Where its journal is.
        ways: The transports of its server and token, which outlive it.
        timing: Every wait and pace.
        token_looks: How often tokens are looked up, shared with the other accounts.

    Attributes:
        journal: Its invoices and payments.
        key: The limit of the API key; None for a session token.
        known: What the server last said of it.
        knowledge: What an earlier process left behind, and this one leaves.
        listeners: The listeners.

    """

    def __init__(  # noqa: PLR0917 - one caller, the pool
        self,
        settings: FlashSettings,
        process: ProcessSettings,
        memory: AccountMemory,
        store: JournalStore,
        ways: TransportSet,
        timing: WatchTiming,
        token_looks: TokenLooks,
    ) -> None:
        self._settings = settings.of_any_wallet
        self._process = process
        self._memory = memory
        self._ways = ways
        self._timing = timing
        self._token_looks = token_looks
        self.journal = store.journal(settings.fingerprint, self._look_up)
        self.key = KeyAllowance(self.journal) if settings.token_kind is TokenKind.API_KEY else None
        self.known = KnownAccount()
        self.knowledge = Knowledge(self.journal.owner, self.known, memory.capabilities)
        self._watched = self._reach()
        self.listeners = Listeners(self._watched)

    def add(self, settings: FlashSettings) -> None:
        """Reach the account by the ways of another of its connection strings, too."""
        known = self._settings.transports
        if more := tuple(name for name in settings.transports if name not in known):
            self._settings = self._settings.model_copy(update={"transports": known + more})
            self._watched = self._reach()

    async def listen(self, after: str | None, owner: object) -> FlashInvoiceListener:
        """Start a listener that keeps its owner alive, and the watcher if it is the first.

        Args:
            after: The cursor to go on from; None for from now on.
            owner: What has to live as long as the listener does.

        Raises:
            InvalidRequest: `after` is no cursor of this journal.

        """
        await self.listeners.watch(self._watched)
        return await self.listeners.listen(after, owner)

    async def aclose(self) -> None:
        """Close every listener, and end every task."""
        try:
            await self.listeners.aclose()
        finally:
            await self.journal.owner.aclose()

    def _reach(self) -> WatchedAccount:
        """Return the account as it is seen by the ways of now."""
        settings, memory = self._settings, self._memory
        transports = self._ways.choose(settings)
        by_api_key = settings.token_kind is TokenKind.API_KEY
        router = Router(
            transports,
            memory.capabilities,
            self._ways.session(settings),
            memory.contact,
            spare_credential=by_api_key,
            key=self.key,
            background=True,
        )
        self._wallets = WalletDirectory(settings, router, self.see_account, self.known)
        costs_the_key = by_api_key and "public" not in settings.transports
        return WatchedAccount(
            socket=next((way for way in transports if isinstance(way, SocketTransport)), None),
            router=router,
            lookup=InvoiceLookup(
                process=self._process,
                router=router,
                receipts=Receipts(router, self._wallets, memory.receiving.__getitem__),
                journal=self.journal,
                server_clock=memory.server_clock,
                outage=memory.outage,
            ),
            journal=self.journal,
            identify=self._identify,
            on_tick=memory.price.see,
            spacing=self._timing.api_key_spacing if costs_the_key else self._timing.spacing,
            token_looks=self._token_looks,
            pays_for_looks=by_api_key,
            trust_events=self._process.settle_on == "event",
            timing=self._timing,
        )

    async def _look_up(self) -> None:
        """Have the server say whose account this is, which `see_account` hears."""
        await self._wallets.choose(Deadline.after(CREATE_SECONDS))

    async def _identify(self, at_most_old: timedelta) -> None:
        """Have the server say whose account this is, unless it did so lately."""
        await self._wallets.choose(Deadline.after(CREATE_SECONDS), at_most_old=at_most_old)

    def see_account(self, account: AccountReply) -> None:
        """Take in whose account the server says this is, and the price."""
        self.journal.owner.belongs_to(account_scope(self._settings.server, account.account_id))
        self._memory.price.see(account.price)
