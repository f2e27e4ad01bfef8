"""What Flash's operations take."""

import strawberry

from flash_driver.sandbox.schema.scalars import (
    DisplayCurrency,
    FractionalCentAmount,
    Hex32Bytes,
    LnPaymentRequest,
    Memo,
    Minutes,
    SatAmount,
    WalletId,
)

__all__ = [
    "LnInvoiceCreateInput",
    "LnInvoiceCreateOnBehalfOfRecipientInput",
    "LnInvoiceFeeProbeInput",
    "LnInvoicePaymentInput",
    "LnInvoicePaymentStatusInput",
    "LnNoAmountInvoiceCreateInput",
    "LnNoAmountInvoiceCreateOnBehalfOfRecipientInput",
    "LnNoAmountInvoiceFeeProbeInput",
    "LnNoAmountInvoicePaymentInput",
    "LnNoAmountUsdInvoiceFeeProbeInput",
    "LnNoAmountUsdInvoicePaymentInput",
    "LnUsdInvoiceCreateInput",
    "LnUsdInvoiceCreateOnBehalfOfRecipientInput",
    "LnUsdInvoiceFeeProbeInput",
    "RealtimePriceInput",
    "TransactionDetailsInput",
]


@strawberry.input
class LnUsdInvoiceCreateInput:
    """An invoice in cents for one's own wallet."""

    wallet_id: WalletId
    amount: FractionalCentAmount
    memo: Memo | None = None
    expires_in: Minutes | None = None


@strawberry.input
class LnUsdInvoiceCreateOnBehalfOfRecipientInput:
    """An invoice in cents for anybody's wallet."""

    recipient_wallet_id: WalletId
    amount: FractionalCentAmount
    memo: Memo | None = None
    description_hash: Hex32Bytes | None = None
    expires_in: Minutes | None = None


@strawberry.input
class LnNoAmountInvoiceCreateInput:
    """An invoice whose payer chooses the amount, for one's own wallet."""

    wallet_id: WalletId
    memo: Memo | None = None
    expires_in: Minutes | None = None


@strawberry.input
class LnNoAmountInvoiceCreateOnBehalfOfRecipientInput:
    """An invoice whose payer chooses the amount, for anybody's wallet."""

    recipient_wallet_id: WalletId
    memo: Memo | None = None
    expires_in: Minutes | None = None


@strawberry.input
class LnInvoiceCreateInput:
    """An invoice in satoshis for one's own BTC wallet."""

    wallet_id: WalletId
    amount: SatAmount
    memo: Memo | None = None
    expires_in: Minutes | None = None


@strawberry.input
class LnInvoiceCreateOnBehalfOfRecipientInput:
    """An invoice in satoshis for anybody's BTC wallet."""

    recipient_wallet_id: WalletId
    amount: SatAmount
    memo: Memo | None = None
    description_hash: Hex32Bytes | None = None
    expires_in: Minutes | None = None


@strawberry.input
class LnInvoicePaymentInput:
    """A payment of an invoice that says its amount."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest
    memo: Memo | None = None
    idempotency_key: str | None = None


@strawberry.input
class LnNoAmountUsdInvoicePaymentInput:
    """A payment of an amount in cents to an invoice without an amount."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest
    amount: FractionalCentAmount
    memo: Memo | None = None


@strawberry.input
class LnNoAmountInvoicePaymentInput:
    """A payment of an amount in satoshis to an invoice without an amount."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest
    amount: SatAmount
    memo: Memo | None = None
    idempotency_key: str | None = None


@strawberry.input
class LnUsdInvoiceFeeProbeInput:
    """A question for the fee of a payment from a wallet in dollars."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest


@strawberry.input
class LnNoAmountUsdInvoiceFeeProbeInput:
    """The same for an invoice without an amount."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest
    amount: FractionalCentAmount


@strawberry.input
class LnInvoiceFeeProbeInput:
    """A question for the fee of a payment from a BTC wallet."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest


@strawberry.input
class LnNoAmountInvoiceFeeProbeInput:
    """The same for an invoice without an amount."""

    wallet_id: WalletId
    payment_request: LnPaymentRequest
    amount: SatAmount


@strawberry.input
class LnInvoicePaymentStatusInput:
    """A question for the state of an invoice."""

    payment_request: LnPaymentRequest


@strawberry.input
class RealtimePriceInput:
    """A question for the price in a currency."""

    currency: DisplayCurrency | None = DisplayCurrency("USD")


@strawberry.input
class TransactionDetailsInput:
    """A question for all about one transaction."""

    transaction_id: str
