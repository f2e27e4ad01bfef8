"""The checkout page: what a payer sees, its code, its stream of states, and the sandbox's pay button."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lightning_host.checkout.lnurl import checkout_lnurl
from lightning_host.checkout.page_state import page_state
from lightning_host.checkout.sandbox_payment import pay_in_sandbox
from lightning_host.checkout.service import SERVICE, unknown_checkout
from lightning_host.checkout.table import PURPOSE, CheckoutStatus
from lightning_host.host import HOST
from lightning_host.web.bodies import read_form
from lightning_host.web.csrf import FORM_FIELD, Csrf
from lightning_host.web.pages import policy, render
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
            web.get("/checkout/{checkout}/lnurl.svg", _lnurl_code),
            web.post("/checkout/{checkout}/pay", _pay),
        ]
    )


async def _page(request: web.Request) -> web.Response:
    host = request.app[HOST]
    checkout = await request.app[SERVICE].fresh(request.match_info["checkout"])
    csrf = _csrf(host, checkout)
    nonce, token = await csrf.token(request)
    store = host.stores.get(checkout.store)
    state, lnurl = page_state(checkout), _lnurl(host, checkout)
    response = render(
        "checkout.html",
        checkout=checkout,
        state=state,
        code=_first_code(checkout, state, lnurl),
        lnurl=lnurl,
        return_seconds=host.settings.checkout_return_seconds,
        title=store.title if store is not None else checkout.store,
        pay_button=host.settings.sandbox_control is not None,
        form_field=FORM_FIELD,
        form_token=token,
    )
    if host.settings.frame_ancestors:
        response.headers["Content-Security-Policy"] = policy(host.settings.frame_ancestors)
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


async def _lnurl_code(request: web.Request) -> web.Response:
    """Draw the code that lasts."""
    host = request.app[HOST]
    lnurl = _lnurl(host, await request.app[SERVICE].find(request.match_info["checkout"]))
    if lnurl is None:
        raise unknown_checkout()
    return qr_response(f"lightning:{lnurl}")


def _lnurl(host: Host, checkout: Checkout) -> str | None:
    """Return the checkout's LNURL, None where the settings show none."""
    return None if host.settings.checkout_codes == "bolt11" else checkout_lnurl(host, checkout)


def _first_code(checkout: Checkout, state: dict[str, Any], lnurl: str | None) -> dict[str, Any] | None:
    """Return the code that the page shows before its script runs: the invoice, else the one that lasts, else none."""
    if state["bolt11"] is not None:
        return {"text": state["bolt11"], "uri": state["uri"], "qr": state["qr"], "lasts": False}
    if lnurl is None:
        return None
    qr = f"/checkout/{checkout.id}/lnurl.svg"
    return {"text": lnurl, "uri": f"lightning:{lnurl}", "qr": qr, "lasts": True}


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
