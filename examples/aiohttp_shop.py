"""A shop on aiohttp: `python examples/aiohttp_shop.py`, then POST {"sat": 1000} to /orders and look at /orders/ID."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiohttp import web
from orders import Shop, UnknownOrderError

from connection_strings import LightningError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHOP = web.AppKey("SHOP", Shop)
routes = web.RouteTableDef()


@routes.post("/orders")
async def open_order(request: web.Request) -> web.Response:
    """Take an order."""
    try:
        order_id = request.app[SHOP].open_order((await request.json())["sat"])
    except (KeyError, TypeError, ValueError):
        raise web.HTTPBadRequest(text='send {"sat": a whole number above zero}') from None
    return web.json_response({"id": order_id}, status=201)


@routes.get("/orders/{order_id}")
async def show_order(request: web.Request) -> web.Response:
    """Tell whether an order is paid, and if not, what to pay."""
    try:
        invoice = await request.app[SHOP].invoice_to_show(request.match_info["order_id"])
    except UnknownOrderError:
        raise web.HTTPNotFound(text="no such order") from None
    except LightningError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from None
    if invoice is None:
        return web.json_response({"paid": True})
    return web.json_response({"paid": False, "bolt11": invoice.bolt11, "until": invoice.expires_at.isoformat()})


async def shop(app: web.Application) -> AsyncIterator[None]:
    """Keep the shop open while the application runs."""
    async with Shop(os.environ["FLASH_CONNECTION_STRING"], os.environ.get("SHOP_DATABASE", "shop.sqlite3")) as opened:
        app[SHOP] = opened
        yield


def make_app() -> web.Application:
    """Make the application."""
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(shop)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
