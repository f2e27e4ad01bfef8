"""A checkout as its page sees it: plain values, safe for anybody who has the link."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lightning_host.checkout.table import CheckoutStatus
from lightning_host.web.pages import in_sat, in_words

if TYPE_CHECKING:
    from datetime import timedelta

    from lightning_host.checkout.table import Checkout

__all__ = ["page_state"]


def page_state(checkout: Checkout) -> dict[str, Any]:
    """Return what the page shows and its script is told.

    Times are told as seconds left, so that a payer's wrong clock does no harm. `bolt11` is None when none can be paid;
    then `nextCodeSeconds` tells how long it takes at least until the next one is made. `codeSecondsLeft` tells how long
    this one can be paid; None where that is as long as the checkout itself.
    """
    now = datetime.now(UTC)
    payable = checkout.payable(now)
    open_ = checkout.status(now) is CheckoutStatus.NEW
    dies = checkout.bolt11_expires_at if payable else None
    return {
        "status": checkout.status(now).value,
        "amount": in_sat(checkout.bolt11_amount or checkout.amount),
        "fiat": checkout.fiat,
        "secondsLeft": _seconds(checkout.expires_at - now),
        "secondsInAll": round((checkout.expires_at - checkout.created_at).total_seconds()),
        "codeSecondsLeft": _seconds(dies - now) if dies is not None and checkout.code_dies_early else None,
        "nextCodeSeconds": _seconds(checkout.renew_after - now) if open_ and not payable else None,
        "bolt11": checkout.bolt11 if payable else None,
        "uri": f"lightning:{checkout.bolt11}" if payable else None,
        "qr": f"/checkout/{checkout.id}/{checkout.payment_hash}.svg" if payable else None,
        "received": in_sat(checkout.received),
        "overpaid": in_sat(checkout.overpaid) if checkout.overpaid else None,
        "late": checkout.paid_late,
        "paidAt": None if checkout.paid_at is None else checkout.paid_at.isoformat(timespec="seconds"),
        "paidAtWords": None if checkout.paid_at is None else in_words(checkout.paid_at),
        "expiresAt": checkout.expires_at.isoformat(timespec="seconds"),
        "expiresAtWords": in_words(checkout.expires_at),
    }


def _seconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds()))
