"""A shop on Django: `python examples/django_shop.py`, then POST {"sat": 1000} to /orders and look at /orders/ID.

Django has no place for what runs as long as the server does, so the shop is opened by the ASGI lifespan around it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import django
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from orders import Shop, UnknownOrderError

from connection_strings import LightningError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "only-for-this-example"),
)
django.setup(set_prefix=False)
shops: list[Shop] = []


@csrf_exempt
@require_POST
async def open_order(request: HttpRequest) -> JsonResponse:
    """Take an order."""
    try:
        order_id = shops[0].open_order(json.loads(request.body)["sat"])
    except (KeyError, TypeError, ValueError):
        return JsonResponse({"error": 'send {"sat": a whole number above zero}'}, status=400)
    return JsonResponse({"id": order_id}, status=201)


@require_GET
async def show_order(_request: HttpRequest, order_id: str) -> JsonResponse:
    """Tell whether an order is paid, and if not, what to pay."""
    try:
        invoice = await shops[0].invoice_to_show(order_id)
    except UnknownOrderError:
        return JsonResponse({"error": "no such order"}, status=404)
    except LightningError as error:
        return JsonResponse({"error": str(error)}, status=503)
    if invoice is None:
        return JsonResponse({"paid": True})
    return JsonResponse({"paid": False, "bolt11": invoice.bolt11, "until": invoice.expires_at.isoformat()})


urlpatterns = [path("orders", open_order), path("orders/<str:order_id>", show_order)]
views = get_asgi_application()


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Serve Django's views, and keep the shop open meanwhile."""
    if scope["type"] != "lifespan":
        await views(scope, receive, send)
        return
    await receive()
    async with Shop(os.environ["FLASH_CONNECTION_STRING"], os.environ.get("SHOP_DATABASE", "shop.sqlite3")) as opened:
        shops.append(opened)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        shops.clear()
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
