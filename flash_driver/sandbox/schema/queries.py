"""Flash's queries."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from typing import Final, cast

import strawberry

from flash_driver.sandbox.bank.ledger import Account
from flash_driver.sandbox.bank.refusals import InvalidInput, Refused, custodian_error, unexpected
from flash_driver.sandbox.schema.accounts import User, quote
from flash_driver.sandbox.schema.api_keys import ApiKey, session_only
from flash_driver.sandbox.schema.context import Info, thrown
from flash_driver.sandbox.schema.inputs import LnInvoicePaymentStatusInput, TransactionDetailsInput
from flash_driver.sandbox.schema.scalars import DisplayCurrency, Username, WalletId, malformed
from flash_driver.sandbox.schema.transactions import (
    TransactionDetails,
    TransactionDetailsError,
    TransactionDetailsPayload,
)
from flash_driver.sandbox.schema.types import (
    CashWalletCutover,
    CashWalletCutoverState,
    Globals,
    InvoicePaymentStatus,
    LnInvoicePaymentStatusPayload,
    Network,
    PublicWallet,
    RealtimePrice,
    WalletCurrency,
)

__all__ = ["Query"]

_US_DOLLAR: Final = DisplayCurrency("USD")


def _account_of(info: Info, username: Username) -> Account:
    """Find an account by its name, in any case of letters."""
    if complaint := malformed(username):
        raise thrown(InvalidInput(complaint.message))
    for account in info.context.bank.ledger.accounts.values():
        if account.username == username.lower():
            return account
    raise thrown(Refused(f"Account does not exist for username {username}", "NOT_FOUND"))


@strawberry.type
class Query:
    """What can be asked."""

    @strawberry.field
    def me(self, info: Info) -> User | None:
        """Tell who asks."""
        info.context.authorise("read:user")
        return User(entry=info.context.authenticated())

    @strawberry.field
    def api_keys(self, info: Info) -> list[ApiKey]:
        """List the account's API keys, the newest first, without their secrets."""
        account, bank = session_only(info, "apiKeys"), info.context.bank
        return [ApiKey.of(key, bank.clock()) for key in bank.keys.of(account)]

    @strawberry.field
    def globals(self, info: Info) -> Globals | None:
        """Tell facts about the server."""
        return Globals(
            network=Network(info.context.bank.options.network),
            nodes_ids=[],
            lightning_address_domain="localhost",
            lightning_address_domain_aliases=[],
        )

    @strawberry.field
    def cash_wallet_cutover(self, info: Info) -> CashWalletCutover:
        """Tell how far the move from USD to USDT is."""
        return CashWalletCutover(state=CashWalletCutoverState(info.context.bank.cutover), cutover_version=1)

    @strawberry.field
    def account_default_wallet(
        self, info: Info, username: Username, wallet_currency: WalletCurrency | None = None
    ) -> PublicWallet:
        """Tell anybody which wallet of a user to pay into."""
        presented = info.context.presentation(_account_of(info, username))
        if wallet_currency is None:
            return PublicWallet.of(presented.default)
        for wallet in presented.wallets:
            if wallet.currency == wallet_currency.value:
                return PublicWallet.of(wallet)
        words = unexpected("CouldNotFindWalletFromUsernameAndCurrencyError", username)
        raise thrown(Refused(words, "UNEXPECTED_CLIENT_ERROR"))

    @strawberry.field
    def user_default_wallet_id(self, info: Info, username: Username) -> WalletId:
        """Tell the same in its old form."""
        return WalletId(info.context.presentation(_account_of(info, username)).default.id)

    @strawberry.field
    def realtime_price(self, info: Info, currency: DisplayCurrency | None = _US_DOLLAR) -> RealtimePrice:
        """Tell the price of a satoshi and a US cent."""
        return quote(info, currency)

    @strawberry.field
    def ln_invoice_payment_status(
        self, info: Info, input: LnInvoicePaymentStatusInput
    ) -> LnInvoicePaymentStatusPayload:
        """Tell the state of an invoice; every error is a top-level one."""
        if complaint := malformed(input.payment_request):
            raise thrown(InvalidInput(complaint.message))
        try:
            status = info.context.invoices.status(input.payment_request)
        except Refused as refusal:
            raise thrown(refusal) from refusal
        return LnInvoicePaymentStatusPayload(errors=[], status=InvoicePaymentStatus(status))

    @strawberry.field
    def transaction_details(self, info: Info, input: TransactionDetailsInput) -> TransactionDetailsPayload:
        """Tell all about a transaction, to any user."""
        info.context.authenticated()
        info.context.authorise("read:transactions")
        movement = info.context.bank.ledger.transactions.get(input.transaction_id)
        if movement is None:
            return TransactionDetailsPayload(errors=[cast("TransactionDetailsError", thrown(custodian_error()))])
        return TransactionDetailsPayload(errors=[], transaction_details=TransactionDetails.of(movement))
