"""Flash's queries."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from typing import Final

import strawberry

from flash_driver.sandbox.bank.custodian import UnknownCurrencyError
from flash_driver.sandbox.bank.refusals import InvalidInput, Refused
from flash_driver.sandbox.schema.accounts import User
from flash_driver.sandbox.schema.context import Info, thrown
from flash_driver.sandbox.schema.inputs import LnInvoicePaymentStatusInput, TransactionDetailsInput
from flash_driver.sandbox.schema.scalars import DisplayCurrency, malformed
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
    RealtimePrice,
)

__all__ = ["Query", "quote"]

_US_DOLLAR: Final = DisplayCurrency("USD")


def quote(info: Info, currency: DisplayCurrency | None) -> RealtimePrice:
    """Ask the price service; a currency it doesn't know is a top-level error."""
    if complaint := malformed(currency):
        raise thrown(InvalidInput(complaint.message))
    try:
        return RealtimePrice.of(info.context.bank.quote((currency or "USD").upper()))
    except UnknownCurrencyError as error:
        raise thrown(InvalidInput(str(error))) from error


@strawberry.type
class Query:
    """What can be asked."""

    @strawberry.field
    def me(self, info: Info) -> User | None:
        """Tell who asks."""
        return User.of(info, info.context.authenticated())

    @strawberry.field
    def globals(self) -> Globals | None:
        """Tell facts about the server."""
        return Globals(
            network=Network.regtest,
            nodes_ids=[],
            lightning_address_domain="localhost",
            lightning_address_domain_aliases=[],
        )

    @strawberry.field
    def cash_wallet_cutover(self, info: Info) -> CashWalletCutover:
        """Tell how far the move from USD to USDT is."""
        return CashWalletCutover(state=CashWalletCutoverState(info.context.bank.options.cutover), cutover_version=1)

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
        """Tell all about a transaction, whoever it belongs to."""
        info.context.authenticated()
        movement = info.context.bank.ledger.transactions.get(input.transaction_id)
        if movement is None:
            return TransactionDetailsPayload(errors=[TransactionDetailsError(message="Transaction not found")])
        return TransactionDetailsPayload(errors=[], transaction_details=TransactionDetails.of(movement))
