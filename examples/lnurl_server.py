"""A Lightning address in one file: LNURL-pay (LUD-06) at the place where wallets look for an address (LUD-16).

`PUBLIC_URL=https://pay.example.com python examples/lnurl_server.py` makes `shop@pay.example.com` payable. The invoice
is made when the payer's wallet asks for it, so its 60 seconds are enough.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from connection_strings import CreateInvoiceParams, LightMoney, LightningClient, LightningClientFactory, LightningError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT = web.AppKey("CLIENT", LightningClient)
LEAST_MSAT, MOST_MSAT = 1_000, 100_000_000
METADATA = json.dumps([["text/plain", "The shop"], ["text/identifier", "shop@localhost"]])
routes = web.RouteTableDef()


@routes.get("/.well-known/lnurlp/shop")
async def pay_request(_request: web.Request) -> web.Response:
    """Say what can be paid, and where to ask for an invoice (LUD-06)."""
    public = os.environ.get("PUBLIC_URL", f"http://127.0.0.1:{os.environ.get('PORT', '8000')}")
    return _answer(
        tag="payRequest",
        callback=f"{public}/lnurlp/shop",
        minSendable=LEAST_MSAT,
        maxSendable=MOST_MSAT,
        metadata=METADATA,
    )


@routes.get("/lnurlp/shop")
async def callback(request: web.Request) -> web.Response:
    """Make the invoice over exactly the amount asked for; the payer's wallet refuses any other."""
    amount = request.query.get("amount", "")
    if not amount.isascii() or not amount.isdigit() or not LEAST_MSAT <= int(amount[:16]) <= MOST_MSAT:
        return _answer(status="ERROR", reason=f"amount must be from {LEAST_MSAT} to {MOST_MSAT} millisatoshi")
    params = CreateInvoiceParams(
        LightMoney.from_msat(int(amount)), METADATA, timedelta(minutes=1), description_hash_only=True
    )
    try:
        invoice = await request.app[CLIENT].create_invoice(params)
    except LightningError:
        return _answer(status="ERROR", reason="the wallet can't make an invoice now; try again in a minute")
    return _answer(pr=invoice.bolt11, routes=[])


def _answer(**fields: Any) -> web.Response:
    """Answer as LNURL wants it: errors too are HTTP 200, and pages of any origin may read it."""
    return web.json_response(fields, headers={"Access-Control-Allow-Origin": "*"})


async def wallet(app: web.Application) -> AsyncIterator[None]:
    """Keep the client open while the application runs."""
    async with LightningClientFactory().create(os.environ["FLASH_CONNECTION_STRING"]) as client:
        app[CLIENT] = client
        yield


def make_app() -> web.Application:
    """Make the application."""
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(wallet)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
