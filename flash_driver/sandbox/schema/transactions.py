"""Transactions as Flash really lists them, which is less than its types promise (flash-server.md 3.9)."""

from decimal import Decimal
from enum import Enum
from typing import Annotated

import strawberry

from flash_driver.sandbox.bank.ledger import Transaction as Movement
from flash_driver.sandbox.schema.scalars import (
    DisplayCurrency,
    LnPaymentPreImage,
    LnPaymentSecret,
    Memo,
    OnChainAddress,
    OnChainTxHash,
    PaymentHash,
    SafeInt,
    SignedAmount,
    SignedDisplayMajorAmount,
    Timestamp,
    Username,
    WalletId,
)
from flash_driver.sandbox.schema.types import PriceInterface, WalletCurrency

__all__ = [
    "MAX_PAGE",
    "InitiationViaIntraLedger",
    "InitiationViaLn",
    "InitiationViaOnChain",
    "PageInfo",
    "PriceOfOneSettlementMinorUnitInDisplayMinorUnit",
    "SettlementViaIntraLedger",
    "SettlementViaLn",
    "SettlementViaOnChain",
    "Transaction",
    "TransactionConnection",
    "TransactionDetails",
    "TransactionDetailsError",
    "TransactionDetailsPayload",
    "TransactionEdge",
    "TxDirection",
    "TxStatus",
    "page",
]

MAX_PAGE = 100


@strawberry.enum
class TxDirection(Enum):
    """Which way the money went."""

    RECEIVE = "RECEIVE"
    SEND = "SEND"


@strawberry.enum
class TxStatus(Enum):
    """The states of a transaction; every one that is listed is a SUCCESS."""

    FAILURE = "FAILURE"
    PENDING = "PENDING"
    SUCCESS = "SUCCESS"


@strawberry.type
class InitiationViaLn:
    """Begun on Lightning; the hash is always empty."""

    payment_hash: PaymentHash


@strawberry.type
class InitiationViaIntraLedger:
    """Never seen here."""

    counter_party_wallet_id: WalletId | None = None
    counter_party_username: Username | None = None


@strawberry.type
class InitiationViaOnChain:
    """Never seen here."""

    address: OnChainAddress


@strawberry.type
class SettlementViaLn:
    """Settled on Lightning; the preimage is always null."""

    payment_secret: LnPaymentSecret | None = None
    pre_image: LnPaymentPreImage | None = None


@strawberry.type
class SettlementViaIntraLedger:
    """Never seen here."""

    counter_party_wallet_id: WalletId | None = None
    counter_party_username: Username | None = None


@strawberry.type
class SettlementViaOnChain:
    """Never seen here."""

    transaction_hash: OnChainTxHash | None = None
    vout: int | None = None


InitiationVia = Annotated[
    InitiationViaIntraLedger | InitiationViaLn | InitiationViaOnChain, strawberry.union("InitiationVia")
]
SettlementVia = Annotated[
    SettlementViaIntraLedger | SettlementViaLn | SettlementViaOnChain, strawberry.union("SettlementVia")
]


@strawberry.type
class PriceOfOneSettlementMinorUnitInDisplayMinorUnit(PriceInterface):
    """A price nobody should use."""

    formatted_amount: str


@strawberry.type
class Transaction:
    """A movement on a wallet. Nothing in it tells which invoice it belongs to."""

    id: strawberry.ID
    created_at: Timestamp
    direction: TxDirection
    initiation_via: InitiationVia
    memo: Memo | None
    settlement_amount: SignedAmount
    settlement_currency: WalletCurrency
    settlement_display_amount: SignedDisplayMajorAmount
    settlement_display_currency: DisplayCurrency
    settlement_display_fee: SignedDisplayMajorAmount
    settlement_fee: SignedAmount
    settlement_price: PriceOfOneSettlementMinorUnitInDisplayMinorUnit
    settlement_via: SettlementVia
    status: TxStatus

    @classmethod
    def of(cls, movement: Movement) -> "Transaction":
        """List a movement."""
        amount, fee = _listed(movement, movement.amount), _listed(movement, movement.fee)
        return cls(
            id=strawberry.ID(movement.id),
            created_at=Timestamp(int(movement.created_at.timestamp())),
            direction=TxDirection.RECEIVE if movement.amount > 0 else TxDirection.SEND,
            initiation_via=InitiationViaLn(payment_hash=PaymentHash("")),
            memo=None,
            settlement_amount=SignedAmount(amount),
            settlement_currency=WalletCurrency(movement.wallet.currency),
            settlement_display_amount=SignedDisplayMajorAmount(_text(_dollars(movement, movement.amount))),
            settlement_display_currency=DisplayCurrency("USD"),
            settlement_display_fee=SignedDisplayMajorAmount(_text(_dollars(movement, movement.fee))),
            settlement_fee=SignedAmount(fee),
            settlement_price=PriceOfOneSettlementMinorUnitInDisplayMinorUnit(
                base=SafeInt(1_000_000), offset=6, currency_unit="MINOR", formatted_amount="1"
            ),
            settlement_via=SettlementViaLn(),
            status=TxStatus.SUCCESS,
        )


@strawberry.type
class TransactionEdge:
    """A place in the list."""

    cursor: str
    node: Transaction


@strawberry.type
class PageInfo:
    """Where a page ends; not to be relied on, there is no next page."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None = None
    end_cursor: str | None = None


@strawberry.type
class TransactionConnection:
    """A page of transactions."""

    edges: list[TransactionEdge] | None
    page_info: PageInfo


@strawberry.type
class TransactionDetails:
    """All that Flash tells of one transaction: of a receive everything, of a send neither hash nor preimage."""

    id: str
    account_id: str | None
    amount: float | None
    currency: str | None
    status: str | None
    type: str | None
    created_at: str | None
    updated_at: str | None
    fee: float | None
    invoice: str | None = None
    payment_hash: str | None = None
    payment_preimage: str | None = None
    memo: str | None = None
    address: str | None = None
    txid: str | None = None
    vout: int | None = None
    confirmations: int | None = None

    @classmethod
    def of(cls, movement: Movement) -> "TransactionDetails":
        """Tell of a movement; the wire really carries dollars as a float here."""
        invoice, happened = movement.invoice, movement.created_at.isoformat()
        return cls(
            id=movement.id,
            account_id=movement.wallet.id,
            amount=float(_dollars(movement, movement.amount)),
            currency=movement.wallet.currency,
            status="completed",
            type="RECEIVE" if movement.amount > 0 else "SEND",
            created_at=happened,
            updated_at=happened,
            fee=float(_dollars(movement, movement.fee)),
            invoice=invoice.signed.payment_request if invoice else None,
            payment_hash=invoice.signed.payment_hash if invoice else None,
            payment_preimage=invoice.signed.preimage if invoice else None,
            memo=invoice.memo if invoice else None,
        )


@strawberry.type
class TransactionDetailsError:
    """What went wrong, without a code."""

    message: str


@strawberry.type
class TransactionDetailsPayload:
    """The answer to a question for details."""

    errors: list[TransactionDetailsError]
    transaction_details: TransactionDetails | None = None


def page(movements: list[Movement], first: int | None, last: int | None) -> TransactionConnection:
    """Cut a page out of a list; cursors exist, but Flash takes none of them back."""
    chosen = movements[: MAX_PAGE if first is None else first]
    if last is not None:
        chosen = chosen[-last:]
    edges = [TransactionEdge(cursor=each.id, node=Transaction.of(each)) for each in chosen]
    return TransactionConnection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=False,
            has_previous_page=False,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def _dollars(movement: Movement, amount: Decimal) -> Decimal:
    """Turn a wallet's unit into the custodian's: dollars, or bitcoins."""
    return amount / (100_000_000 if movement.wallet.currency == "BTC" else 100)


def _text(amount: Decimal) -> str:
    """Write a number as JavaScript does, without needless zeros."""
    return f"{amount.normalize():f}"


def _listed(movement: Movement, amount: Decimal) -> Decimal:
    """Turn a wallet's unit into the one the list shows: raw dollars for USD, whole cents for USDT."""
    if movement.wallet.currency == "USD":
        return _dollars(movement, amount)
    return amount.quantize(Decimal(1))
