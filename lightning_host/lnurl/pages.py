"""The page of a Lightning address: what a shop prints, sends or shows to be paid any amount."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from lightning_host.host import HOST
from lightning_host.lnurl.pay import lnurl_of
from lightning_host.lnurl.routes import WELL_KNOWN, address_target
from lightning_host.web.pages import render, tell_page
from lightning_host.web.qr import qr_response
from lightning_host.web.route_group import RouteGroup

__all__ = ["ADDRESS_PAGES"]


def _add_routes(app: web.Application) -> None:
    app.add_routes([web.get("/pay/{name}", _page), web.get("/pay/{name}/code.svg", _code)])


async def _page(request: web.Request) -> web.Response:
    """Show address and LNURL (LUD-16, LUD-01)."""
    host, target = request.app[HOST], address_target(request)
    least, most = target.bounds(host)
    return render(
        "address.html",
        title=target.store.title,
        address=target.identifier,
        name=target.subject,
        lnurl=lnurl_of(host, f"{WELL_KNOWN}/{target.subject}"),
        least=least,
        most=most,
    )


async def _code(request: web.Request) -> web.Response:
    """Draw the LNURL as a QR code."""
    target = address_target(request)
    return qr_response(f"lightning:{lnurl_of(request.app[HOST], f'{WELL_KNOWN}/{target.subject}')}")


ADDRESS_PAGES: Final = RouteGroup(name="address", prefixes=("/pay/",), add_routes=_add_routes, tell=tell_page)
"""`GET /pay/{name}`."""
