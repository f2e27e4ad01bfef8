"""Webhooks for shops: `/api/v1/stores/{store}/webhooks`, in the manner of BTCPay's Greenfield API.

POST    {"url", "secret"?, "enabled"?, "authorizedEvents"?}      registers one; the answer alone shows the secret
GET                                                              lists them
GET     /{id}     PUT /{id}     DELETE /{id}                     shows, changes, removes one
GET     /{id}/deliveries?before=&after=&skip=&take=              lists what was or will be sent, newest first
GET     /{id}/deliveries/{delivery}                              tells how a delivery stands
GET     /{id}/deliveries/{delivery}/request                      shows what is sent
POST    /{id}/deliveries/{delivery}/redeliver                    sends it once more; answers the new delivery's id

BTCPay's official client reads and changes one webhook, and everything below it, at `/api/v1/webhooks/{id}`: the same is
served there.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from yarl import URL

from connection_strings import Secret
from lightning_host.credentials import Permission
from lightning_host.host import HOST
from lightning_host.web.api_access import opened_store, opened_stores, part_of
from lightning_host.web.bodies import read_json
from lightning_host.web.problems import ProblemError
from lightning_host.web.public_network import is_public
from lightning_host.webhooks.records import EVENTS, DeliveryStatus
from lightning_host.webhooks.table import WebhookTable

if TYPE_CHECKING:
    from lightning_host.web.bodies import Fields
    from lightning_host.webhooks.records import Delivery, Webhook

__all__ = ["add_webhook_api"]

_MOST: Final = 20
_SECRET_BYTES: Final = 24
_FIELDS: Final = ("id", "url", "secret", "enabled", "automaticRedelivery", "authorizedEvents")
"""What a webhook is made of; `id`, which a client that changes one may send along, changes nothing."""


def add_webhook_api(app: web.Application) -> None:
    """Add the routes of the API."""
    of_store = "/api/v1/stores/{store}/webhooks"
    app.add_routes([web.post(of_store, _register), web.get(of_store, _list)])
    for base in (of_store, "/api/v1/webhooks"):
        one = f"{base}/{{webhook}}"
        delivery = f"{one}/deliveries/{{delivery}}"
        app.add_routes(
            [
                web.get(one, _get),
                web.put(one, _change),
                web.delete(one, _remove),
                web.get(f"{one}/deliveries", _deliveries),
                web.get(delivery, _delivery),
                web.get(f"{delivery}/request", _request),
                web.post(f"{delivery}/redeliver", _redeliver),
            ]
        )


async def _register(request: web.Request) -> web.Response:
    store, rows = await opened_store(request, Permission.MODIFY_WEBHOOKS), _rows(request)
    fields = await _fields(request)
    if len(await rows.of_store(store.id)) >= _MOST:
        raise ProblemError.make(400, "too-many-webhooks", f"a store has {_MOST} webhooks at most")
    with fields.together(*_FIELDS):
        secret = _read_secret(fields) or Secret(secrets.token_urlsafe(_SECRET_BYTES))
        url, enabled = _read_url(request, fields), fields.flag("enabled", default=True)
        again = fields.flag("automaticRedelivery", default=True)
        events = _read_events(fields)
    webhook = await rows.add(store.id, url, secret, events, enabled=enabled, automatic_redelivery=again)
    return web.json_response({**_webhook_json(webhook), "secret": webhook.secret.reveal()})


async def _list(request: web.Request) -> web.Response:
    store = await opened_store(request, Permission.MODIFY_WEBHOOKS)
    return web.json_response([_webhook_json(webhook) for webhook in await _rows(request).of_store(store.id)])


async def _get(request: web.Request) -> web.Response:
    return web.json_response(_webhook_json(await _webhook(request)))


async def _change(request: web.Request) -> web.Response:
    webhook, rows = await _webhook(request), _rows(request)
    fields = await _fields(request)
    with fields.together(*_FIELDS):
        values: dict[str, Any] = {
            "enabled": fields.flag("enabled", default=webhook.enabled),
            "automatic_redelivery": fields.flag("automaticRedelivery", default=webhook.automatic_redelivery),
        }
        if "url" in fields:
            values["url"] = _read_url(request, fields)
        if "authorizedEvents" in fields:
            values["events"] = _read_events(fields)
        if (secret := _read_secret(fields)) is not None:
            values["secret"] = secret
    await rows.change(webhook, **values)
    return web.json_response(_webhook_json(await _webhook(request)))


async def _remove(request: web.Request) -> web.Response:
    await _rows(request).remove(await _webhook(request))
    return web.json_response({})


async def _deliveries(request: web.Request) -> web.Response:
    webhook, rows = await _webhook(request), _rows(request)

    async def find(delivery_id: str) -> Delivery | None:
        found = await rows.find_delivery(delivery_id)
        return found if found is not None and found.webhook == webhook.id else None

    part = await part_of(request, find)
    listed = await rows.deliveries(webhook, before=part.before, after=part.after, offset=part.skip, limit=part.take)
    return web.json_response([_delivery_json(delivery) for delivery in listed])


async def _delivery(request: web.Request) -> web.Response:
    _, delivery = await _delivery_of(request)
    return web.json_response(_delivery_json(delivery))


async def _request(request: web.Request) -> web.Response:
    _, delivery = await _delivery_of(request)
    return web.json_response(text=delivery.body)


async def _redeliver(request: web.Request) -> web.Response:
    webhook, delivery = await _delivery_of(request)
    return web.json_response(await _rows(request).redeliver(webhook, delivery))


async def _webhook(request: web.Request) -> Webhook:
    if "store" in request.match_info:
        stores = [await opened_store(request, Permission.MODIFY_WEBHOOKS)]
    else:
        stores = await opened_stores(request, Permission.MODIFY_WEBHOOKS)
    webhook = await _rows(request).find(request.match_info["webhook"])
    if webhook is None or webhook.store not in {store.id for store in stores}:
        raise ProblemError.make(404, "webhook-not-found", "there is no such webhook")
    return webhook


async def _delivery_of(request: web.Request) -> tuple[Webhook, Delivery]:
    webhook = await _webhook(request)
    delivery = await _rows(request).find_delivery(request.match_info["delivery"])
    if delivery is None or delivery.webhook != webhook.id:
        raise ProblemError.make(404, "webhookdelivery-not-found", "there is no such delivery")
    return webhook, delivery


def _rows(request: web.Request) -> WebhookTable:
    return WebhookTable(request.app[HOST].database)


async def _fields(request: web.Request) -> Fields:
    return await read_json(request, request.app[HOST].settings.request_seconds)


def _read_url(request: web.Request, fields: Fields) -> str:
    """Read where to send; a name that leads to a private address is found out when it is used."""
    text = fields.text("url", longest=2_000)
    try:
        url = URL(text)
    except ValueError:
        fields.note("url", "must be a URL")
        return text
    if url.scheme not in ("http", "https") or not url.host or url.user is not None or not text.isprintable():
        fields.note("url", "must be an http:// or https:// URL without user")
    elif not request.app[HOST].settings.webhook_private_addresses and _is_private(url.host):
        fields.note("url", "must not be a private address")
    return text


def _is_private(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost"


def _read_secret(fields: Fields) -> Secret | None:
    if "secret" not in fields:
        return None
    text = fields.text("secret", longest=200)
    if not text or not text.isprintable():
        fields.note("secret", "must be visible characters")
    return Secret(text)


def _read_events(fields: Fields) -> tuple[str, ...]:
    """Read BTCPay's `authorizedEvents`; empty for everything."""
    if "authorizedEvents" not in fields:
        return ()
    # BTCPay reads names without regard to case at every depth; its official client writes them with capitals.
    asked = {name.lower(): value for name, value in fields.mapping("authorizedEvents").items()}
    if asked.get("everything") is True:
        return ()
    specific = asked.get("specificevents")
    if not isinstance(specific, list) or not specific or not all(event in EVENTS for event in specific):
        fields.note("authorizedEvents", f"must be everything, or specificEvents of {', '.join(EVENTS)}")
        return ()
    return tuple(dict.fromkeys(specific))


def _webhook_json(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "enabled": webhook.enabled,
        "automaticRedelivery": webhook.automatic_redelivery,
        "url": webhook.url,
        "authorizedEvents": {"everything": not webhook.events, "specificEvents": list(webhook.events)},
    }


def _delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "status": _btcpay_status(delivery),
        "state": delivery.status.value,
        "attempts": delivery.attempts,
        "httpCode": delivery.http_status,
        "errorMessage": delivery.problem,
        "timestamp": int(delivery.created_at.timestamp()),
        "deliveryTime": int((delivery.delivered_at or delivery.created_at).timestamp()),
        "deliveredAt": None if delivery.delivered_at is None else int(delivery.delivered_at.timestamp()),
    }


def _btcpay_status(delivery: Delivery) -> str:
    """Return one of the three words that BTCPay's client knows; `state` tells ours."""
    if delivery.status is DeliveryStatus.DELIVERED:
        return "HttpSuccess"
    return "Failed" if delivery.http_status is None else "HttpError"
