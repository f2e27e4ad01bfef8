"""A shop to try things out with; there only in front of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from connection_strings import LightMoney
from lightning_host.checkout.service import SERVICE
from lightning_host.host import HOST
from lightning_host.web.bodies import read_form
from lightning_host.web.csrf import FORM_FIELD, Csrf
from lightning_host.web.pages import render
from lightning_host.web.problems import ProblemError

__all__ = ["add_demo"]

_PURPOSE: Final = "demo"


@dataclass(frozen=True, slots=True)
class _Product:
    """Something that the demo sells, at a price in satoshi."""

    id: str
    name: str
    words: str
    sat: int


_PRODUCTS: Final = (
    _Product("espresso", "Espresso", "A short one, strong", 2_100),
    _Product("croissant", "Croissant", "Butter, still warm", 3_500),
    _Product("beans", "House blend, 250 g", "Roasted on Monday", 14_900),
)


def add_demo(app: web.Application) -> None:
    """Add the routes of the demo shop."""
    app.add_routes([web.get("/demo", _shop), web.post("/demo/buy", _buy)])


async def _shop(request: web.Request) -> web.Response:
    host = request.app[HOST]
    _require_sandbox(request)
    csrf = Csrf(host, _PURPOSE)
    nonce, token = await csrf.token(request)
    store = next(iter(host.stores))
    response = render("demo.html", title=store.title, products=_PRODUCTS, form_field=FORM_FIELD, form_token=token)
    csrf.remember(response, nonce)
    return response


async def _buy(request: web.Request) -> web.Response:
    host = request.app[HOST]
    _require_sandbox(request)
    form = await read_form(request, host.settings.request_seconds)
    await Csrf(host, _PURPOSE).check(request, form)
    wanted = form.text("product", default="", longest=50)
    product = next((each for each in _PRODUCTS if each.id == wanted), None)
    if product is None:
        raise ProblemError.make(404, "product-not-found", "the shop does not have that")
    checkout = await request.app[SERVICE].open(
        next(iter(host.stores)),
        LightMoney.from_sat(product.sat),
        description=product.name,
        external_id=f"demo-{product.id}",
        redirect_url=host.url("/demo"),
    )
    raise web.HTTPSeeOther(f"/checkout/{checkout.id}")


def _require_sandbox(request: web.Request) -> None:
    if request.app[HOST].settings.sandbox_control is None:
        raise web.HTTPNotFound
