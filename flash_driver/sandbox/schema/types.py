"""What Flash's operations answer with: invoices, payments, prices and events."""

from decimal import Decimal
from enum import Enum
from typing import Annotated

import strawberry

from flash_driver.sandbox.bank.custodian import PriceQuote
from flash_driver.sandbox.bank.ledger import Wallet
from flash_driver.sandbox.bank.refusals import Refused
from flash_driver.sandbox.bank.signer import SignedInvoice
from flash_driver.sandbox.schema.scalars import (
    DisplayCurrency,
    LnPaymentRequest,
    LnPaymentSecret,
    OnChainTxHash,
    PaymentHash,
    SafeInt,
    SatAmount,
    Timestamp,
    USDCents,
    WalletId,
)

__all__ = [
    "CashWalletCutover",
    "CashWalletCutoverState",
    "CentAmountPayload",
    "Error",
    "Globals",
    "GraphQLApplicationError",
    "IntraLedgerUpdate",
    "InvoicePaymentStatus",
    "LnInvoice",
    "LnInvoicePayload",
    "LnInvoicePaymentStatusPayload",
    "LnNoAmountInvoice",
    "LnNoAmountInvoicePayload",
    "LnUpdate",
    "Network",
    "OnChainUpdate",
    "PaymentSendPayload",
    "PaymentSendResult",
    "Price",
    "PriceInterface",
    "PriceOfOneSatInMinorUnit",
    "PriceOfOneUsdCentInMinorUnit",
    "PublicWallet",
    "RealtimePrice",
    "RealtimePricePayload",
    "SatAmountPayload",
    "UserUpdate",
    "WalletCurrency",
]


@strawberry.enum
class InvoicePaymentStatus(Enum):
    """The states of an invoice."""

    PENDING = "PENDING"
    PAID = "PAID"
    EXPIRED = "EXPIRED"


@strawberry.enum
class PaymentSendResult(Enum):
    """The results of a payment; ALREADY_PAID exists but never comes."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    PENDING = "PENDING"
    ALREADY_PAID = "ALREADY_PAID"


@strawberry.enum
class WalletCurrency(Enum):
    """What a wallet holds."""

    BTC = "BTC"
    USD = "USD"
    USDT = "USDT"


@strawberry.enum
class Network(Enum):
    """The networks there are."""

    mainnet = "mainnet"
    testnet = "testnet"
    signet = "signet"
    regtest = "regtest"


@strawberry.enum
class CashWalletCutoverState(Enum):
    """How far the move from USD to USDT is."""

    PRE = "PRE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"
    ROLLED_BACK = "ROLLED_BACK"


@strawberry.type
class PublicWallet:
    """What anybody may know of a wallet."""

    id: strawberry.ID
    wallet_currency: WalletCurrency

    @classmethod
    def of(cls, wallet: Wallet) -> "PublicWallet":
        """Show a wallet."""
        return cls(id=strawberry.ID(wallet.id), wallet_currency=WalletCurrency(wallet.currency))


@strawberry.type
class CashWalletCutover:
    """The move from USD to USDT wallets."""

    state: CashWalletCutoverState
    cutover_version: int


@strawberry.interface
class Error:
    """Something that went wrong, told in a payload."""

    message: str
    path: list[str | None] | None = None
    code: str | None = None


@strawberry.type
class GraphQLApplicationError(Error):
    """The one kind of error there is."""

    @classmethod
    def of(cls, refusal: Refused) -> "GraphQLApplicationError":
        """Tell why something was refused."""
        return cls(message=refusal.message, code=refusal.code)


@strawberry.type
class Globals:
    """Facts about this server."""

    network: Network
    nodes_ids: list[str]
    lightning_address_domain: str
    lightning_address_domain_aliases: list[str]


@strawberry.interface
class PriceInterface:
    """A price as base and offset: base / 10^offset."""

    base: SafeInt
    offset: int
    currency_unit: str


@strawberry.type
class PriceOfOneSatInMinorUnit(PriceInterface):
    """What a satoshi costs."""


@strawberry.type
class PriceOfOneUsdCentInMinorUnit(PriceInterface):
    """What a US cent costs."""


@strawberry.type
class Price:
    """What a satoshi costs in US cents, in the old form."""

    base: SafeInt
    offset: int
    currency_unit: str
    formatted_amount: str

    @classmethod
    def of(cls, quote: PriceQuote) -> "Price":
        """Tell a quote in US cents."""
        cents = SafeInt(quote.sat_base)
        return cls(
            base=cents,
            offset=quote.sat_offset,
            currency_unit="USDCENT",
            formatted_amount=f"{Decimal(cents).scaleb(-quote.sat_offset):.6f}",
        )


@strawberry.type
class RealtimePrice:
    """What a satoshi and a US cent cost in a currency."""

    id: strawberry.ID
    timestamp: Timestamp
    denominator_currency: DisplayCurrency
    btc_sat_price: PriceOfOneSatInMinorUnit
    usd_cent_price: PriceOfOneUsdCentInMinorUnit

    @classmethod
    def of(cls, quote: PriceQuote) -> "RealtimePrice":
        """Tell a quote."""
        return cls(
            id=strawberry.ID(f"{quote.currency}-{quote.timestamp}"),
            timestamp=Timestamp(quote.timestamp),
            denominator_currency=DisplayCurrency(quote.currency),
            btc_sat_price=PriceOfOneSatInMinorUnit(
                base=SafeInt(quote.sat_base), offset=quote.sat_offset, currency_unit="MINOR"
            ),
            usd_cent_price=PriceOfOneUsdCentInMinorUnit(
                base=SafeInt(quote.cent_base), offset=quote.cent_offset, currency_unit="MINOR"
            ),
        )


@strawberry.type
class RealtimePricePayload:
    """An event of the price subscription."""

    errors: list[Error]
    realtime_price: RealtimePrice | None = None


@strawberry.type
class LnInvoice:
    """An invoice; `satoshis` is always null, the BOLT11 knows."""

    payment_request: LnPaymentRequest
    payment_hash: PaymentHash
    payment_secret: LnPaymentSecret
    satoshis: SatAmount | None = None

    @classmethod
    def of(cls, signed: SignedInvoice) -> "LnInvoice":
        """Tell what its client may know."""
        return cls(
            payment_request=LnPaymentRequest(signed.payment_request),
            payment_hash=PaymentHash(signed.payment_hash),
            payment_secret=LnPaymentSecret(signed.payment_secret),
        )


@strawberry.type
class LnNoAmountInvoice:
    """An invoice whose payer chooses the amount."""

    payment_request: LnPaymentRequest
    payment_hash: PaymentHash
    payment_secret: LnPaymentSecret

    @classmethod
    def of(cls, signed: SignedInvoice) -> "LnNoAmountInvoice":
        """Tell what its client may know."""
        return cls(
            payment_request=LnPaymentRequest(signed.payment_request),
            payment_hash=PaymentHash(signed.payment_hash),
            payment_secret=LnPaymentSecret(signed.payment_secret),
        )


@strawberry.type
class LnInvoicePayload:
    """The answer to an invoice's creation."""

    errors: list[Error]
    invoice: LnInvoice | None = None


@strawberry.type
class LnNoAmountInvoicePayload:
    """The same for an invoice without an amount."""

    errors: list[Error]
    invoice: LnNoAmountInvoice | None = None


@strawberry.type
class LnInvoicePaymentStatusPayload:
    """The state of an invoice."""

    errors: list[Error]
    status: InvoicePaymentStatus | None = None


@strawberry.type
class PaymentSendPayload:
    """The answer to a payment."""

    errors: list[Error]
    status: PaymentSendResult | None = None


@strawberry.type
class CentAmountPayload:
    """An estimate: `amount` is the fee, `invoice_amount` the sum it pays."""

    errors: list[Error]
    amount: USDCents | None = None
    invoice_amount: USDCents | None = None


@strawberry.type
class SatAmountPayload:
    """An estimate in satoshis."""

    errors: list[Error]
    amount: SatAmount | None = None


@strawberry.type
class LnUpdate:
    """An event: an invoice was paid."""

    payment_hash: PaymentHash
    status: InvoicePaymentStatus
    wallet_id: WalletId


@strawberry.type
class OnChainUpdate:
    """An event that the sandbox never sends."""

    tx_hash: OnChainTxHash
    amount: SatAmount
    wallet_id: WalletId


@strawberry.type
class IntraLedgerUpdate:
    """An event that the sandbox never sends."""

    amount: SatAmount
    wallet_id: WalletId


UserUpdate = Annotated[
    RealtimePrice | Price | LnUpdate | OnChainUpdate | IntraLedgerUpdate, strawberry.union("UserUpdate")
]
