"""The address without a path, as somebody types it: the way to what a person can look at here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from lightning_host.host import HOST
from lightning_host.web.pages import tell_reader
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["FRONT"]


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
