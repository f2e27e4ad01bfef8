"""The driver's values as JSON: money in whole millisatoshi, times in ISO 8601, decimals as texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connection_strings.lightning import LightningInvoice, LightningNodeBalance, LightningPayment, PayResponse
    from connection_strings.money import LightMoney

__all__ = ["balance_json", "invoice_json", "payment_json", "response_json", "shown_time", "time_json"]


def invoice_json(invoice: LightningInvoice) -> dict[str, Any]:
    """Write an invoice for a program."""
    return {
        "id": invoice.id,
        "payment_hash": invoice.payment_hash,
        "status": invoice.status.value,
        "bolt11": invoice.bolt11,
        "amount_msat": _msat(invoice.amount),
        "amount_received_msat": _msat(invoice.amount_received),
        "expires_at": time_json(invoice.expires_at),
        "paid_at": time_json(invoice.paid_at),
        "preimage": invoice.preimage,
    }


def payment_json(payment: LightningPayment) -> dict[str, Any]:
    """Write a payment for a program."""
    return {
        "id": payment.id,
        "payment_hash": payment.payment_hash,
        "status": payment.status.value,
        "bolt11": payment.bolt11,
        "amount_msat": _msat(payment.amount),
        "amount_sent_msat": _msat(payment.amount_sent),
        "fee_msat": _msat(payment.fee),
        "created_at": time_json(payment.created_at),
        "preimage": payment.preimage,
        "amount_estimated": payment.amount_estimated,
        "sent_at": time_json(payment.sent_at),
        "failure": payment.failure,
        "way_out": payment.way_out,
        "settled_by_hand": payment.settled_by_hand,
    }


def response_json(response: PayResponse) -> dict[str, Any]:
    """Write how an attempt to pay ended for a program."""
    details = response.details
    return {
        "result": response.result.value,
        "payment_hash": None if details is None else details.payment_hash,
        "status": None if details is None else details.status.value,
        "total_msat": None if details is None else _msat(details.total_amount),
        "fee_msat": None if details is None else _msat(details.fee_amount),
        "preimage": None if details is None else details.preimage,
        "paid_before": response.paid_before,
    }


def balance_json(balance: LightningNodeBalance) -> dict[str, Any]:
    """Write a balance for a program; `estimate` is there when the wallet holds another currency."""
    estimate = balance.estimate
    return {
        "balance_msat": _msat(balance.offchain.local),
        "estimate": None
        if estimate is None
        else {
            "currency": str(estimate.currency),
            "minor_units": str(estimate.minor_units),
            "minor_units_per_sat": str(estimate.minor_units_per_sat),
            "rate_time": time_json(estimate.rate_time),
        },
    }


def time_json(time: datetime | None) -> str | None:
    """Write a time for a program."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shown_time(time: datetime) -> str:
    """Write a time for a person."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _msat(amount: LightMoney | None) -> int | None:
    return None if amount is None else amount.msat
