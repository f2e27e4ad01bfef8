"""The route_groups of this host; a new one is added here, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.checkout.routes import CHECKOUT, CHECKOUT_LNURL
from lightning_host.flashcards.routes import FLASHCARD_KEYS, FLASHCARD_LNURL, FLASHCARD_TAP, FLASHCARDS
from lightning_host.greenfield.routes import GREENFIELD
from lightning_host.host import HOST
from lightning_host.lnurl.pages import ADDRESS_PAGES
from lightning_host.lnurl.routes import LNURL
from lightning_host.merchant.routes import MERCHANT
from lightning_host.monitoring.health import HEALTH
from lightning_host.monitoring.metrics import METRICS
from lightning_host.phoenixd.routes import PHOENIXD
from lightning_host.server.openapi import OPENAPI
from lightning_host.web.pages import PAGES, tell_reader
from lightning_host.web.route_group import RouteGroup
from lightning_host.webhooks.routes import WEBHOOKS

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["FRONT", "ROUTE_GROUPS"]


def _add_routes(app: web.Application) -> None:
    app.add_routes([web.get("/", _front)])


async def _front(request: web.Request) -> NoReturn:
    """Lead to the demo shop in front of a sandbox, else to the page of the one shop there is."""
    host = request.app[HOST]
    if host.settings.sandbox_control is not None:
        raise web.HTTPFound("/demo")
    if len(host.stores) == 1:
        (store,) = host.stores
        raise web.HTTPFound(f"/pay/{store.id}")
    raise web.HTTPNotFound  # which shops there are is not for everybody to know


FRONT: Final = RouteGroup(name="front", prefixes=(), add_routes=_add_routes, tell=tell_reader)
"""`GET /` and nothing else: it has no prefix, which all other paths would share."""

ROUTE_GROUPS: Final[tuple[RouteGroup, ...]] = (
    GREENFIELD,
    HEALTH,
    METRICS,
    LNURL,
    ADDRESS_PAGES,
    PHOENIXD,
    PAGES,
    FRONT,
    OPENAPI,
    CHECKOUT,
    CHECKOUT_LNURL,
    FLASHCARDS,
    FLASHCARD_LNURL,
    FLASHCARD_TAP,
    FLASHCARD_KEYS,
    WEBHOOKS,
    MERCHANT,
)
"""Each shows the same stores to another kind of client."""
