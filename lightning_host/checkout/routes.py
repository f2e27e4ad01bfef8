"""The checkout: a page that a shop sends its customer to, and an API that opens one.

`table.py` remembers, `renewal.py` makes fresh invoices, `live.py` follows what is looked at, `service.py` puts these
together; `pages.py`, `lnurl.py`, `api.py` and `demo.py` show it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from lightning_host.checkout.api import add_checkout_api
from lightning_host.checkout.demo import add_demo
from lightning_host.checkout.lnurl import LNURL_PREFIX, add_checkout_lnurl
from lightning_host.checkout.pages import add_checkout_pages
from lightning_host.checkout.service import SERVICE, CheckoutService
from lightning_host.checkout.table import settle_checkouts
from lightning_host.host import HOST
from lightning_host.lnurl.pay import tell_lnurl
from lightning_host.web.concurrency_limit import ConcurrencyLimit
from lightning_host.web.pages import tell_page
from lightning_host.web.route_group import RouteGroup
from lightning_host.web.streams import STREAMS, EventStreams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from lightning_host.host import Host

__all__ = ["CHECKOUT", "CHECKOUT_LNURL"]


def _add_routes(app: web.Application) -> None:
    add_checkout_pages(app)
    add_checkout_api(app)
    add_demo(app)
    app.cleanup_ctx.append(_life)
    app.on_shutdown.append(_end_streams)


@asynccontextmanager
async def _handle_settlements(host: Host) -> AsyncIterator[None]:
    host.settlements.on_settled(settle_checkouts)
    yield


async def _life(app: web.Application) -> AsyncIterator[None]:
    """Open the service once the host is open."""
    host = app[HOST]
    settings = host.settings
    limit = ConcurrencyLimit(
        "open pages", most=settings.most_streams, most_per_client=settings.most_streams_per_address
    )
    app[STREAMS] = EventStreams(limit, settings.trusted_proxies)
    service = app[SERVICE] = CheckoutService(host)
    async with service.watch.running():
        yield


async def _end_streams(app: web.Application) -> None:
    app[STREAMS].close()


CHECKOUT: Final = RouteGroup(
    name="checkout",
    prefixes=("/checkout/", "/demo"),
    add_routes=_add_routes,
    tell=tell_page,
    lifespan=_handle_settlements,
)
"""`/checkout/...`, `/api/v1/stores/{store}/checkouts` and, in front of a sandbox, `/demo`."""

CHECKOUT_LNURL: Final = RouteGroup(
    name="checkout-lnurl", prefixes=(LNURL_PREFIX,), add_routes=add_checkout_lnurl, tell=tell_lnurl
)
"""What a checkout's LNURL leads to."""
