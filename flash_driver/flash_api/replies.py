"""What Flash answered, read into values; pure.

The server is not trusted to keep to its schema: anything of the wrong shape raises `InvalidReply`, which names the
field and shows no value.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from connection_strings.checks import read_payment_hash
from connection_strings.errors import InvalidReply
from flash_driver.common.masking import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "AccountReply",
    "BalanceReply",
    "CreatedReply",
    "Currency",
    "FeeEstimate",
    "InvoiceStatus",
    "PriceTick",
    "Received",
    "Wallet",
    "preimage_of",
    "read_account",
    "read_balances",
    "read_created",
    "read_fee_probe",
    "read_invoice_status",
    "read_own_wallet_ids",
    "read_price",
    "read_price_time",
    "read_receipt_hash",
    "read_receive_ids",
    "read_receive_times",
    "read_received",
    "read_tick",
    "status_word",
]

T = TypeVar("T")

_MOST_DIGITS: Final = 30
"""A number of more digits than this, before or after the point, is no money and no price."""
_LATEST_SECOND: Final = 253_402_300_799
_LONGEST_WORD: Final = 80
"""The last second of the year 9999, the latest that a datetime can tell."""


class Currency(StrEnum):
    """What a Flash wallet holds; USD and USDT are counted in (fractional) US cents, BTC in satoshi.

    Attributes:
        in_cents: Whether the wallet is asked in US cents.

    """

    in_cents: bool

    USD = "USD"
    USDT = "USDT"
    BTC = "BTC"

    def __init__(self, name: str) -> None:
        self.in_cents = name != "BTC"


class InvoiceStatus(StrEnum):
    """What `lnInvoicePaymentStatus` says; a word that is not known is UNKNOWN, never a verdict."""

    PENDING = "PENDING"
    PAID = "PAID"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet of the account."""

    id: str
    currency: str
    is_external: bool = False


@dataclass(frozen=True, slots=True)
class PriceTick:
    """The server's price: US cents per satoshi, and when it was struck. An indication, not the rate of an invoice."""

    cents_per_sat: Decimal
    time: datetime


@dataclass(frozen=True, slots=True, repr=False)
class AccountReply:
    """Who we are to the server. Shows nothing of itself: a server may repeat the token in any of it."""

    account_id: str
    default_wallet_id: str
    wallets: tuple[Wallet, ...]
    network: str | None
    price: PriceTick | None


@dataclass(frozen=True, slots=True)
class BalanceReply:
    """A wallet with its balance in cents (satoshi for BTC); None for an external wallet."""

    wallet: Wallet
    minor_units: Decimal | None


@dataclass(frozen=True, slots=True)
class CreatedReply:
    """An invoice that the server says it made; its BOLT11 has yet to be checked."""

    bolt11: str
    payment_hash: str


@dataclass(frozen=True, slots=True)
class Received:
    """What a transaction brought: US cents, and the preimage if the server told it."""

    cents: Decimal
    preimage: str | None


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """What a payment would cost, in cents (satoshi for BTC), as a fee probe rounds it; None where it does not say.

    Attributes:
        fee: The fee alone.
        principal: What the payee gets, without the fee.

    """

    fee: Decimal | None
    principal: Decimal | None


def read_account(data: Mapping[str, Any]) -> AccountReply:
    """Read the answer to `ACCOUNT` or `ME`; a price that makes no sense does no harm to the rest."""
    account = _dig(data, "me", "defaultAccount", kind=dict)
    wallets = tuple(_read_wallet(row) for row in _dig(account, "wallets", kind=list))
    network = _optional(data, "globals", "network")
    price = data.get("realtimePrice")
    return AccountReply(
        account_id=_dig(account, "id", kind=str),
        default_wallet_id=_dig(account, "defaultWalletId", kind=str),
        wallets=wallets,
        network=network if isinstance(network, str) else None,
        price=read_tick(price) if isinstance(price, dict) else None,
    )


def read_own_wallet_ids(data: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the account's wallets at Flash, in lower case; what is no such wallet is passed over."""
    rows = _optional(data, "me", "defaultAccount", "wallets")
    own = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    ids = [row.get("id") for row in own if row.get("isExternal") is not True]
    return frozenset(each.lower() for each in ids if isinstance(each, str))


def read_balances(data: Mapping[str, Any]) -> list[BalanceReply]:
    """Read the answer to `BALANCE`."""
    rows = _dig(data, "me", "defaultAccount", "wallets", kind=list)
    return [BalanceReply(_read_wallet(row), _maybe_decimal(row, "balance")) for row in rows]


def read_price(data: Mapping[str, Any]) -> PriceTick | None:
    """Read `realtimePrice`; None when the server's number can't be a price.

    Source: flash-server.md 3.3: minor units per satoshi = base / 10^offset.
    """
    return read_tick(_dig(data, "realtimePrice", kind=dict))


def read_price_time(data: Mapping[str, Any]) -> datetime | None:
    """Read when the price in `realtimePrice` was struck; None when the server does not say."""
    return _read_time(_dig(data, "realtimePrice", kind=dict))


def read_created(data: Mapping[str, Any], field: str) -> CreatedReply:
    """Read the payload of an invoice mutation."""
    invoice = _dig(data, field, "invoice", kind=dict)
    bolt11 = _dig(invoice, "paymentRequest", kind=str)
    payment_hash = read_payment_hash(invoice.get("paymentHash"))
    if payment_hash is None:
        raise InvalidReply("the server's answer has no usable paymentHash")
    return CreatedReply(bolt11=bolt11, payment_hash=payment_hash)


def read_invoice_status(data: Mapping[str, Any]) -> InvoiceStatus:
    """Read the answer to `INVOICE_STATUS`."""
    word = _optional(data, "lnInvoicePaymentStatus", "status")
    return InvoiceStatus(word) if word in ("PENDING", "PAID", "EXPIRED") else InvoiceStatus.UNKNOWN


def status_word(data: Mapping[str, Any]) -> str:
    """Return what stands in the place of the status in the answer to `INVOICE_STATUS`, as it may be logged."""
    return shown(_optional(data, "lnInvoicePaymentStatus", "status"), _LONGEST_WORD)


def read_fee_probe(data: Mapping[str, Any], field: str) -> FeeEstimate:
    """Read the answer to a fee probe."""
    payload = _dig(data, field, kind=dict)
    return FeeEstimate(_maybe_decimal(payload, "amount"), _maybe_decimal(payload, "invoiceAmount"))


def read_tick(price: Mapping[str, Any]) -> PriceTick | None:
    """Read a price of the type `RealtimePrice`, in dollars; None where it is not usable."""
    base = _maybe_decimal(_optional(price, "btcSatPrice"), "base")
    offset = _maybe_int(price, "btcSatPrice", "offset")
    if base is None or base <= 0 or offset is None or not 0 <= offset <= _MOST_DIGITS:
        return None
    return PriceTick(base.scaleb(-offset), _read_time(price) or datetime.now(UTC))


def read_receive_ids(data: Mapping[str, Any], since: int = 0) -> list[str]:
    """Return the ids of the account's latest receiving transactions, newest first.

    Args:
        data: The answer to `TRANSACTIONS`.
        since: Leaves out what is older, in Unix seconds; one that does not tell its age (`createdAt`) is kept.

    """
    return [
        _dig(node, "id", kind=str)
        for node in _transactions(data)
        if node.get("direction") == "RECEIVE"
        and ((created := _maybe_int(node, "createdAt")) is None or created >= since)
    ]


def read_receive_times(data: Mapping[str, Any]) -> dict[str, datetime]:
    """Return when the account's latest transactions came about, by id, to a second; those that tell no time are not in.

    The arguments and errors are those of `read_receive_ids`.
    """
    times = {_dig(node, "id", kind=str): _read_time(node, "createdAt") for node in _transactions(data)}
    return {transaction_id: time for transaction_id, time in times.items() if time is not None}


def read_receipt_hash(data: Mapping[str, Any]) -> str | None:
    """Return the payment hash of the transaction that `TRANSACTION_DETAILS` told of; None when it has none."""
    return read_payment_hash(_optional(data, "transactionDetails", "transactionDetails", "paymentHash"))


def read_received(data: Mapping[str, Any], payment_hash: str, wallet_ids: Collection[str]) -> Received | None:
    """Return what a transaction brought, if it is the one that settled this payment hash.

    Matched by the hash alone, never by amount or time; and only in a wallet of this account, because the server's
    resolver does not check whose transaction it shows (flash-server.md 3.9).
    """
    details = _optional(data, "transactionDetails", "transactionDetails")
    wallet_id = _optional(details, "accountId")
    if not isinstance(wallet_id, str) or wallet_id not in wallet_ids:
        return None
    if read_payment_hash(details.get("paymentHash")) != payment_hash:
        return None
    dollars = _maybe_decimal(details, "amount")
    if dollars is None or dollars <= 0:
        return None
    return Received(dollars * 100, preimage_of(payment_hash, details.get("paymentPreimage")))


def preimage_of(payment_hash: str, value: object) -> str | None:
    """Return a preimage in lower-case hex if it is one of this payment hash, else None (BOLT 11: SHA-256)."""
    try:
        preimage = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return None
    return preimage.hex() if hashlib.sha256(preimage).hexdigest() == payment_hash else None


def _read_wallet(row: Mapping[str, Any]) -> Wallet:
    return Wallet(
        id=_dig(row, "id", kind=str),
        currency=_dig(row, "walletCurrency", kind=str),
        is_external=row.get("isExternal") is True,
    )


def _transactions(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    edges = _dig(data, "me", "defaultAccount", "transactions", "edges", kind=list)
    return [_dig(edge, "node", kind=dict) for edge in edges]


def _read_time(row: Mapping[str, Any], key: str = "timestamp") -> datetime | None:
    seconds = _maybe_int(row, key)
    known = seconds is not None and 0 < seconds <= _LATEST_SECOND
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and known else None


def _maybe_decimal(row: object, key: str) -> Decimal | None:
    value = _optional(row, key)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() and abs(number.adjusted()) <= _MOST_DIGITS else None


def _maybe_int(row: object, *path: str) -> int | None:
    value = _optional(row, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _optional(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _dig(value: Any, *path: str, kind: type[T]) -> T:
    found = _optional(value, *path)
    if not isinstance(found, kind):
        raise InvalidReply(f"the server's answer has no usable {'.'.join(path)}")
    return found
