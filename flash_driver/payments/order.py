"""What a host wants to have paid, checked as far as that needs no server."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from connection_strings.errors import InvalidRequest
from connection_strings.lightning import LightningPaymentStatus
from flash_driver.bolt11.payment_request import PaymentRequest, decode

if TYPE_CHECKING:
    from connection_strings.lightning import PayInvoiceParams
    from flash_driver.journal.records import PaymentRecord

__all__ = ["Order", "read_order"]


@dataclass(frozen=True, slots=True)
class Order:
    """A payment that a host asks for.

    Attributes:
        request: The BOLT11.
        amount_msat: What the payee is to get, in millisatoshi.
        fee_limit_msat: The highest fee that the host accepts, in millisatoshi; None for any.
        send_seconds: How long the host waits for the outcome.
        resolve_early: Whether a lost payment may be asked about before the BOLT11 has expired.

    """

    request: PaymentRequest
    amount_msat: int
    fee_limit_msat: int | None
    send_seconds: float
    resolve_early: bool

    def insist_on_same(self, bolt11: str, amount_msat: int, state: str) -> None:
        """Make sure that another payment with this payment hash is the very same payment.

        Args:
            bolt11: Its BOLT11.
            amount_msat: What its payee gets, in millisatoshi.
            state: How it stands, in words, such as `was paid before`.

        Raises:
            InvalidRequest: It is another one; says what it was.

        """
        if bolt11 != self.request.bolt11:
            raise InvalidRequest(
                "bolt11",
                f"has the payment hash of another BOLT11, over {amount_msat} msat, which {state}; nothing was sent",
            )
        if amount_msat != self.amount_msat:
            raise InvalidRequest(
                "amount",
                f"is {self.amount_msat} msat, but this BOLT11 {state} with {amount_msat} msat; nothing was sent",
            )

    def insist_on_same_as(self, record: PaymentRecord) -> None:
        """Make sure that a payment that was made, or may have been made, is the one asked for now.

        Raises:
            InvalidRequest: It is another one.

        """
        complete = record.status is LightningPaymentStatus.COMPLETE
        self.insist_on_same(record.bolt11, record.amount_msat, "was paid before" if complete else "may have been paid")


def read_order(bolt11: str, params: PayInvoiceParams) -> Order:
    """Check what a host wants to have paid.

    Raises:
        InvalidRequest: The BOLT11 or the amount makes no sense.

    """
    request = decode(bolt11)
    if request.unknown_features:
        bits = ", ".join(str(bit) for bit in request.unknown_features)
        raise InvalidRequest(
            "bolt11", f"requires what no wallet known here can do (feature {bits} of BOLT 9); ask for another"
        )
    amount = None if params.amount is None else params.amount.msat
    if request.amount_msat is None and amount is None:
        raise InvalidRequest("amount", "is needed: this BOLT11 leaves it to the payer")
    if request.amount_msat is not None and amount not in (None, request.amount_msat):
        raise InvalidRequest("amount", "differs from the BOLT11's own; leave it out, or make it the same")
    amount_msat = request.amount_msat if request.amount_msat is not None else amount or 0
    return Order(
        request=request,
        amount_msat=amount_msat,
        fee_limit_msat=_fee_limit(amount_msat, params),
        send_seconds=params.send_timeout.total_seconds(),
        resolve_early=params.resolve_early,
    )


def _fee_limit(amount_msat: int, params: PayInvoiceParams) -> int | None:
    """Return the highest fee that the host accepts, in millisatoshi; None for any. The smaller of two limits counts."""
    limits: list[int] = []
    if params.max_fee_flat is not None:
        limits.append(params.max_fee_flat.msat)
    if params.max_fee_percent is not None:
        limits.append(int(amount_msat * Decimal(str(params.max_fee_percent)) / 100))
    return min(limits, default=None)
