"""Pays with cards through their stores' wallets, and finds out how each payment ended.

The process that reserves is the one that pays. What it leaves open (an outcome that is not known yet, a crash, a
database that was away) is found by every replica's resolver, which asks the wallet and never sends anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import (
    BackendUnavailable,
    InvalidRequest,
    LightMoney,
    LightningError,
    LightningPaymentStatus,
    NotSupported,
    PayInvoiceParams,
    PayResult,
)
from lightning_host.flashcards.taps import DeclinedError, TapStatus, TapTable, fee_limit
from lightning_host.web.problems import problem_of

if TYPE_CHECKING:
    from lightning_host.flashcards.taps import Tap, TerminalInvoice
    from lightning_host.host import Host
    from lightning_host.stores import Store

__all__ = ["pay_with_card", "resolve_card_payments"]

_log: Final = logging.getLogger("lightning_host")
_ANSWER_SECONDS: Final = 4.0
"""How long a terminal waits; the usual LNURL client gives up after five seconds."""

_START_SECONDS: Final = 20.0
"""How long after it began to reserve a process may begin to pay: far less than `taps.py` gives a sender in all."""

_PAY_SECONDS: Final = 60.0
"""How long a wallet may take to pay; with the time before it, less than `taps.py` gives a sender in all."""

_BUSY_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 4.0
_LONGEST_PAUSE: Final = timedelta(minutes=10)
_STORE_IS_GONE: Final = timedelta(minutes=10)
_CLEANING_SECONDS: Final = 3600.0
_KEPT: Final = "nothing was taken from the card"
_WHY: Final = {
    PayResult.COULD_NOT_FIND_ROUTE: f"no route to the receiving wallet was found; {_KEPT}",
    PayResult.ERROR: f"the payment failed; {_KEPT}",
}


async def pay_with_card(host: Host, store: Store, tap: Tap, invoice: TerminalInvoice) -> Tap:
    """Reserve and pay, once, however often it is called; gives the tap as it stands some seconds later.

    Raises:
        DeclinedError: The card does not pay this.
        LightningError: The wallet can't tell whether the invoice was paid before; nothing was done.

    """
    earlier = await store.client.get_payment(invoice.payment_hash)
    if earlier is not None and earlier.status is not LightningPaymentStatus.FAILED:
        latest = await TapTable(host.database).find(tap.code_digest)
        if latest is not None and latest.payment_hash == invoice.payment_hash:
            return latest  # the same request came twice at once
        raise DeclinedError(f"this invoice was paid before, or is being paid; {_KEPT}")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            declined = await host.background.run(_carry_out(host, store, tap, invoice))
            if declined is not None:
                raise DeclinedError(declined)
    return await TapTable(host.database).find(tap.code_digest) or tap


async def resolve_card_payments(host: Host) -> None:
    """Ask wallets again and again how open payments ended, and book or give back what is known; until cancelled."""
    taps, clean_at = TapTable(host.database), time.monotonic() + _CLEANING_SECONDS
    while True:
        busy = False
        try:
            for tap in await taps.to_look_at():
                busy = True
                await _resolve(host, taps, tap)
            if time.monotonic() > clean_at:
                await taps.forget_unused()
                clean_at += _CLEANING_SECONDS
        except Exception as error:  # noqa: BLE001 - no payment would be settled any more if this task ended
            _log.warning("open payments of cards can't be settled: %s; trying again", type(error).__name__)
        await asyncio.sleep(_BUSY_SECONDS if busy else _IDLE_SECONDS)


async def _carry_out(host: Host, store: Store, tap: Tap, invoice: TerminalInvoice) -> str | None:
    """Reserve and pay; gives the reason if the card does not pay this."""
    taps, began = TapTable(host.database), time.monotonic()
    try:
        reserved = await taps.reserve(tap, invoice)
    except DeclinedError as declined:
        return str(declined)
    paying = await taps.find(tap.code_digest) if reserved else None
    if paying is None:
        return None
    if time.monotonic() - began > _START_SECONDS:
        # The process stood still; by the time it would pay, a resolver may have given the money back.
        await _give_back(taps, paying, f"this took too long; {_KEPT}", "the host stood still")
        return None
    try:
        async with asyncio.timeout(_PAY_SECONDS):
            response = await store.client.pay(invoice.bolt11, PayInvoiceParams(max_fee_flat=fee_limit(invoice.amount)))
    except TimeoutError:
        return None  # it may have been paid; a resolver finds out
    except LightningError as error:
        await _after(error, store, taps, paying)
        return None
    if response.result is PayResult.OK and not response.paid_before:
        fee = response.details.fee_amount if response.details is not None else None
        await _book(taps, paying, fee)
    elif response.result is PayResult.OK:
        await _give_back(taps, paying, f"this invoice was paid before; {_KEPT}", "another call had paid the invoice")
    elif response.result is PayResult.UNKNOWN:
        await taps.sender_is_done(paying)
    else:
        await _give_back(taps, paying, _WHY[response.result], response.error_detail or response.result.value)
    return None


async def _after(error: LightningError, store: Store, taps: TapTable, tap: Tap) -> None:
    """Find out what is known once `pay` raised."""
    problem = problem_of(error)
    reason = f"{problem.public if problem is not None else 'the payment failed'}; {_KEPT}"
    if isinstance(error, InvalidRequest | NotSupported):
        await _give_back(taps, tap, reason, str(error))
        return
    if isinstance(error, BackendUnavailable) and error.executed is not False:
        return  # it may be on its way to the wallet, which does not know of it yet: a resolver believes nothing so soon
    with contextlib.suppress(LightningError):
        payment = await store.client.get_payment(tap.payment_hash or "")
        if payment is None or payment.status is LightningPaymentStatus.FAILED:
            await _give_back(taps, tap, reason, str(error))
            return
    await taps.sender_is_done(tap)


async def _resolve(host: Host, taps: TapTable, tap: Tap) -> None:
    store = host.stores.get(tap.store)
    if store is None:
        await taps.look_later(tap, _STORE_IS_GONE)
        return
    now, known = datetime.now(UTC), True
    try:
        payment = await store.client.get_payment(tap.payment_hash or "")
    except LightningError:
        payment, known = None, False
    if payment is not None and payment.status is LightningPaymentStatus.COMPLETE:
        await _book(taps, tap, payment.fee)
        return
    not_sent = known and (payment is None or payment.status is LightningPaymentStatus.FAILED)
    if not_sent and tap.sender_until is not None and tap.sender_until < now:
        why = "it was never sent" if payment is None else payment.failure or "it failed"
        await _give_back(taps, tap, _WHY[PayResult.ERROR], why)
        return
    age = now - (tap.reserved_at or now)
    await taps.look_later(tap, min(max(age / 10, timedelta(seconds=2)), _LONGEST_PAUSE))


async def _book(taps: TapTable, tap: Tap, fee: LightMoney | None) -> None:
    """Book a payment; a fee that the wallet does not tell is the store's to bear."""
    cost = (tap.amount or LightMoney.ZERO) + (fee or LightMoney.ZERO)
    if await taps.book(tap, cost):
        _log.info("store %s: flashcard %s paid %s for %s", tap.store, tap.card, cost, tap.payment_hash)
        return
    now = await taps.find(tap.code_digest)
    if now is not None and now.status is TapStatus.FAILED:
        _log.error(
            "store %s: %s was paid after flashcard %s had its money back, since the wallet knew of no payment: "
            "the store has lost %s",
            *(tap.store, tap.payment_hash, tap.card, cost),
        )


async def _give_back(taps: TapTable, tap: Tap, reason: str, detail: str) -> None:
    """Give a reservation back; the detail is for the store's log, the reason for anybody."""
    if await taps.give_back(tap, reason):
        _log.info("store %s: flashcard %s paid nothing for %s: %s", tap.store, tap.card, tap.payment_hash, detail)
