"""BTCPay Server's Greenfield Lightning API: any client of BTCPay's talks to a store's wallet.

Paths, fields, statuses and error codes are those of BTCPay's own OpenAPI files. A key of the store opens it:
`Authorization: token KEY`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from connection_strings import (
    CreateInvoiceParams,
    LightningError,
    LightningInvoice,
    LightningInvoiceStatus,
    LightningPaymentStatus,
    ListInvoicesParams,
    ListPaymentsParams,
    NotSupported,
    PayInvoiceParams,
    PayResult,
)
from connection_strings.checks import read_payment_hash
from connection_strings.lightning import DEFAULT_SEND_TIMEOUT
from lightning_host.credentials import Permission
from lightning_host.greenfield.server_api import add_server_api
from lightning_host.greenfield.values import (
    balance_data,
    information_data,
    invoice_data,
    payment_data,
    payment_data_from_details,
)
from lightning_host.host import HOST
from lightning_host.web.api_access import opened_store
from lightning_host.web.bodies import Fields, read_json
from lightning_host.web.payees import bolt11_to_pay, read_payable
from lightning_host.web.problems import ProblemError
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from connection_strings import LightningPayment, PayDetails
    from lightning_host.host import Host
    from lightning_host.stores import Store
    from lightning_host.web.problems import Problem

__all__ = ["GREENFIELD"]

_BASE: Final = "/api/v1/stores/{store}/lightning/{crypto_code}"
_CRYPTO_CODES: Final = ("BTC", "BTC-LN")
_DEFAULT_EXPIRY_SECONDS: Final = 15 * 60
_LONGEST_SECONDS: Final = 365 * 24 * 3600
_LONGEST_SEND_SECONDS: Final = 600
_LONGEST_DESCRIPTION: Final = 8192
_FUNDS: Final = re.compile(r"balance|funds", re.IGNORECASE)
_YOUNG: Final = timedelta(minutes=10)
_MOST_ASKED: Final = 20
_BTCPAYS_PATHS: Final = re.compile(r"/api/v1/(stores/[^/]+/)?(lightning|webhooks)(/|$)")
"""What BTCPay serves, too; other paths name fields as their callers write them."""

_FIELD_NAMES: Final = {"bolt11": "BOLT11"}
"""Parameters of the contract that this API writes differently, besides `snake_case` becoming `CamelCase`."""


def _add_routes(app: web.Application) -> None:
    for method, path, handler in (
        ("GET", "/info", _info),
        ("GET", "/balance", _balance),
        ("POST", "/invoices", _create_invoice),
        ("GET", "/invoices", _list_invoices),
        ("POST", "/invoices/pay", _pay),
        ("GET", "/invoices/{id}", _get_invoice),
        ("GET", "/payments", _list_payments),
        ("GET", "/payments/{payment_hash}", _get_payment),
        ("POST", "/connect", _not_a_node),
        ("GET", "/channels", _not_a_node),
        ("POST", "/channels", _not_a_node),
        ("POST", "/address", _not_a_node),
        ("GET", "/histogram", _no_histogram),
    ):
        permission = _PERMISSIONS.get(handler, Permission.USE_LIGHTNING_NODE)
        app.router.add_route(method, f"{_BASE}{path}", _authorized(handler, permission))
    add_server_api(app)


def _authorized(
    handler: Callable[[web.Request, Store], Awaitable[web.Response]], permission: Permission
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Let a request in that shows a key of the store; without one nobody learns which stores there are."""

    async def authorize(request: web.Request) -> web.Response:
        store = await opened_store(request, permission)
        if request.match_info["crypto_code"].upper() not in _CRYPTO_CODES:
            raise ProblemError.make(404, "unknown-cryptocode", "this host knows the crypto code BTC only")
        return await handler(request, store)

    return authorize


async def _info(request: web.Request, store: Store) -> web.Response:
    del request
    return web.json_response(information_data(await store.client.get_info()))


async def _balance(request: web.Request, store: Store) -> web.Response:
    del request
    return web.json_response(balance_data(await store.client.get_balance()))


async def _create_invoice(request: web.Request, store: Store) -> web.Response:
    """Make an invoice; that the payer chooses the amount has to be said, by "0" or null."""
    host = request.app[HOST]
    fields = await read_json(request, host.settings.request_seconds)
    with fields.together("amount", "description", "descriptionHashOnly", "expiry", "privateRouteHints"):
        hash_only = fields.flag("descriptionHashOnly")
        if hash_only and "description" not in fields:
            fields.note("description", "is required when descriptionHashOnly is true")
        seconds = fields.whole("expiry", default=_DEFAULT_EXPIRY_SECONDS, least=1, most=_LONGEST_SECONDS)
        params = CreateInvoiceParams(
            amount=None if fields.is_null("amount") else fields.msat("amount"),
            description=fields.text("description", default="", longest=_LONGEST_DESCRIPTION),
            expiry=timedelta(seconds=seconds),
            description_hash_only=hash_only,
            private_route_hints=fields.flag("privateRouteHints"),
        )
    invoice = await host.invoices.create(store, params, purpose="greenfield")
    return web.json_response(invoice_data(invoice))


async def _get_invoice(request: web.Request, store: Store) -> web.Response:
    invoice_id = request.match_info["id"]
    invoice = await store.client.get_invoice(known_as) if (known_as := read_payment_hash(invoice_id)) else None
    if invoice is None:
        raise ProblemError.make(404, "invoice-not-found", "there is no invoice with this id")
    return web.json_response(invoice_data(invoice))


async def _list_invoices(request: web.Request, store: Store) -> web.Response:
    query = Fields(request.query)
    with query.together("pendingOnly", "offsetIndex"):
        params = ListInvoicesParams(
            pending_only=query.flag("pendingOnly"), offset_index=query.whole("offsetIndex", default=0)
        )
    listed = await store.client.list_invoices(params)
    return web.json_response([invoice_data(invoice) for invoice in await _up_to_date(request.app[HOST], store, listed)])


async def _up_to_date(host: Host, store: Store, listed: list[LightningInvoice]) -> list[LightningInvoice]:
    """Ask about those that may just have been paid, as the question about one does; about a few of them only."""
    since = datetime.now(UTC) - _YOUNG
    open_ones = [each for each in listed if each.status is LightningInvoiceStatus.UNPAID and each.expires_at > since]
    asked = open_ones[-_MOST_ASKED:]
    found = await asyncio.gather(*(host.lookups.look_up(store, each.id) for each in asked), return_exceptions=True)
    newest = {each.id: each for each in found if isinstance(each, LightningInvoice)}
    return [newest.get(each.id, each) for each in listed]


async def _pay(request: web.Request, store: Store) -> web.Response:
    """Pay; an outcome that can't be known is 202, never an error: a caller pays again after an error."""
    host = request.app[HOST]
    fields = await read_json(request, host.settings.request_seconds)
    with fields.together("BOLT11", "amount", "maxFeePercent", "maxFeeFlat", "sendTimeout"):
        destination = read_payable(fields, "BOLT11")
        timeout = DEFAULT_SEND_TIMEOUT
        if "sendTimeout" in fields:
            timeout = timedelta(seconds=fields.whole("sendTimeout", least=1, most=_LONGEST_SEND_SECONDS))
        params = PayInvoiceParams(
            amount=fields.msat("amount") if "amount" in fields else None,
            max_fee_percent=fields.decimal("maxFeePercent", most=1000) if "maxFeePercent" in fields else None,
            max_fee_flat=fields.sat("maxFeeFlat") if "maxFeeFlat" in fields else None,
            send_timeout=timeout,
            resolve_early=True,  # a caller of this API is told 202 and asks again, it never pays in another way
        )
    names = {"destination": "BOLT11", "amount": "amount"}
    bolt11 = await bolt11_to_pay(host.settings, fields, names, destination, params.amount)
    response = await host.background.run(store.client.pay(bolt11, params))
    if response.unreachable:
        raise ProblemError.make(
            503, "lightning-node-unavailable", response.error_detail or "nothing was sent; try again"
        )
    if response.result is PayResult.COULD_NOT_FIND_ROUTE:
        words = response.error_detail or "no route to the payee"
        raise ProblemError.make(400, "could-not-find-route", words)
    if response.result is PayResult.ERROR:
        words = response.error_detail or "the payment failed"
        code = "could-not-find-route" if _FUNDS.search(words) else "generic-error"  # BTCPay has no code of its own
        raise ProblemError.make(400, code, words)
    data = await _what_became_of(store, bolt11, response.details)
    return web.json_response(data, status=200 if response.result is PayResult.OK else 202)


async def _what_became_of(store: Store, bolt11: str, details: PayDetails | None) -> dict[str, Any]:
    """Tell all that is known of a payment; that it can't be looked up now takes nothing from its outcome."""
    payment = None
    if details is not None:
        with contextlib.suppress(LightningError):
            payment = await store.client.get_payment(details.payment_hash)
    return payment_data_from_details(bolt11, details) if payment is None else payment_data(payment)


async def _get_payment(request: web.Request, store: Store) -> web.Response:
    payment_hash = request.match_info["payment_hash"]
    payment = await store.client.get_payment(known_as) if (known_as := read_payment_hash(payment_hash)) else None
    if payment is None or _was_never_sent(payment):
        raise ProblemError.make(404, "payment-not-found", "there is no payment with this payment hash")
    return web.json_response(payment_data(payment))


async def _list_payments(request: web.Request, store: Store) -> web.Response:
    query = Fields(request.query)
    with query.together("includePending", "offsetIndex"):
        params = ListPaymentsParams(
            include_pending=query.flag("includePending"), offset_index=query.whole("offsetIndex", default=0)
        )
    listed = await store.client.list_payments(params)
    return web.json_response([payment_data(payment) for payment in listed if not _was_never_sent(payment)])


def _was_never_sent(payment: LightningPayment) -> bool:
    """Whether it is for a caller as if it had never been asked for: it may be asked for again."""
    return payment.status is LightningPaymentStatus.FAILED and payment.sent_at is None


async def _not_a_node(request: web.Request, store: Store) -> web.Response:
    del request, store
    raise NotSupported("this host gives no access to the channels, peers and addresses of a node")


async def _no_histogram(request: web.Request, store: Store) -> web.Response:
    del request, store
    raise ProblemError.make(404, "histogram-not-found", "this host keeps no histogram of balances")


_PERMISSIONS: Final = {
    _create_invoice: Permission.CREATE_LIGHTNING_INVOICES,
    _list_invoices: Permission.VIEW_LIGHTNING_INVOICES,
    _get_invoice: Permission.VIEW_LIGHTNING_INVOICES,
}
"""What a key must be allowed to do, as BTCPay has it; all else takes the right to use the node."""


def _tell(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem as BTCPay does: a list of fields with 422, one code and message with any other status."""
    if problem.fields and problem.status == 422:
        name_of = _field_name if _BTCPAYS_PATHS.match(request.path) else str
        listed = [{"path": name_of(name), "message": message} for name, message in problem.fields]
        return web.json_response(listed, status=422)
    answer = {"code": problem.code, "message": problem.message}
    if problem.permission is not None:
        answer["missingPermission"] = problem.permission
    return web.json_response(answer, status=problem.status, headers=problem.headers)


def _field_name(name: str) -> str:
    """Write the name of a field as BTCPay's validation does: `description_hash` and `expiry` with capitals."""
    return _FIELD_NAMES.get(name) or "".join(word[:1].upper() + word[1:] for word in name.split("_"))


GREENFIELD: Final = RouteGroup(name="greenfield", prefixes=("/api/v1/",), add_routes=_add_routes, tell=_tell)
"""`/api/v1/stores/{store}/lightning/BTC/...`, and what clients ask of the server itself."""
