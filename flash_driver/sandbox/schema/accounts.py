"""Users, accounts and wallets as Flash shows them (flash-server.md 3.2)."""

from typing import Self

import strawberry

from flash_driver.sandbox.bank import ledger
from flash_driver.sandbox.bank.bank import Bank
from flash_driver.sandbox.bank.refusals import InvalidInput
from flash_driver.sandbox.schema.context import Info, thrown
from flash_driver.sandbox.schema.scalars import (
    DisplayCurrency,
    FractionalCentAmount,
    Lnurl,
    OnChainAddress,
    SignedAmount,
    Username,
    WalletId,
)
from flash_driver.sandbox.schema.transactions import TransactionConnection, page
from flash_driver.sandbox.schema.types import Error, RealtimePrice, UserUpdate, WalletCurrency

__all__ = ["Account", "BTCWallet", "ConsumerAccount", "MyUpdatesPayload", "UsdWallet", "UsdtWallet", "User", "Wallet"]


@strawberry.interface
class Wallet:
    """A wallet. An external one is shown without a balance."""

    entry: strawberry.Private[ledger.Wallet]
    holder: strawberry.Private[ledger.Wallet]

    @strawberry.field
    def id(self) -> strawberry.ID:
        """Its name in every operation."""
        return strawberry.ID(self.entry.id)

    @strawberry.field
    def account_id(self) -> strawberry.ID:
        """Whose it is."""
        return strawberry.ID(self.entry.account_id)

    @strawberry.field
    def wallet_currency(self) -> WalletCurrency:
        """What it holds."""
        return WalletCurrency(self.entry.currency)

    @strawberry.field
    def balance(self) -> FractionalCentAmount | None:
        """Cents, with fractions; satoshis in a BTC wallet."""
        return None if self.entry.external else FractionalCentAmount(self.holder.balance)

    @strawberry.field
    def is_external(self) -> bool:
        """Whether somebody else than Flash holds it."""
        return self.entry.external

    @strawberry.field
    def pending_incoming_balance(self) -> SignedAmount:
        """Nothing is ever pending on-chain here."""
        return SignedAmount(self.holder.balance * 0)

    @strawberry.field
    def lnurlp(self) -> Lnurl | None:
        """The sandbox serves no LNURL."""
        return None

    @strawberry.field
    def transactions(
        self,
        info: Info,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> TransactionConnection | None:
        """List what happened, newest first."""
        _refuse_cursors(after, before)
        return page(info.context.bank.ledger.transactions_of([self.holder]), first, last)

    @strawberry.field
    def transactions_by_address(
        self,
        address: OnChainAddress,  # noqa: ARG002 - nothing here has an address
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> TransactionConnection | None:
        """List nothing: there is no chain here."""
        _refuse_cursors(after, before)
        return page([], first, last)


@strawberry.type
class BTCWallet(Wallet):
    """A wallet in satoshis."""


@strawberry.type
class UsdWallet(Wallet):
    """A wallet in US cents."""


@strawberry.type
class UsdtWallet(Wallet):
    """A wallet in cents of a US dollar on a blockchain."""


_SHOWN_AS: dict[str, type[Wallet]] = {"BTC": BTCWallet, "USD": UsdWallet, "USDT": UsdtWallet}


@strawberry.interface
class Account:
    """A user's account."""

    entry: strawberry.Private[ledger.Account]
    bank: strawberry.Private[Bank]
    capable: strawberry.Private[bool]

    @strawberry.field
    def id(self) -> strawberry.ID:
        """Its UUID."""
        return strawberry.ID(self.entry.id)

    @strawberry.field
    def display_currency(self) -> DisplayCurrency:
        """What the user likes to see amounts in."""
        return DisplayCurrency(self.entry.display_currency)

    @strawberry.field
    def default_wallet_id(self) -> WalletId:
        """The wallet to use when none is named."""
        if self.bank.options.cutover == "COMPLETE":
            shown = self.entry.wallet_of("USDT" if self.capable else "USD")
            return WalletId(shown.id if shown else self.entry.default_wallet_id)
        return WalletId(self.entry.default_wallet_id)

    @strawberry.field
    def wallets(self) -> list[Wallet]:
        """The wallets; after the move to USDT, the new one or the old, whichever the client understands."""
        return [
            _SHOWN_AS[each.currency](entry=each, holder=self.bank.settlement_wallet(self.entry, each))
            for each in self._visible()
        ]

    @strawberry.field
    def realtime_price(self) -> RealtimePrice:
        """The price in the account's display currency."""
        return RealtimePrice.of(self.bank.quote(self.entry.display_currency))

    @strawberry.field
    def transactions(
        self,
        wallet_ids: list[WalletId | None] | None = None,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> TransactionConnection | None:
        """List what happened on all wallets, one after the other."""
        _refuse_cursors(after, before)
        wallets = [each for each in self.entry.wallets if wallet_ids is None or each.id in wallet_ids]
        return page(self.bank.ledger.transactions_of(wallets), first, last)

    def _visible(self) -> list[ledger.Wallet]:
        if self.bank.options.cutover != "COMPLETE":
            return self.entry.wallets
        hidden = "USD" if self.capable else "USDT"
        return [each for each in self.entry.wallets if each.external or each.currency != hidden]


@strawberry.type
class ConsumerAccount(Account):
    """The one kind of account there is."""


@strawberry.type
class User:
    """A user and the account they act in."""

    entry: strawberry.Private[ledger.Account]
    bank: strawberry.Private[Bank]
    capable: strawberry.Private[bool]

    @classmethod
    def of(cls, info: Info, account: ledger.Account) -> Self:
        """Show a user to themselves."""
        return cls(entry=account, bank=info.context.bank, capable=info.context.capable)

    @strawberry.field
    def id(self) -> strawberry.ID:
        """The user's id."""
        return strawberry.ID(f"user-{self.entry.id}")

    @strawberry.field
    def username(self) -> Username | None:
        """The user's name."""
        return Username(self.entry.username)

    @strawberry.field
    def default_account(self) -> Account:
        """The account."""
        return ConsumerAccount(entry=self.entry, bank=self.bank, capable=self.capable)


@strawberry.type
class MyUpdatesPayload:
    """An event of an account; `update` may be null and `errors` may be noise."""

    errors: list[Error]
    update: UserUpdate | None = None
    me: User | None = None


def _refuse_cursors(after: str | None, before: str | None) -> None:
    """Take no cursor: Flash wants 24 hex digits, and its own ids are UUIDs."""
    if after is not None or before is not None:
        raise thrown(InvalidInput("Argument to paginate is invalid"))
