"""A shop on FastAPI: `python examples/fastapi_shop.py`, then POST {"sat": 1000} to /orders and look at /orders/ID."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request
from orders import Shop, UnknownOrderError

from connection_strings import LightningError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the shop open while the application runs."""
    async with Shop(os.environ["FLASH_CONNECTION_STRING"], os.environ.get("SHOP_DATABASE", "shop.sqlite3")) as opened:
        app.state.shop = opened
        yield


app = FastAPI(title="Shop", lifespan=lifespan)


@app.post("/orders", status_code=201)
async def open_order(request: Request, sat: Annotated[int, Body(embed=True, gt=0)]) -> dict[str, str]:
    """Take an order."""
    return {"id": request.app.state.shop.open_order(sat)}


@app.get("/orders/{order_id}")
async def show_order(request: Request, order_id: str) -> dict[str, Any]:
    """Tell whether an order is paid, and if not, what to pay."""
    try:
        invoice = await request.app.state.shop.invoice_to_show(order_id)
    except UnknownOrderError:
        raise HTTPException(404, "no such order") from None
    except LightningError as error:
        raise HTTPException(503, str(error)) from None
    if invoice is None:
        return {"paid": True}
    return {"paid": False, "bolt11": invoice.bolt11, "until": invoice.expires_at.isoformat()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
