"""phoenixd's HTTP API, so that an unmodified BTCPay Server or LNbits uses any driver that this host loads.

Configuration is all it takes: for BTCPay `type=phoenixd;server=http://HOST:PORT/;password=...`, for LNbits
`PHOENIXD_API_ENDPOINT` and `PHOENIXD_API_PASSWORD`. The password tells which store is meant.

What these clients make of an answer decides what it must be (read in BTCPay's and LNbits' own code):

- 404 on a payment means to LNbits "it failed, give the money back", and any error status means to BTCPay "there is no
  such payment, cancel the payout" or "no such invoice, forget it". So 404 is answered only for what certainly does not
  exist or certainly failed, and while the wallet can't be asked, an invoice or payment is answered as not paid yet.
- `{"reason": ...}` leaves a payment pending with both; what became of it they ask by its payment hash.
- The socket tells of each settlement once, also of those that came while no client was connected: LNbits gives up an
  invoice that expired meanwhile, unless the socket tells of it.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from connection_strings import (
    CreateInvoiceParams,
    LightMoney,
    LightningError,
    LightningPaymentStatus,
    ListPaymentsParams,
    NotSupported,
    PayInvoiceParams,
    PayResult,
)
from connection_strings.bolt11.reader import read
from connection_strings.payment_hash import read_payment_hash
from lightning_host.client_address import client_key
from lightning_host.credentials import basic_password
from lightning_host.host import HOST
from lightning_host.lnurl.pay import exact_invoice
from lightning_host.phoenixd.table import PhoenixdTable
from lightning_host.phoenixd.values import (
    channel_less_info,
    incoming_data,
    not_known_yet,
    outgoing_data,
    paid_data,
    settled_event,
    whole_sat,
)
from lightning_host.web.bodies import Fields, read_form
from lightning_host.web.problems import ProblemError
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from connection_strings import LightningInvoice, PayResponse
    from lightning_host.host import Host
    from lightning_host.settlements.ledger import Settlement
    from lightning_host.settlements.subscription import Subscription
    from lightning_host.stores import Store
    from lightning_host.web.problems import Problem

__all__ = ["PHOENIXD"]

_PURPOSE: Final = "phoenixd"
_DEFAULT_EXPIRY_SECONDS: Final = 3600
_LONGEST_SECONDS: Final = 365 * 24 * 3600
_LONGEST_DESCRIPTION: Final = 128
_PAGE: Final = 500
_HEARTBEAT_SECONDS: Final = 20.0
_LARGEST_MESSAGE: Final = 4096
_NO_ROUTE: Final = "payment could not be sent through existing channels, check individual failures for more details"
"""The words by which BTCPay knows that a payment found no route."""
_UNKNOWN: Final = "it is not known yet what became of the payment; ask for it by its payment hash"


def _add_routes(app: web.Application) -> None:
    for method, path, handler in (
        ("GET", "/getinfo", _getinfo),
        ("GET", "/getbalance", _getbalance),
        ("POST", "/createinvoice", _createinvoice),
        ("GET", "/payments/incoming", _list_incoming),
        ("GET", "/payments/incoming/{payment_hash}", _incoming),
        ("POST", "/payinvoice", _payinvoice),
        ("GET", "/payments/outgoing", _list_outgoing),
        ("GET", "/payments/outgoing/{payment_hash}", _outgoing),
        ("GET", "/payments/outgoingbyhash/{payment_hash}", _outgoing),
        ("GET", "/websocket", _websocket),
    ):
        app.router.add_route(method, path, _authorized(handler, pays=handler is _payinvoice))


def _authorized(
    handler: Callable[[web.Request, Store], Awaitable[web.StreamResponse]], *, pays: bool
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Let a request in by its password, which tells the store, too."""

    async def authorize(request: web.Request) -> web.StreamResponse:
        password = basic_password(request.headers.get("Authorization", ""))
        host = request.app[HOST]
        opened = None if password is None else host.stores.by_password(password)
        challenge = {"WWW-Authenticate": 'Basic realm="phoenixd"'}
        if opened is None:
            if password is not None:
                await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
            raise ProblemError.make(401, "unauthenticated", "the password is missing or wrong", headers=challenge)
        store, may_pay = opened
        if pays and not may_pay:  # phoenixd answers its limited password so
            raise ProblemError.make(401, "unauthenticated", "this password does not allow to pay", headers=challenge)
        return await handler(request, store)

    return authorize


# --- the wallet -----------------------------------------------------------------------------------------------------


async def _getinfo(request: web.Request, store: Store) -> web.Response:
    del request
    info = await store.client.get_info()
    try:
        balance = await store.client.get_balance()
    except NotSupported:
        balance = None
    return web.json_response(channel_less_info(info, balance))


async def _getbalance(request: web.Request, store: Store) -> web.Response:
    del request
    balance = await store.client.get_balance()
    return web.json_response({"balanceSat": whole_sat(balance.offchain.local), "feeCreditSat": 0})


# --- invoices -------------------------------------------------------------------------------------------------------


async def _createinvoice(request: web.Request, store: Store) -> web.Response:
    host = request.app[HOST]
    fields = await read_form(request, host.settings.request_seconds)
    wanted_hash = read_payment_hash(fields.text("descriptionHash", longest=64)) if "descriptionHash" in fields else None
    if "descriptionHash" in fields and wanted_hash is None:
        fields.refuse("descriptionHash", "must be 64 hexadecimal digits")
    params = CreateInvoiceParams(
        amount=fields.sat("amountSat") if "amountSat" in fields else None,
        description=store.title
        if wanted_hash
        else fields.text("description", default="", longest=_LONGEST_DESCRIPTION),
        expiry=timedelta(
            seconds=fields.whole("expirySeconds", default=_DEFAULT_EXPIRY_SECONDS, least=1, most=_LONGEST_SECONDS)
        ),
        description_hash=wanted_hash,
    )
    external_id = fields.text("externalId", longest=512) if "externalId" in fields else None
    # A hash means that an LNURL wallet pays, which refuses another amount; the client does not compare it (LNbits).
    create = host.invoices.create if wanted_hash is None else partial(exact_invoice, host)
    invoice = await create(store, params, purpose=_PURPOSE, external_id=external_id)
    return web.json_response(
        {"amountSat": whole_sat(invoice.amount), "paymentHash": invoice.payment_hash, "serialized": invoice.bolt11}
    )


async def _incoming(request: web.Request, store: Store) -> web.Response:
    host, payment_hash = request.app[HOST], read_payment_hash(request.match_info["payment_hash"])
    made = None if payment_hash is None else await host.invoices.find(store.id, payment_hash)
    if payment_hash is None or made is None:
        raise ProblemError.make(404, "not-found", "there is no invoice with this payment hash")
    settlement = await host.settlements.find(store.id, payment_hash)
    invoice = None if settlement is not None else await _ask(host, store, payment_hash)
    if invoice is not None:
        settlement = await host.settlements.find(store.id, payment_hash)
    return web.json_response(incoming_data(made, settlement, invoice))


async def _ask(host: Host, store: Store, payment_hash: str) -> LightningInvoice | None:
    """Ask the wallet about an invoice, and record it if it is paid; None while the wallet can't tell."""
    try:
        invoice = await store.client.get_invoice(payment_hash)
    except LightningError:
        return None
    if invoice is not None:
        await host.settlements.see(store, invoice)
    return invoice


async def _list_incoming(request: web.Request, store: Store) -> web.Response:
    host, query = request.app[HOST], Fields(request.query)
    listed = await host.settlements.invoices(
        store.id,
        settled_only=not query.flag("all"),
        external_id=query.text("externalId") if "externalId" in query else None,
        offset=query.whole("offset", default=0),
        limit=query.whole("limit", default=20, least=1, most=_PAGE),
    )
    return web.json_response([incoming_data(made, settlement) for made, settlement in listed])


# --- payments -------------------------------------------------------------------------------------------------------


async def _payinvoice(request: web.Request, store: Store) -> web.Response:
    host = request.app[HOST]
    fields = await read_form(request, host.settings.request_seconds)
    text = fields.text("invoice")
    try:
        decoded = read(text)
    except ValueError:
        fields.refuse("invoice", "is not a BOLT11")
    payment_hash = decoded.payment_hash.hex()
    # A client that is told "in flight" holds the payment and asks again; it never pays in another way.
    params = PayInvoiceParams(amount=fields.sat("amountSat") if "amountSat" in fields else None, resolve_early=True)
    asked = params.amount or LightMoney.from_msat(decoded.amount_msat or 0)
    await PhoenixdTable(host.database).add_payout(store, payment_hash, text)
    response = await host.background.run(store.client.pay(text, params))
    return web.json_response(_pay_answer(payment_hash, asked, response))


def _pay_answer(payment_hash: str, asked: LightMoney, response: PayResponse) -> dict[str, Any]:
    if response.result is PayResult.OK and response.details is not None:
        return paid_data(response.details, asked)
    reasons = {
        PayResult.COULD_NOT_FIND_ROUTE: _NO_ROUTE,
        PayResult.ERROR: response.error_detail or "the payment failed",
    }
    reason = reasons.get(response.result, _UNKNOWN)
    return {"paymentId": payment_hash, "paymentHash": payment_hash, "reason": reason}


async def _outgoing(request: web.Request, store: Store) -> web.Response:
    payment_hash = read_payment_hash(request.match_info["payment_hash"])
    if payment_hash is None:
        raise _no_payment()
    try:
        payment = await store.client.get_payment(payment_hash)
    except LightningError:
        asked_for = await PhoenixdTable(request.app[HOST].database).find_payout(store, payment_hash)
        if asked_for is None:
            raise
        return web.json_response(not_known_yet(payment_hash, *asked_for))
    if payment is None or payment.status is LightningPaymentStatus.FAILED:
        raise _no_payment()
    return web.json_response(outgoing_data(payment))


def _no_payment() -> ProblemError:
    return ProblemError.make(404, "not-found", "there is no payment with this payment hash, or it failed for good")


async def _list_outgoing(request: web.Request, store: Store) -> web.Response:
    query = Fields(request.query)
    params = ListPaymentsParams(include_pending=query.flag("all"), offset_index=query.whole("offset", default=0))
    limit = query.whole("limit", default=20, least=1, most=_PAGE)
    payments = await store.client.list_payments(params)
    return web.json_response([outgoing_data(payment) for payment in payments[:limit]])


# --- events ---------------------------------------------------------------------------------------------------------


async def _websocket(request: web.Request, store: Store) -> web.WebSocketResponse:
    """Tell of each settled invoice, those first that came while nobody was connected."""
    host = request.app[HOST]
    rows = PhoenixdTable(host.database)
    socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_SECONDS, max_msg_size=_LARGEST_MESSAGE)
    told = await rows.told(store)
    if told is None:
        told = await host.settlements.last_number()
        await rows.keep_told(store, told)
    async with host.settlements.subscribe(store.id, purpose=_PURPOSE, after=told) as settled:
        await socket.prepare(request)
        telling = asyncio.create_task(_tell(socket, settled, host, store), name=f"tell phoenixd clients of {store.id}")
        try:
            async for _ in socket:  # clients say nothing; this ends when they hang up
                pass
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
    return socket


async def _tell(socket: web.WebSocketResponse, settled: Subscription, host: Host, store: Store) -> None:
    async for settlement in settled:
        # To its end even when the client hangs up now: what was told is not told again.
        await host.background.run(_tell_one(socket, settlement, host, store))
    await socket.close(code=1001, message=b"the host is going down")


async def _tell_one(socket: web.WebSocketResponse, settlement: Settlement, host: Host, store: Store) -> None:
    await socket.send_str(json.dumps(settled_event(settlement)))
    await PhoenixdTable(host.database).keep_told(store, settlement.number)


def _problem(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem where both clients look for it: LNbits in `message`, BTCPay in `error`."""
    del request
    words = "; ".join(f"{name} {why}" for name, why in problem.fields) or problem.message
    status = 400 if problem.status == 422 else problem.status
    answer = {"error": words, "message": words}
    return web.json_response(answer, status=status, headers=problem.headers)


PHOENIXD: Final = RouteGroup(
    name="phoenixd",
    prefixes=("/getinfo", "/getbalance", "/createinvoice", "/payinvoice", "/payments/", "/websocket"),
    add_routes=_add_routes,
    tell=_problem,
)
"""`/getinfo`, `/createinvoice`, `/payinvoice`, `/payments/...`, `/websocket`."""
