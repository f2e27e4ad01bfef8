"""Webhooks: other servers are told of each settlement, signed as BTCPay signs.

`table.py` queues and remembers what `records.py` describes; `sender.py` sends, `web/public_network.py` keeps it out of
the private network, `api.py` registers and replays.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from lightning_host.host import HOST
from lightning_host.web.problems import tell_plainly
from lightning_host.web.route_group import RouteGroup
from lightning_host.webhooks.api import add_webhook_api
from lightning_host.webhooks.sender import WebhookSender
from lightning_host.webhooks.table import queue_for_webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from lightning_host.host import Host

__all__ = ["WEBHOOKS"]


def _add_routes(app: web.Application) -> None:
    add_webhook_api(app)
    app.cleanup_ctx.append(_life)


@asynccontextmanager
async def _handle_settlements(host: Host) -> AsyncIterator[None]:
    # After the handlers of the route groups before: what is told of a checkout is what they have made of it.
    host.settlements.on_settled(queue_for_webhooks)
    yield


async def _life(app: web.Application) -> AsyncIterator[None]:
    async with WebhookSender(app[HOST]).running():
        yield


WEBHOOKS: Final = RouteGroup(
    name="webhooks", prefixes=(), add_routes=_add_routes, tell=tell_plainly, lifespan=_handle_settlements
)
"""`/api/v1/stores/{store}/webhooks`; its problems are told as Greenfield's, whose prefix it shares."""
