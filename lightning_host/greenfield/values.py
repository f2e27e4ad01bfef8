"""Values of the contract as BTCPay Server's Greenfield API writes them.

Amounts are texts of millisatoshi, on-chain amounts texts of satoshi, times whole seconds since 1970, and statuses words
with a capital. What is not known is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightningInvoiceStatus, LightningPaymentStatus

if TYPE_CHECKING:
    from datetime import datetime

    from connection_strings import (
        LightMoney,
        LightningInvoice,
        LightningNodeBalance,
        LightningNodeInformation,
        LightningPayment,
        PayDetails,
    )

__all__ = ["balance_data", "information_data", "invoice_data", "payment_data", "payment_data_from_details"]

_INVOICE_STATUS: Final = {
    LightningInvoiceStatus.UNPAID: "Unpaid",
    LightningInvoiceStatus.PAID: "Paid",
    LightningInvoiceStatus.EXPIRED: "Expired",
}
_PAYMENT_STATUS: Final = {
    LightningPaymentStatus.UNKNOWN: "Unknown",
    LightningPaymentStatus.PENDING: "Pending",
    LightningPaymentStatus.COMPLETE: "Complete",
    LightningPaymentStatus.FAILED: "Failed",
}


def information_data(info: LightningNodeInformation) -> dict[str, Any]:
    """Write LightningNodeInformationData."""
    return {
        "nodeURIs": list(info.node_uris),
        "blockHeight": info.block_height,
        "alias": info.alias,
        "color": info.color,
        "version": info.version,
        "peersCount": info.peers_count,
        "activeChannelsCount": info.active_channels_count,
        "inactiveChannelsCount": info.inactive_channels_count,
        "pendingChannelsCount": info.pending_channels_count,
    }


def balance_data(balance: LightningNodeBalance) -> dict[str, Any]:
    """Write LightningNodeBalanceData."""
    onchain, offchain = balance.onchain, balance.offchain
    return {
        "onchain": None
        if onchain is None
        else {
            "confirmed": _sat(onchain.confirmed),
            "unconfirmed": _sat(onchain.unconfirmed),
            "reserved": _sat(onchain.reserved),
        },
        "offchain": {
            "opening": _msat(offchain.opening),
            "local": _msat(offchain.local),
            "remote": _msat(offchain.remote),
            "closing": _msat(offchain.closing),
        },
    }


def invoice_data(invoice: LightningInvoice) -> dict[str, Any]:
    """Write LightningInvoiceData."""
    records = invoice.custom_records
    return {
        "id": invoice.id,
        "status": _INVOICE_STATUS[invoice.status],
        "BOLT11": invoice.bolt11,
        "paidAt": _seconds(invoice.paid_at),
        "expiresAt": _seconds(invoice.expires_at),
        "amount": _msat(invoice.amount) or "0",
        "amountReceived": _msat(invoice.amount_received),
        "paymentHash": invoice.payment_hash,
        "preimage": invoice.preimage,
        "customRecords": None if records is None else {str(kind): value.hex() for kind, value in records.items()},
    }


def payment_data(payment: LightningPayment) -> dict[str, Any]:
    """Write LightningPaymentData."""
    return {
        "id": payment.id,
        "status": _PAYMENT_STATUS[payment.status],
        "BOLT11": payment.bolt11,
        "paymentHash": payment.payment_hash,
        "preimage": payment.preimage,
        "createdAt": _seconds(payment.created_at),
        "totalAmount": _msat(payment.amount_sent),
        "feeAmount": _msat(payment.fee),
    }


def payment_data_from_details(bolt11: str, details: PayDetails | None) -> dict[str, Any]:
    """Write LightningPaymentData of a payment that only its details are known of."""
    status = LightningPaymentStatus.UNKNOWN if details is None else details.status
    payment_hash = None if details is None else details.payment_hash
    return {
        "id": payment_hash,
        "status": _PAYMENT_STATUS[status],
        "BOLT11": bolt11,
        "paymentHash": payment_hash,
        "preimage": None if details is None else details.preimage,
        "createdAt": None,
        "totalAmount": None if details is None else _msat(details.total_amount),
        "feeAmount": None if details is None else _msat(details.fee_amount),
    }


def _msat(amount: LightMoney | None) -> str | None:
    return None if amount is None else str(amount.msat)


def _sat(amount: LightMoney | None) -> str | None:
    return None if amount is None else str(amount.msat // 1_000)


def _seconds(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())
