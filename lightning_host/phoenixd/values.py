"""Invoices and payments as phoenixd writes them: amounts in satoshi, fees of records in millisatoshi, times in ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connection_strings import LightMoney, LightningInvoiceStatus, LightningPaymentStatus
from lightning_host.database import to_ms

if TYPE_CHECKING:
    from connection_strings import (
        LightningInvoice,
        LightningNodeBalance,
        LightningNodeInformation,
        LightningPayment,
        PayDetails,
    )
    from lightning_host.invoices import HostInvoice
    from lightning_host.settlements.ledger import Settlement

__all__ = [
    "channel_less_info",
    "cut_description",
    "incoming_data",
    "not_known_yet",
    "outgoing_data",
    "paid_data",
    "settled_event",
    "whole_sat",
]

_MSAT: Final = 1_000
_LONGEST_BYTES: Final = 639
"""What a BOLT11 has room for: 1023 characters of five bits."""

_ELLIPSIS: Final = "…"


def cut_description(text: str) -> str:
    """Cut a description to what a BOLT11 has room for, at the end of a word; custodians may cut it shorter."""
    if len(text.encode()) <= _LONGEST_BYTES:
        return text
    room = _LONGEST_BYTES - len(_ELLIPSIS.encode())
    kept = text.encode()[:room].decode(errors="ignore")
    words = kept.rpartition(" ")[0]
    return (words if len(words) > len(kept) // 2 else kept).rstrip() + _ELLIPSIS


def channel_less_info(info: LightningNodeInformation, balance: LightningNodeBalance | None) -> dict[str, Any]:
    """Write `getinfo`: one made-up channel holds the balance, because clients read it there.

    `chain` is left empty: what is not known can't disagree with the client's own network.
    """
    sat = 0 if balance is None else whole_sat(balance.offchain.local)
    channel = {
        "state": "Normal",
        "channelId": "",
        "balanceSat": sat,
        "inboundLiquiditySat": 0,
        "capacitySat": sat,
        "fundingTxId": "",
    }
    return {
        "nodeId": info.node_uris[0].partition("@")[0] if info.node_uris else "",
        "channels": [channel],
        "chain": "",
        "blockHeight": info.block_height,
        "version": info.version or "",
    }


def incoming_data(
    made: HostInvoice, settlement: Settlement | None, invoice: LightningInvoice | None = None
) -> dict[str, Any]:
    """Write an incoming payment; paid and expired are said only when that is known."""
    expired = invoice is not None and invoice.status is LightningInvoiceStatus.EXPIRED
    return {
        "type": "incoming_payment",
        "subType": "lightning",
        "paymentHash": made.payment_hash,
        "preimage": None if settlement is None else settlement.preimage,
        "externalId": made.external_id,
        "description": made.description,
        "payerNote": made.comment or None,
        "invoice": made.bolt11,
        "isPaid": settlement is not None,
        "isExpired": expired and settlement is None,
        "requestedSat": None if made.amount is None else whole_sat(made.amount),
        "receivedSat": 0 if settlement is None else whole_sat(settlement.amount),
        "fees": 0,
        "completedAt": None if settlement is None else to_ms(settlement.paid_at),
        "expiresAt": to_ms(made.expires_at),
        "createdAt": to_ms(made.created_at),
    }


def outgoing_data(payment: LightningPayment) -> dict[str, Any]:
    """Write an outgoing payment; one whose end is not known is not paid."""
    done = payment.status is LightningPaymentStatus.COMPLETE
    return {
        "type": "outgoing_payment",
        "subType": "lightning",
        "paymentId": payment.id,
        "paymentHash": payment.payment_hash,
        "preimage": payment.preimage,
        "isPaid": done,
        "sent": whole_sat(payment.amount),
        "fees": 0 if payment.fee is None else payment.fee.msat,
        "invoice": payment.bolt11,
        "completedAt": to_ms(payment.created_at) if done else None,
        "createdAt": to_ms(payment.created_at),
    }


def not_known_yet(payment_hash: str, invoice: str, created_at: int) -> dict[str, Any]:
    """Write an outgoing payment that was asked for, while nobody can say what became of it: it is not paid."""
    return {
        "type": "outgoing_payment",
        "subType": "lightning",
        "paymentId": payment_hash,
        "paymentHash": payment_hash,
        "preimage": None,
        "isPaid": False,
        "sent": 0,
        "fees": 0,
        "invoice": invoice,
        "completedAt": None,
        "createdAt": created_at,
    }


def paid_data(details: PayDetails, asked: LightMoney | None) -> dict[str, Any]:
    """Write the reply to a payment that went out; `asked` is what the payee was to get."""
    total, fee = details.total_amount, details.fee_amount
    recipient = asked if total is None else total - (fee or LightMoney.ZERO)
    return {
        "recipientAmountSat": whole_sat(recipient),
        "routingFeeSat": 0 if fee is None else -(-fee.msat // _MSAT),
        "paymentId": details.payment_hash,
        "paymentHash": details.payment_hash,
        "paymentPreimage": details.preimage,
    }


def settled_event(settlement: Settlement) -> dict[str, Any]:
    """Write the message of `/websocket` about a settled invoice."""
    return {
        "type": "payment_received",
        "timestamp": to_ms(settlement.paid_at),
        "amountSat": whole_sat(settlement.amount),
        "paymentHash": settlement.payment_hash,
        "externalId": settlement.external_id,
    }


def whole_sat(amount: LightMoney | None) -> int:
    """Return whole satoshi, rounded down; zero when not known."""
    return 0 if amount is None else amount.msat // _MSAT
