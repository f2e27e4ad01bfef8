"""The checkout page: what a payer sees, its code, its stream of states, and the sandbox's pay button."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from lightning_host.checkout.lnurl import checkout_lnurl
from lightning_host.checkout.service import SERVICE, unknown_checkout
from lightning_host.checkout.table import PURPOSE, CheckoutStatus
from lightning_host.host import HOST
from lightning_host.web.bodies import read_form
from lightning_host.web.csrf import FORM_FIELD, Csrf
from lightning_host.web.pages import in_sat, in_words, policy, render
from lightning_host.web.problems import ProblemError
from lightning_host.web.qr import qr_response
from lightning_host.web.streams import STREAMS

if TYPE_CHECKING:
    from datetime import timedelta

    from lightning_host.checkout.table import Checkout
    from lightning_host.host import Host

__all__ = ["add_checkout_pages"]

_SANDBOX_SECONDS: Final = 10.0
"""How long the sandbox may take to pay."""


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
    state, lnurl = _page_state(checkout), _lnurl(host, checkout)
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
    return web.json_response(_page_state(await request.app[SERVICE].fresh(request.match_info["checkout"])))


async def _events(request: web.Request) -> web.StreamResponse:
    """Tell the state, and each that follows, until the page closes."""
    service = request.app[SERVICE]
    checkout = await service.find(request.match_info["checkout"])
    async with request.app[STREAMS].open(request) as stream, service.watch.view(checkout) as view:
        told: dict[str, object] = {}
        while True:
            changed = view.changed
            state = _page_state(view.checkout)
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
    await _pay_in_sandbox(control, checkout.bolt11)
    raise web.HTTPSeeOther(f"/checkout/{checkout.id}")


def _csrf(host: Host, checkout: Checkout) -> Csrf:
    return Csrf(host, f"pay {checkout.id}")


async def _pay_in_sandbox(control: str, bolt11: str) -> None:
    """Have the sandbox pay an invoice of its own: for demos and tests, never where money is real.

    Raises:
        ProblemError: It does not (409), or can't be reached (503).

    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SANDBOX_SECONDS)) as session,
            session.post(f"{control}/pay", json={"payment_request": bolt11}, allow_redirects=False) as response,
        ):
            paid = response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise ProblemError.make(503, "sandbox-unavailable", "the sandbox can't be reached") from None
    if not paid:
        raise ProblemError.make(409, "not-payable", "this invoice can't be paid any more; go back and try again")


def _page_state(checkout: Checkout) -> dict[str, Any]:
    """Return what the page shows and its script is told.

    Times are told as seconds left, so that a payer's wrong clock does no harm. `bolt11` is None when none can be paid;
    then `nextCodeSeconds` tells how long it takes at least until the next one is made. `codeSecondsLeft` tells how long
    this one can be paid; None where that is as long as the checkout itself.
    """
    now = datetime.now(UTC)
    payable = checkout.payable(now)
    open_ = checkout.status(now) is CheckoutStatus.NEW
    dies = checkout.bolt11_expires_at if payable else None
    return {
        "status": checkout.status(now).value,
        "amount": in_sat(checkout.bolt11_amount or checkout.amount),
        "fiat": checkout.fiat,
        "secondsLeft": _seconds(checkout.expires_at - now),
        "secondsInAll": round((checkout.expires_at - checkout.created_at).total_seconds()),
        "codeSecondsLeft": _seconds(dies - now) if dies is not None and checkout.code_dies_early else None,
        "nextCodeSeconds": _seconds(checkout.renew_after - now) if open_ and not payable else None,
        "bolt11": checkout.bolt11 if payable else None,
        "uri": f"lightning:{checkout.bolt11}" if payable else None,
        "qr": f"/checkout/{checkout.id}/{checkout.payment_hash}.svg" if payable else None,
        "received": in_sat(checkout.received),
        "overpaid": in_sat(checkout.overpaid) if checkout.overpaid else None,
        "late": checkout.paid_late,
        "paidAt": None if checkout.paid_at is None else checkout.paid_at.isoformat(timespec="seconds"),
        "paidAtWords": None if checkout.paid_at is None else in_words(checkout.paid_at),
        "expiresAt": checkout.expires_at.isoformat(timespec="seconds"),
        "expiresAtWords": in_words(checkout.expires_at),
    }


def _seconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds()))
