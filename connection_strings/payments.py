"""What a host says and hears of a payment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING

from connection_strings.checks import check_page, check_type
from connection_strings.errors import InvalidRequest
from connection_strings.money import LightMoney

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_SEND_TIMEOUT",
    "KeysendParams",
    "LightningPayment",
    "LightningPaymentStatus",
    "ListPaymentsParams",
    "PayDetails",
    "PayInvoiceParams",
    "PayResponse",
    "PayResult",
]

DEFAULT_SEND_TIMEOUT = timedelta(seconds=30)

_HIGHEST_PERCENT = 1_000_000
_LOWEST_CUSTOM_RECORD = 65_536


class PayResult(Enum):
    """How an attempt to pay ended; on UNKNOWN never pay again, ask `get_payment`."""

    OK = "ok"
    UNKNOWN = "unknown"
    COULD_NOT_FIND_ROUTE = "could-not-find-route"
    ERROR = "error"


class LightningPaymentStatus(Enum):
    """Where a payment stands; FAILED is said only when the money certainly did not leave."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ListPaymentsParams:
    """Which payments to list, in the order they were first attempted; bounded, as `ListInvoicesParams` says.

    Attributes:
        include_pending: List also those of which it is not known how they ended.
        offset_index: How many to pass over. A backend counts them, which takes longer the more they are.
        after: The payment hash of a payment: list those that were first attempted after it.
        unknown_only: List only those that stay unknown, all at once: nobody is sending them, and it is not known how
            they ended. One that the backend called in flight, and says no more of, is PENDING and has a `way_out`.
            There are few of them, so it goes with no other of these.

    Raises:
        InvalidRequest: A value of another type, an offset below zero, or `unknown_only` with a place to begin at.

    """

    include_pending: bool = False
    offset_index: int = 0
    after: str | None = None
    unknown_only: bool = False

    def __post_init__(self) -> None:
        check_page(self.after, self.offset_index)
        if self.unknown_only and (self.after is not None or self.offset_index):
            raise InvalidRequest("unknown_only", "lists all at once: leave `after` and `offset_index` out")


@dataclass(frozen=True, slots=True)
class PayInvoiceParams:
    """How to pay a BOLT11.

    Attributes:
        amount: What to send on an amountless BOLT11; must equal the BOLT11's amount where it has one.
        max_fee_percent: Most routing fee to accept, in percent of the amount; None is no limit.
        max_fee_flat: Most routing fee to accept as an amount; None is no limit. Both given: the smaller counts.
        send_timeout: How long to wait for the outcome before answering UNKNOWN.
        resolve_early: Whether a backend may find out how a lost payment ended by sending the same request again, under
            the same idempotency key, in the minutes after UNKNOWN was answered. Such a repetition may be the first
            that is carried out. Only for callers who never pay in another way after UNKNOWN.

    Raises:
        InvalidRequest: A value of another type, an amount of zero or less, a fee that is negative, infinite or no
            number, or a time-out of zero or less.

    """

    amount: LightMoney | None = None
    max_fee_percent: Decimal | float | None = None
    max_fee_flat: LightMoney | None = None
    send_timeout: timedelta = DEFAULT_SEND_TIMEOUT
    resolve_early: bool = False

    def __post_init__(self) -> None:
        _check_limits(self)
        check_type("amount", self.amount, LightMoney, None)
        if self.amount is not None and self.amount.msat <= 0:
            raise InvalidRequest("amount", "must be more than zero; leave it out to pay the BOLT11's own amount")
        if not isinstance(self.resolve_early, bool):
            raise InvalidRequest("resolve_early", f"must be bool, not {type(self.resolve_early).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysendParams:
    """How to pay a node that made no invoice (BLIP-0003).

    Attributes:
        amount: What to send.
        max_fee_percent: As of `PayInvoiceParams`.
        max_fee_flat: As of `PayInvoiceParams`.
        send_timeout: As of `PayInvoiceParams`.
        custom_records: TLV records to send along, by type from 65536 on; None for none.

    Raises:
        InvalidRequest: As of `PayInvoiceParams`; or a record of another type of value, or with a type below 65536.

    """

    amount: LightMoney
    max_fee_percent: Decimal | float | None = None
    max_fee_flat: LightMoney | None = None
    send_timeout: timedelta = DEFAULT_SEND_TIMEOUT
    custom_records: Mapping[int, bytes] | None = None

    def __post_init__(self) -> None:
        check_type("amount", self.amount, LightMoney)
        if self.amount.msat <= 0:
            raise InvalidRequest("amount", "must be more than zero")
        for number, value in (self.custom_records or {}).items():
            check_type("custom_records", number, int)
            check_type("custom_records", value, bytes)
            if number < _LOWEST_CUSTOM_RECORD:
                raise InvalidRequest("custom_records", f"must have types from {_LOWEST_CUSTOM_RECORD} on (BOLT 1)")
        _check_limits(self)


def _check_limits(params: PayInvoiceParams | KeysendParams) -> None:
    """Refuse a limit that is none."""
    check_type("max_fee_percent", params.max_fee_percent, Decimal, float, int, None)
    check_type("max_fee_flat", params.max_fee_flat, LightMoney, None)
    check_type("send_timeout", params.send_timeout, timedelta)
    if params.max_fee_percent is not None:
        percent = Decimal(str(params.max_fee_percent))
        if not percent.is_finite() or not 0 <= percent <= _HIGHEST_PERCENT:
            raise InvalidRequest("max_fee_percent", f"must be a number, and not negative or above {_HIGHEST_PERCENT}")
    if params.max_fee_flat is not None and params.max_fee_flat.msat < 0:
        raise InvalidRequest("max_fee_flat", "must not be negative")
    if params.send_timeout <= timedelta(0):
        raise InvalidRequest("send_timeout", "must be longer than zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayDetails:
    """What is known of a payment once an attempt ended; a backend that does not tell leaves None."""

    payment_hash: str
    status: LightningPaymentStatus
    total_amount: LightMoney | None = None
    fee_amount: LightMoney | None = None
    preimage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayResponse:
    """How `pay` ended.

    Attributes:
        result: The verdict. Only ERROR and COULD_NOT_FIND_ROUTE mean that the money certainly did not leave.
        details: What is known of the payment, None when it was refused before it had a hash.
        error_detail: The reason in words, for a person.
        paid_before: Whether an earlier call has paid it, so that this one sent nothing; then the result is OK.
        unreachable: Whether nothing was sent because the backend carried nothing out: it can't be reached, or refuses
            the credential. Then the result is ERROR, and the same payment may be tried again.

    """

    result: PayResult
    details: PayDetails | None = None
    error_detail: str | None = None
    paid_before: bool = False
    unreachable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LightningPayment:
    """A payment made through this driver.

    Attributes:
        amount: What the payee gets, None when not known.
        amount_sent: Amount plus fee, None when the backend does not tell.
        fee: The routing fee, None when the backend does not tell.
        amount_estimated: Whether `amount` is an estimate: the backend sent another currency on an amountless BOLT11.
        sent_at: When it was sent; None when certainly nothing was, or the backend does not tell. One that failed and
            was not sent is to a host as if it had never been asked for.
        failure: Why it failed, or why it is not known how it ended, in words for a person.
        way_out: What will or could tell how it ended, in words for a person; None when that is known.
        settled_by_hand: The reason that an operator wrote down for deciding how it ended; None if nobody did.

    """

    id: str
    payment_hash: str
    bolt11: str
    status: LightningPaymentStatus
    created_at: datetime
    preimage: str | None = None
    amount: LightMoney | None = None
    amount_sent: LightMoney | None = None
    fee: LightMoney | None = None
    amount_estimated: bool = False
    sent_at: datetime | None = None
    failure: str | None = None
    way_out: str | None = None
    settled_by_hand: str | None = None
