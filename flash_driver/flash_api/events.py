"""What an event of `myUpdates` tells: a settlement, a price, or something odd; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connection_strings.checks import read_payment_hash
from flash_driver.common.masking import shown
from flash_driver.flash_api.error_words import describe
from flash_driver.flash_api.replies import PriceTick, read_tick

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Announcement", "read_event"]

_NOISE: Final = {"Price", "OnChainUpdate", "IntraLedgerUpdate"}
"""Updates that are neither a Lightning settlement nor a price that is of use (flash-server.md 3.6)."""
_LONGEST: Final = 80


@dataclass(frozen=True, slots=True)
class Announcement:
    """What an event says of an invoice.

    Attributes:
        payment_hash: Which one, in lower-case hex.
        paid: Whether it says PAID; else it says something nobody knows.
        wallet_id: The wallet that was credited, None when that is not told.
        odd: What is odd about it, None for nothing.

    """

    payment_hash: str
    paid: bool
    wallet_id: str | None
    odd: str | None = None


def read_event(data: Mapping[str, Any]) -> Announcement | PriceTick | str | None:
    """Return what an event says of an invoice, or the price that it tells; words where it is odd; None for noise."""
    payload = data.get("myUpdates")
    if not isinstance(payload, dict):
        return "an event without myUpdates"
    update = payload.get("update")
    if not isinstance(update, dict):
        errors = payload.get("errors")
        words, _ = describe(errors if isinstance(errors, list) else [])
        return f"an event without an update: {words[:_LONGEST]}"
    match update.get("__typename"):
        case "LnUpdate":
            return _read_settlement(update)
        case "RealtimePrice":
            return read_tick(update) if update.get("denominatorCurrency") == "USD" else None
        case str(kind) if kind in _NOISE:
            return None
        case kind:
            return f"an update of the unknown kind {shown(kind, _LONGEST)}"


def _read_settlement(update: Mapping[str, Any]) -> Announcement | str | None:
    """Read what is said of an invoice; EXPIRED and PENDING are no news: the query is asked at the expiry anyway."""
    payment_hash = read_payment_hash(update.get("paymentHash"))
    status, wallet_id = update.get("status"), update.get("walletId")
    if payment_hash is None:
        return "a settlement without a payment hash"
    if status in ("PENDING", "EXPIRED"):
        return None
    wallet = wallet_id.lower() if isinstance(wallet_id, str) else None
    odd = None if status == "PAID" else f"an invoice in the unknown state {shown(status, _LONGEST)}"
    return Announcement(payment_hash, status == "PAID", wallet, odd)
