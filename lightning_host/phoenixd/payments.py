"""Outgoing payments: `/payinvoice`, `/paylnaddress`, `/lnurlpay` and `/payments/outgoing`.

A payment is in flight from the moment of the request. Only what certainly was not sent is told as failed: by a reason
that clients know (clients.py), and by 404 afterwards, upon which LNbits gives the money back.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from connection_strings import (
    BackendUnavailable,
    LightMoney,
    LightningError,
    LightningPaymentStatus,
    ListPaymentsParams,
    NotSupported,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)
from connection_strings.bolt11.reader import read
from connection_strings.checks import read_payment_hash
from lightning_host.database import now_ms, to_ms
from lightning_host.host import HOST
from lightning_host.phoenixd.clients import ALREADY_PAID, NO_ROUTE, NOT_ENOUGH_FUNDS
from lightning_host.phoenixd.paging import PAGE_FIELDS, read_page
from lightning_host.phoenixd.table import PhoenixdTable
from lightning_host.phoenixd.values import not_known_yet, outgoing_data, paid_data, whole_sat
from lightning_host.web.bodies import Fields, read_form
from lightning_host.web.payees import bolt11_to_pay, read_payable
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from connection_strings import LightningPayment
    from lightning_host.stores import Store

__all__ = ["find", "list_outgoing", "pay", "pay_address", "pay_lnurl", "pay_offer"]

_ASKED: Final = {"amount": "amountSat", "comment": "message"}
"""What phoenixd calls the amount, and the words for the payee, where the payee is asked for an invoice."""
_FUNDS: Final = re.compile(r"balance|funds", re.IGNORECASE)
_UNKNOWN: Final = "it is not known yet what became of the payment; ask for it by its payment hash"
_PREPARING: Final = timedelta(minutes=2)
"""How long after a request its payment may still be on its way to the wallet's own books."""


async def pay(request: web.Request, store: Store) -> web.Response:
    """Pay a BOLT11, or what else a payer pastes; every outcome of a payment is told with status 200."""
    return await _pay_destination(request, store, {"destination": "invoice", "amount": "amountSat"})


async def pay_address(request: web.Request, store: Store) -> web.Response:
    """Pay a Lightning address, as phoenixd's `/paylnaddress` does."""
    return await _pay_destination(request, store, {**_ASKED, "destination": "address"})


async def pay_lnurl(request: web.Request, store: Store) -> web.Response:
    """Pay an LNURL-pay link, as phoenixd's `/lnurlpay` does."""
    return await _pay_destination(request, store, {**_ASKED, "destination": "lnurl"})


async def pay_offer(request: web.Request, store: Store) -> web.Response:
    """Refuse a BOLT 12 offer, with words that help: no wallet behind this host pays one."""
    del request, store
    raise NotSupported("this wallet pays no BOLT 12 offers: ask the payee for an invoice or a Lightning address")


async def _pay_destination(request: web.Request, store: Store, names: dict[str, str]) -> web.Response:
    host = request.app[HOST]
    fields = await read_form(request, host.settings.request_seconds)
    with fields.together(*names.values()):
        if request.query:
            fields.note(next(iter(request.query)), "belongs into the body")
        destination = read_payable(fields, names["destination"])
        amount = fields.sat("amountSat") if "amountSat" in fields else None
        comment = fields.text(names["comment"], default="") if "comment" in names else ""
        # A client that is told "in flight" holds the payment and asks again; it never pays in another way.
        params = PayInvoiceParams(amount=amount, resolve_early=True)
    text = await bolt11_to_pay(host.settings, fields, names, destination, amount, comment)
    decoded = read(text)
    own = None if decoded.amount_msat is None else LightMoney.from_msat(decoded.amount_msat)
    if amount is not None and own is not None and whole_sat(amount) == whole_sat(own):
        params = replace(params, amount=None)  # BTCPay names the BOLT11's own amount, rounded down to whole satoshi
    asked = params.amount or own or LightMoney.from_msat(0)
    payouts = PhoenixdTable(host.database)
    answer = await host.background.run(_pay(store, payouts, (text, decoded.payment_hash.hex()), params, asked))
    return web.json_response(answer)


async def _pay(
    store: Store, payouts: PhoenixdTable, invoice: tuple[str, str], params: PayInvoiceParams, asked: LightMoney
) -> dict[str, Any]:
    text, payment_hash = invoice
    asked_at = await payouts.add_payout(store, payment_hash, text)
    try:
        response = await store.client.pay(text, params)
    except LightningError as error:
        response = await _after(error, store, payment_hash)
    if response.result is PayResult.OK and response.details is not None:
        data = paid_data(response.details, asked)
        return data if data["paymentPreimage"] else {**data, "reason": ALREADY_PAID}
    words, reason = response.error_detail or _UNKNOWN, _UNKNOWN
    if response.result in (PayResult.ERROR, PayResult.COULD_NOT_FIND_ROUTE):
        await payouts.forget_payout(store, payment_hash, asked_at)
        reason = NOT_ENOUGH_FUNDS if _FUNDS.search(words) else NO_ROUTE
    return {"paymentId": payment_hash, "paymentHash": payment_hash, "reason": reason, "message": words}


async def _after(error: LightningError, store: Store, payment_hash: str) -> PayResponse:
    """Find out what is known once `pay` raised: this call sent nothing, but an earlier one may be under way."""
    words, not_known = str(error), PayResponse(result=PayResult.UNKNOWN, error_detail=str(error))
    if isinstance(error, BackendUnavailable) and error.executed is not False:
        return not_known
    try:
        payment = await store.client.get_payment(payment_hash)
    except LightningError:
        return not_known
    if payment is None or payment.status is LightningPaymentStatus.FAILED:
        return PayResponse(result=PayResult.ERROR, error_detail=words)
    return not_known


async def find(request: web.Request, store: Store) -> web.Response:
    """Tell how a payment stands; 404 for what certainly was never sent or failed for good."""
    payment_hash = read_payment_hash(request.match_info["payment_hash"])
    if payment_hash is None:
        raise _none()
    payouts = PhoenixdTable(request.app[HOST].database)
    try:
        payment = await store.client.get_payment(payment_hash)
    except LightningError:
        asked_for = await payouts.find_payout(store, payment_hash)
        if asked_for is None:
            raise
        return web.json_response(not_known_yet(payment_hash, *asked_for))
    if payment is None or payment.status is LightningPaymentStatus.FAILED:
        asked_for = await payouts.find_payout(store, payment_hash)
        if asked_for is not None and now_ms() - asked_for[1] < _PREPARING // timedelta(milliseconds=1):
            return web.json_response(not_known_yet(payment_hash, *asked_for))
        raise _none()
    return web.json_response(outgoing_data(payment))


def _none() -> ProblemError:
    return ProblemError.make(404, "not-found", "there is no payment with this payment hash, or it failed for good")


async def list_outgoing(request: web.Request, store: Store) -> web.Response:
    """List payments, oldest first: those that went out, and with `all` those that may have; never failed ones."""
    query = Fields(request.query)
    with query.together(*PAGE_FIELDS):
        page = read_page(query)
    within: list[LightningPayment] = []
    async with aclosing(_payments(store, include_pending=page.everything)) as payments:
        async for payment in payments:
            sent = payment.status is LightningPaymentStatus.COMPLETE
            may_be_sent = page.everything and payment.status is not LightningPaymentStatus.FAILED
            if (sent or may_be_sent) and page.includes(to_ms(payment.created_at)):
                within.append(payment)
            if len(within) >= page.offset + page.limit:
                break
    return web.json_response([outgoing_data(payment) for payment in within[page.offset :]])


async def _payments(store: Store, *, include_pending: bool) -> AsyncGenerator[LightningPayment, None]:
    """Yield all payments of a wallet, oldest first; a wallet tells a part of them at a time."""
    after: str | None = None
    while part := await store.client.list_payments(ListPaymentsParams(include_pending=include_pending, after=after)):
        for payment in part:
            yield payment
        if part[-1].payment_hash == after:  # a wallet that begins from the start each time
            return
        after = part[-1].payment_hash
