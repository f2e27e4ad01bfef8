"""A merchant's webhooks and what was told to them; what failed can be sent again.

A webhook's path may be a secret of the shop that receives it, so who may only read is shown its server alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from aiohttp import web
from yarl import URL

from connection_strings import LightMoney
from lightning_host.credentials import Permission
from lightning_host.host import HOST
from lightning_host.merchant.login import visit_of
from lightning_host.merchant.view import show
from lightning_host.web.bodies import Fields, read_form
from lightning_host.web.pages import in_sat
from lightning_host.web.problems import ProblemError
from lightning_host.webhooks.table import WebhookTable

if TYPE_CHECKING:
    from lightning_host.merchant.login import Visit
    from lightning_host.webhooks.records import Delivery, Webhook

__all__ = ["add_webhook_pages"]

_SHOWN: Final = 50


def add_webhook_pages(app: web.Application) -> None:
    """Add the routes."""
    one = "/merchant/{store}/webhooks/{webhook}"
    app.add_routes(
        [
            web.get("/merchant/{store}/webhooks", _webhooks),
            web.get(one, _deliveries),
            web.post(one + "/deliveries/{delivery}/again", _send_again),
        ]
    )


async def _webhooks(request: web.Request) -> web.Response:
    visit = await visit_of(request)
    listed = await WebhookTable(visit.host.database).of_store(visit.store.id)
    return await show(
        request,
        visit,
        "merchant_webhooks.html",
        tab="webhooks",
        webhooks=[(webhook, _place(visit, webhook)) for webhook in listed],
    )


async def _deliveries(request: web.Request) -> web.Response:
    """Show what was or will be told to a webhook, newest first."""
    visit, rows = await visit_of(request), _rows(request)
    webhook = await _webhook(visit, rows, request)
    query = Fields(request.query)
    with query.together("before"):
        before = query.text("before", default="", longest=32)
    last = await _delivery(rows, webhook, before) if before else None
    listed = await rows.deliveries(webhook, before=last, limit=_SHOWN + 1)
    path = f"{visit.path}/webhooks/{webhook.id}"
    return await show(
        request,
        visit,
        "merchant_deliveries.html",
        tab="webhooks",
        webhook=webhook,
        place=_place(visit, webhook),
        path=path,
        deliveries=listed[:_SHOWN],
        summary=_summary,
        may_send=visit.may(Permission.MODIFY_WEBHOOKS),
        first=last is None,
        older=f"{path}?before={listed[_SHOWN - 1].id}" if len(listed) > _SHOWN else None,
    )


async def _send_again(request: web.Request) -> web.Response:
    """Send something once more."""
    form = await read_form(request, request.app[HOST].settings.request_seconds)
    visit, rows = await visit_of(request), _rows(request)
    await visit.csrf.check(request, form)
    if not visit.may(Permission.MODIFY_WEBHOOKS):
        raise ProblemError.make(
            403, "missing-permission", "you are logged in to read only", permission=Permission.MODIFY_WEBHOOKS
        )
    webhook = await _webhook(visit, rows, request)
    await rows.redeliver(webhook, await _delivery(rows, webhook, request.match_info["delivery"]))
    raise web.HTTPSeeOther(f"{visit.path}/webhooks/{webhook.id}")


async def _webhook(visit: Visit, rows: WebhookTable, request: web.Request) -> Webhook:
    webhook = await rows.find(request.match_info["webhook"])
    if webhook is None or webhook.store != visit.store.id:
        raise ProblemError.make(404, "webhook-not-found", "there is no such webhook")
    return webhook


async def _delivery(rows: WebhookTable, webhook: Webhook, delivery_id: str) -> Delivery:
    delivery = await rows.find_delivery(delivery_id)
    if delivery is None or delivery.webhook != webhook.id:
        raise ProblemError.make(404, "webhookdelivery-not-found", "there is no such delivery")
    return delivery


def _rows(request: web.Request) -> WebhookTable:
    return WebhookTable(request.app[HOST].database)


def _place(visit: Visit, webhook: Webhook) -> str:
    """Return where a webhook goes, as far as the session may know it."""
    return webhook.url if visit.may(Permission.MODIFY_WEBHOOKS) else f"{URL(webhook.url).origin()}/…"


def _summary(delivery: Delivery) -> str:
    """Say in a few words what is told."""
    told = json.loads(delivery.body)
    words = f"{told['type']}: {in_sat(LightMoney.from_msat(int(told['amount'])))}\N{NO-BREAK SPACE}sat"
    return f"{words}, {told['externalId']}" if told.get("externalId") else words
