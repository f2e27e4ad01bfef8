"""Users, accounts and wallets as Flash shows them (flash-server.md 3.2)."""

from typing import cast

import strawberry

from flash_driver.sandbox.bank import ledger
from flash_driver.sandbox.bank.custodian import UnknownCurrencyError
from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, unexpected
from flash_driver.sandbox.schema.context import Info, thrown
from flash_driver.sandbox.schema.scalars import (
    DisplayCurrency,
    FractionalCentAmount,
    Lnurl,
    OnChainAddress,
    SignedAmount,
    Username,
    WalletId,
    malformed,
)
from flash_driver.sandbox.schema.transactions import MAX_PAGE, TransactionConnection, page
from flash_driver.sandbox.schema.types import Error, RealtimePrice, UserUpdate, WalletCurrency

__all__ = [
    "Account",
    "BTCWallet",
    "ConsumerAccount",
    "MyUpdatesPayload",
    "UsdWallet",
    "UsdtWallet",
    "User",
    "Wallet",
    "quote",
]


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
    def balance(self, info: Info) -> FractionalCentAmount | None:
        """Cents, with fractions; of a BTC wallet satoshis, or the object that Flash makes of a legacy one."""
        info.context.authorise("read:wallet")
        if self.entry.external:
            return None
        if self.entry.currency == "BTC" and not info.context.bank.options.btc_wallet:
            return cast("FractionalCentAmount", {"currencyCode": "USD", "money": ["0", "USD"]})
        return FractionalCentAmount(self.holder.balance)

    @strawberry.field
    def is_external(self) -> bool:
        """Whether somebody else than Flash holds it."""
        return self.entry.external

    @strawberry.field
    def pending_incoming_balance(self, info: Info) -> SignedAmount:
        """Nothing is ever pending on-chain here."""
        info.context.authorise("read:wallet")
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
        bank = info.context.bank
        info.context.authorise("read:transactions")
        _check_page(first, last, after, before)
        presented = info.context.presentation(bank.ledger.accounts[self.entry.account_id])
        return page(bank.ledger.transactions_of(presented.history_of([self.holder])), first, last)

    @strawberry.field
    def transactions_by_address(  # noqa: PLR0917 - the arguments are named in GraphQL
        self,
        info: Info,
        address: OnChainAddress,  # noqa: ARG002 - nothing here has an address
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> TransactionConnection | None:
        """List nothing: there is no chain here."""
        info.context.authorise("read:transactions")
        _check_page(first, last, after, before)
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

    @strawberry.field
    def id(self) -> strawberry.ID:
        """Its UUID."""
        return strawberry.ID(self.entry.id)

    @strawberry.field
    def display_currency(self) -> DisplayCurrency:
        """What the user likes to see amounts in."""
        return DisplayCurrency(self.entry.display_currency)

    @strawberry.field
    def default_wallet_id(self, info: Info) -> WalletId:
        """The wallet to use when none is named: always the cash wallet that is shown."""
        return WalletId(info.context.presentation(self.entry).default.id)

    @strawberry.field
    def wallets(self, info: Info) -> list[Wallet]:
        """The wallets; after the move to USDT, the new one or the old, whichever the client understands."""
        info.context.authorise("read:wallet")
        presented = info.context.presentation(self.entry)
        return [_SHOWN_AS[each.currency](entry=each, holder=presented.behind(each)) for each in presented.wallets]

    @strawberry.field
    def realtime_price(self, info: Info) -> RealtimePrice:
        """The price in the account's display currency."""
        return quote(info, DisplayCurrency(self.entry.display_currency))

    @strawberry.field
    def transactions(  # noqa: PLR0917 - the arguments are named in GraphQL
        self,
        info: Info,
        wallet_ids: list[WalletId | None] | None = None,
        first: int | None = None,
        last: int | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> TransactionConnection | None:
        """List what happened on all wallets, one after the other."""
        info.context.authorise("read:transactions")
        _check_page(first, last, after, before)
        presented = info.context.presentation(self.entry)
        chosen = [each for each in self.entry.wallets if each.id in (wallet_ids or ())]
        wallets = presented.history_of(presented.wallets if wallet_ids is None else chosen)
        return page(info.context.bank.ledger.transactions_of(wallets), first, last)


@strawberry.type
class ConsumerAccount(Account):
    """The one kind of account there is."""


@strawberry.type
class User:
    """A user and the account they act in."""

    entry: strawberry.Private[ledger.Account]

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
        return ConsumerAccount(entry=self.entry)


@strawberry.type
class MyUpdatesPayload:
    """An event of an account; `update` may be null and `errors` may be noise."""

    errors: list[Error]
    update: UserUpdate | None = None
    me: User | None = None


def _check_page(first: int | None, last: int | None, after: str | None, before: str | None) -> None:
    """Take one to a hundred entries and no cursor: Flash wants 24 hex digits, and its own ids are UUIDs."""
    for name, number in (("first", first), ("last", last)):
        if number is not None and number < 1:
            raise thrown(InvalidInput(f'Argument "{name}" must be greater than 0'))
        if number is not None and number > MAX_PAGE:
            words = f'Requesting {number} records on this connection exceeds the "{name}" limit of {MAX_PAGE} records.'
            raise thrown(InvalidInput(words))
    for name, cursor in (("after", after), ("before", before)):
        if cursor is not None:
            raise thrown(InvalidInput(f'Argument "{name}" must be a valid cursor'))


def quote(info: Info, currency: DisplayCurrency | None) -> RealtimePrice:
    """Ask the price service; a currency that it doesn't know is a top-level error."""
    if complaint := malformed(currency):
        raise thrown(InvalidInput(complaint.message))
    try:
        return RealtimePrice.of(info.context.bank.quote((currency or "USD").upper()))
    except UnknownCurrencyError as error:
        raise thrown(Refused(unexpected("PriceNotAvailableError"), "UNEXPECTED_CLIENT_ERROR")) from error
