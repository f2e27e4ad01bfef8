"""Checkouts for shops: `/api/v1/stores/{store}/checkouts`, in the manner of BTCPay's Greenfield API.

    POST  {"amount": "1000000", "description"?, "expirySeconds"?, "externalId"?, "redirectUrl"?, "once"?}   opens one
    GET   ?before=&after=&skip=&take=                                                                       lists them
    GET   /{id}                                                                                             tells one

With `once` set to true there is one checkout per `externalId`: asking again returns the one that there is.
Amounts are texts of millisatoshi, times are seconds since 1970.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from yarl import URL

from connection_strings import LightMoney
from lightning_host.checkout.service import SERVICE, unknown_checkout
from lightning_host.credentials import Permission
from lightning_host.host import HOST
from lightning_host.web.api_access import opened_store, part_of
from lightning_host.web.bodies import read_json

if TYPE_CHECKING:
    from lightning_host.checkout.service import CheckoutService
    from lightning_host.checkout.table import Checkout
    from lightning_host.web.bodies import Fields

__all__ = ["add_checkout_api", "checkout_json", "read_amount"]

_LONGEST_SECONDS: Final = 24 * 3600
_FIELDS: Final = ("amount", "description", "expirySeconds", "externalId", "once", "redirectUrl")


def add_checkout_api(app: web.Application) -> None:
    """Add the routes of the API."""
    base = "/api/v1/stores/{store}/checkouts"
    app.add_routes([web.post(base, _open), web.get(base, _list), web.get(f"{base}/{{checkout}}", _get)])


def read_amount(fields: Fields, name: str = "amount") -> LightMoney:
    """Read an amount in millisatoshi, more than zero."""
    return LightMoney.from_msat(fields.whole(name, least=1, most=LightMoney.MAX.msat))


def checkout_json(service: CheckoutService, checkout: Checkout) -> dict[str, Any]:
    """Tell a checkout to its shop."""
    return {
        "id": checkout.id,
        "storeId": checkout.store,
        "status": checkout.status(datetime.now(UTC)).value,
        "amount": str(checkout.amount.msat),
        "amountReceived": str(checkout.received.msat),
        "overpaid": str(checkout.overpaid.msat),
        "paidLate": checkout.paid_late,
        "description": checkout.description,
        "externalId": checkout.external_id,
        "redirectUrl": checkout.redirect_url,
        "flashcardId": checkout.card,
        "checkoutLink": service.link(checkout),
        "createdAt": int(checkout.created_at.timestamp()),
        "expiresAt": int(checkout.expires_at.timestamp()),
        "paidAt": None if checkout.paid_at is None else int(checkout.paid_at.timestamp()),
        "paymentHash": checkout.paid_hash or checkout.payment_hash,
        "BOLT11": checkout.bolt11,
        "invoices": checkout.invoices,
    }


async def _open(request: web.Request) -> web.Response:
    store, service = await opened_store(request, Permission.CREATE_INVOICES), request.app[SERVICE]
    fields = await read_json(request, request.app[HOST].settings.request_seconds)
    with fields.together(*_FIELDS):
        amount = read_amount(fields)
        seconds = None
        if "expirySeconds" in fields:
            seconds = fields.whole("expirySeconds", least=1, most=_LONGEST_SECONDS)
        once = fields.flag("once")
        if once and "externalId" not in fields:
            fields.note("externalId", "is required when once is true: it tells one order from another")
        description = fields.text("description", default="", longest=500)
        external_id = fields.text("externalId", longest=200) if "externalId" in fields else None
        redirect_url = _read_link(fields) if "redirectUrl" in fields else None
    checkout = await service.open(
        store,
        amount,
        description=description,
        seconds=seconds,
        external_id=external_id,
        redirect_url=redirect_url,
        once=once,
    )
    return web.json_response(checkout_json(service, checkout))


async def _list(request: web.Request) -> web.Response:
    store, service = await opened_store(request, Permission.VIEW_INVOICES), request.app[SERVICE]

    async def find(checkout_id: str) -> Checkout | None:
        found = await service.rows.find(checkout_id)
        return found if found is not None and found.store == store.id else None

    part = await part_of(request, find)
    listed = await service.rows.list(store.id, before=part.before, after=part.after, offset=part.skip, limit=part.take)
    return web.json_response([checkout_json(service, checkout) for checkout in listed])


async def _get(request: web.Request) -> web.Response:
    store, service = await opened_store(request, Permission.VIEW_INVOICES), request.app[SERVICE]
    checkout = await service.find(request.match_info["checkout"])
    if checkout.store != store.id:
        raise unknown_checkout()
    return web.json_response(checkout_json(service, checkout))


def _read_link(fields: Fields) -> str:
    """Read a link that a page may show: nothing that runs when it is clicked."""
    text = fields.text("redirectUrl", longest=2_000)
    try:
        url = URL(text)
        sound = url.scheme in ("http", "https") and bool(url.host) and url.user is None and text.isprintable()
    except ValueError:
        sound = False
    if not sound:
        fields.note("redirectUrl", "must be a link that begins with https:// or http://")
    return text
