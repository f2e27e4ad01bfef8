"""Which wallet of the account to use, and in which currency it counts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings.errors import BackendUnavailable, ConnectionStringError, LightningError, RequestRefused
from flash_driver.common.clocks import utc_now
from flash_driver.common.log import LogOnce, get_logger
from flash_driver.flash_api.documents import ACCOUNT, ME
from flash_driver.flash_api.outcomes import Refused
from flash_driver.flash_api.replies import AccountReply, Currency, Wallet, read_account
from flash_driver.transports.call_log import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from flash_driver.common.deadline import Deadline
    from flash_driver.settings.account import FlashSettings
    from flash_driver.transports.call_log import CallLog
    from flash_driver.transports.router import Router

__all__ = ["ChosenWallet", "KnownAccount", "WalletDirectory", "choose_wallet"]

_REMEMBERED: Final = timedelta(minutes=10)
_CASH: Final = {Currency.USD.value, Currency.USDT.value}
"""Flash moves accounts from the one to the other: they are one cash wallet (flash-server.md 14)."""

_log: Final = get_logger()


@dataclass(frozen=True, slots=True)
class ChosenWallet:
    """The wallet that invoices credit and payments debit.

    Attributes:
        id: Its UUID.
        currency: What it counts in.
        network: The Lightning network that the server says it is on.
        account_wallet_ids: The ids of all wallets of the account.

    """

    id: str
    currency: Currency
    network: str | None
    account_wallet_ids: tuple[str, ...]

    def is_same_as(self, other: ChosenWallet) -> bool:
        """Whether an invoice for the one is an invoice for the other: same wallet, currency and network."""
        return (self.id, self.currency, self.network) == (other.id, other.currency, other.network)


class KnownAccount:
    """What the server last said of an account, on one event loop: connection strings with one token share it.

    Attributes:
        reply: The answer; None when there is none that can be used.
        looked_up_at: When it came.
        looking_up: Held while the server is asked.
        believed: What it said to an earlier process; None once it has been asked in this one.

    """

    def __init__(self) -> None:
        self.believed: AccountReply | None = None
        self.reply: AccountReply | None = None
        self.looked_up_at = datetime.min.replace(tzinfo=UTC)
        self.looking_up = asyncio.Lock()


class WalletDirectory:
    """Looks the account up once for all who ask at the same time, and again when that is old.

    The server moves accounts from a USD to a USDT wallet (flash-server.md 3.2), so an id is not kept for ever.

    Args:
        settings: Which wallet is asked for.
        router: The ways to the server.
        on_account: Called with each answer, also with one that another directory got.
        known: What the server last said, shared with other directories of the same token.
        clock: The wall clock.

    """

    def __init__(
        self,
        settings: FlashSettings,
        router: Router,
        on_account: Callable[[AccountReply], None],
        known: KnownAccount | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._router = router
        self._on_account = on_account
        self._clock = clock
        self._known = known or KnownAccount()
        self._seen: AccountReply | None = None
        self._chosen: ChosenWallet | None = None
        self._tell_once = LogOnce(_log)

    async def choose(
        self, deadline: Deadline, call_log: CallLog = SILENT, *, at_most_old: timedelta | None = None
    ) -> ChosenWallet:
        """Return the wallet to use, from memory where that is fresh: ten minutes, or as old as is said.

        Raises:
            ConnectionStringError: The wallet or currency of the connection string is not one of this account's.
            LightningError: The account can't be looked up, or not before the deadline.

        """
        oldest = _REMEMBERED if at_most_old is None else at_most_old
        account = self._remembered(oldest)
        if account is None:
            # The call that looks it up may have more time than this one.
            if not await deadline.acquire(self._known.looking_up):
                ways = {"account": "another look-up took all the time"}
                raise BackendUnavailable("looking up the account", ways, executed=False)
            try:
                account = self._remembered(oldest) or await self._look_up(deadline, call_log)
            finally:
                self._known.looking_up.release()
        if self._chosen is None or self._seen is not account:
            self._seen, self._chosen = account, None
            self._on_account(account)
            self._chosen = choose_wallet(account, self._settings)
            self._warn_of_move(self._chosen)
        return self._chosen

    def believed(self) -> ChosenWallet | None:
        """Return the wallet that an earlier process would use; None where none is known, or the server was asked."""
        account = self._known.believed
        if account is None or self._known.reply is not None:
            return None
        try:
            return choose_wallet(account, self._settings)
        except LightningError:  # it is the server that has to say that there is none
            return None

    async def moved_from(self, wallet_id: str, deadline: Deadline) -> ChosenWallet | None:
        """After a refusal look the account up again; return its wallet if that is another one now."""
        if self._chosen is not None and self._chosen.id == wallet_id:
            self._known.reply = None
        fresh = await self.choose(deadline)
        return None if fresh.id == wallet_id else fresh

    def _warn_of_move(self, chosen: ChosenWallet) -> None:
        """Say once for each wallet that the connection string names one that the account no longer has."""
        wallet_id, currency = self._settings.wallet_id, self._settings.currency
        if (currency or chosen.currency) != chosen.currency or (wallet_id or chosen.id).lower() != chosen.id.lower():
            self._tell_once(
                "Flash has moved the account's cash wallet; change wallet-id= or currency= in the connection string",
                now=chosen.currency.value,
            )

    def _remembered(self, oldest: timedelta) -> AccountReply | None:
        """Return what the server last said, where that is no older and has a wallet to use."""
        known = self._known
        of_no_use = self._chosen is None and self._seen is known.reply
        return None if of_no_use or not timedelta(0) <= self._clock() - known.looked_up_at <= oldest else known.reply

    async def _look_up(self, deadline: Deadline, call_log: CallLog) -> AccountReply:
        """Ask the server, and remember the answer."""
        known = self._known
        asked_at = self._clock()  # an answer is as old as its question
        known.believed = None  # one attempt may rest on it: if this fails, the next one waits for the server
        delivery = await self._router.perform(ACCOUNT(), deadline, call_log)
        if isinstance(delivery.outcome, Refused) and delivery.outcome.retry_after is None:
            # The price is part of the same answer and non-null: when it fails, everything is null.
            delivery = await self._router.perform(ME(), deadline, call_log)
        account = read_account(delivery.data("looking up the account"))
        self._on_account(account)
        # The price in it is told once, now: what is told later would look as fresh.
        known.reply, known.looked_up_at = replace(account, price=None), asked_at
        return known.reply


def choose_wallet(account: AccountReply, settings: FlashSettings) -> ChosenWallet:
    """Pick the wallet that the connection string asks for, else the account's default wallet.

    Raises:
        ConnectionStringError: There is none such.

    """
    usable = [
        wallet for wallet in account.wallets if not wallet.is_external and wallet.currency in Currency.__members__
    ]
    held = ", ".join(dict.fromkeys(wallet.currency for wallet in usable)) or "nothing that this driver knows"
    wallet: Wallet | None
    if settings.wallet_id is not None:
        wallet = _pinned(account, usable, settings)
    elif settings.currency is not None:
        wallet = _holding(usable, settings.currency) or _other_cash_wallet(usable, settings.currency)
        if wallet is None:
            raise ConnectionStringError(
                f"the key 'currency' asks for {settings.currency}, but the account's wallets hold: {held}",
                key="currency",
            )
    else:
        wallet = _with_id(usable, account.default_wallet_id) or next(iter(usable), None)
        if wallet is None:
            raise RequestRefused("the account has no wallet that can receive Lightning payments")
    return ChosenWallet(
        id=wallet.id,
        currency=Currency(wallet.currency),
        network=account.network,
        account_wallet_ids=tuple(wallet.id for wallet in account.wallets),
    )


def _pinned(account: AccountReply, usable: list[Wallet], settings: FlashSettings) -> Wallet:
    """Return the wallet that is named by its id, or the one that it was moved to: USD and USDT are one cash wallet."""
    wallet = _with_id(account.wallets, settings.wallet_id or "")
    if wallet is None and _holding(usable, Currency.USD) is None and settings.currency is not Currency.BTC:
        moved = _holding(usable, Currency.USDT)
        if moved is not None:
            return moved
    if wallet is None:
        raise ConnectionStringError("the key 'wallet-id' names no wallet of this account", key="wallet-id")
    if wallet not in usable:
        raise ConnectionStringError("the key 'wallet-id' names an external wallet", key="wallet-id")
    if settings.currency is not None and wallet.currency != settings.currency:
        raise ConnectionStringError(
            f"the key 'currency' asks for {settings.currency}, the wallet of 'wallet-id' holds {wallet.currency}",
            key="currency",
        )
    return wallet


def _holding(usable: list[Wallet], currency: str) -> Wallet | None:
    return next((wallet for wallet in usable if wallet.currency == currency), None)


def _other_cash_wallet(usable: list[Wallet], currency: str) -> Wallet | None:
    """Return the account's cash wallet in its other currency (flash-server.md 14)."""
    return next((wallet for wallet in usable if {wallet.currency, currency} == _CASH), None)


def _with_id(wallets: tuple[Wallet, ...] | list[Wallet], wallet_id: str) -> Wallet | None:
    return next((wallet for wallet in wallets if wallet.id.lower() == wallet_id.lower()), None)
