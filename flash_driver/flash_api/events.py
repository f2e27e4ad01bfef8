"""What an event of `myUpdates` may tell of an invoice, and what may be wrong with it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connection_strings.checks import read_payment_hash
from flash_driver.common.masking import shown
from flash_driver.flash_api.error_words import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Announcement", "announced", "oddity"]

_KNOWN_TYPES: Final = {"RealtimePrice", "Price", "LnUpdate", "OnChainUpdate", "IntraLedgerUpdate"}
_KNOWN_STATUSES: Final = {"PAID", "PENDING", "EXPIRED"}
_LONGEST: Final = 80


@dataclass(frozen=True, slots=True)
class Announcement:
    """What an event says of an invoice.

    Attributes:
        payment_hash: Which one, in lower-case hex.
        paid: Whether it says PAID; else it says something nobody knows.
        wallet_id: The wallet that was credited, None when that is not told.

    """

    payment_hash: str
    paid: bool
    wallet_id: str | None


def announced(data: Mapping[str, Any]) -> Announcement | None:
    """Return which invoice an event says was paid, or about which it says something nobody knows.

    EXPIRED and PENDING are no news: the query is asked at the expiry anyway.
    """
    payload = data.get("myUpdates")
    update = payload.get("update") if isinstance(payload, dict) else None
    if not isinstance(update, dict) or update.get("__typename") != "LnUpdate":
        return None
    payment_hash = read_payment_hash(update.get("paymentHash"))
    status, wallet_id = update.get("status"), update.get("walletId")
    if status in ("PENDING", "EXPIRED") or payment_hash is None:
        return None
    wallet = wallet_id.lower() if isinstance(wallet_id, str) else None
    return Announcement(payment_hash, status == "PAID", wallet)


def oddity(data: Mapping[str, Any]) -> str | None:
    """Say what is odd about an event that tells of no settlement and no price; None for the usual noise.

    The usual noise (flash-server.md 3.6): prices in other currencies, and updates that are no Lightning settlements.
    """
    payload = data.get("myUpdates")
    if not isinstance(payload, dict):
        return "an event without myUpdates"
    update = payload.get("update")
    if not isinstance(update, dict):
        errors = payload.get("errors")
        words, _ = describe(errors if isinstance(errors, list) else [])
        return f"an event without an update: {words[:_LONGEST]}"
    kind, status = update.get("__typename"), update.get("status")
    if not isinstance(kind, str) or kind not in _KNOWN_TYPES:
        return f"an update of the unknown kind {shown(kind, _LONGEST)}"
    if kind == "LnUpdate" and read_payment_hash(update.get("paymentHash")) is None:
        return "a settlement without a payment hash"
    if kind == "LnUpdate" and (not isinstance(status, str) or status not in _KNOWN_STATUSES):
        return f"an invoice in the unknown state {shown(status, _LONGEST)}"
    return None
