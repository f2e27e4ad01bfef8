"""The checkout page: what a payer sees, its code, its stream of states, and the sandbox's pay button."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from lightning_host.checkout.page_state import page_state
from lightning_host.checkout.sandbox_payment import pay_in_sandbox
from lightning_host.checkout.service import SERVICE, unknown_checkout
from lightning_host.checkout.table import PURPOSE, CheckoutStatus
from lightning_host.host import HOST
from lightning_host.web.bodies import read_form
from lightning_host.web.csrf import FORM_FIELD, Csrf
from lightning_host.web.pages import render
from lightning_host.web.problems import ProblemError
from lightning_host.web.qr import qr_response
from lightning_host.web.streams import STREAMS

if TYPE_CHECKING:
    from lightning_host.checkout.table import Checkout
    from lightning_host.host import Host

__all__ = ["add_checkout_pages"]


def add_checkout_pages(app: web.Application) -> None:
    """Add the routes of the page."""
    app.add_routes(
        [
            web.get("/checkout/{checkout}", _page),
            web.get("/checkout/{checkout}/state", _state),
            web.get("/checkout/{checkout}/events", _events),
            web.get("/checkout/{checkout}/{payment_hash:[0-9a-f]{64}}.svg", _code),
            web.post("/checkout/{checkout}/pay", _pay),
        ]
    )


async def _page(request: web.Request) -> web.Response:
    host = request.app[HOST]
    checkout = await request.app[SERVICE].fresh(request.match_info["checkout"])
    csrf = _csrf(host, checkout)
    nonce, token = await csrf.token(request)
    store = host.stores.get(checkout.store)
    response = render(
        "checkout.html",
        checkout=checkout,
        state=page_state(checkout),
        title=store.title if store is not None else checkout.store,
        pay_button=host.settings.sandbox_control is not None,
        form_field=FORM_FIELD,
        form_token=token,
    )
    csrf.remember(response, nonce)
    return response


async def _state(request: web.Request) -> web.Response:
    """Answer with the state once: for pages whose stream can't be had."""
    return web.json_response(page_state(await request.app[SERVICE].fresh(request.match_info["checkout"])))


async def _events(request: web.Request) -> web.StreamResponse:
    """Tell the state, and each that follows, until the page closes."""
    service = request.app[SERVICE]
    checkout = await service.find(request.match_info["checkout"])
    async with request.app[STREAMS].open(request) as stream, service.watch.view(checkout) as view:
        told: dict[str, object] = {}
        while True:
            changed = view.changed
            state = page_state(view.checkout)
            if state != told:
                await stream.send("state", state)
                told = state
            await stream.until(changed)


async def _code(request: web.Request) -> web.Response:
    """Draw the code of one invoice of the checkout."""
    checkout = await request.app[SERVICE].find(request.match_info["checkout"])
    invoice = await request.app[HOST].invoices.find(checkout.store, request.match_info["payment_hash"])
    if invoice is None or invoice.purpose != PURPOSE or invoice.subject != checkout.id:
        raise unknown_checkout()
    return qr_response(f"lightning:{invoice.bolt11}")


async def _pay(request: web.Request) -> web.Response:
    """Have the sandbox pay, for a form of this very page."""
    host = request.app[HOST]
    control = host.settings.sandbox_control
    if control is None:
        raise web.HTTPNotFound
    checkout = await request.app[SERVICE].find(request.match_info["checkout"])
    await _csrf(host, checkout).check(request, await read_form(request, host.settings.request_seconds))
    checkout = await request.app[SERVICE].fresh(checkout.id)
    if checkout.status(datetime.now(UTC)) is not CheckoutStatus.NEW or checkout.bolt11 is None:
        raise ProblemError.make(409, "not-payable", "this checkout can't be paid any more")
    await pay_in_sandbox(control, checkout.bolt11)
    raise web.HTTPSeeOther(f"/checkout/{checkout.id}")


def _csrf(host: Host, checkout: Checkout) -> Csrf:
    return Csrf(host, f"pay {checkout.id}")
