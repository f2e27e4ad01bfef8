"""LNURL-pay and Lightning addresses: anybody's wallet pays a store by its name.

`shop@pay.example.com` becomes `https://pay.example.com/.well-known/lnurlp/shop` (LUD-16), which is also what the LNURL
of the shop encodes (LUD-01); its callback makes an invoice over exactly what the wallet asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connection_strings.checks import read_payment_hash
from lightning_host.host import HOST
from lightning_host.lnurl.offers import OFFERS, Offers
from lightning_host.lnurl.pay import (
    VERIFY_PATH,
    PayTarget,
    answer,
    lightning_address,
    lnurl_of,
    pay_callback,
    pay_request,
    tell_lnurl,
    with_preflight,
)
from lightning_host.web.problems import ProblemError
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["LNURL", "PURPOSE", "WELL_KNOWN", "address_target"]

PURPOSE: Final = "lnurl"
WELL_KNOWN: Final = "/.well-known/lnurlp"
_VERIFIABLE: Final = (PURPOSE, "flashcard")
"""Purposes whose invoices an LNURL handed out: a wallet that knows the hash may know the preimage (LUD-21)."""


def _add_routes(app: web.Application) -> None:
    app[OFFERS] = Offers()
    for path, handler in (
        (WELL_KNOWN + "/{name}", _link),
        ("/lnurlp/{name}/callback", _callback),
        ("/lnurlp/{name}/links", _links),
        (VERIFY_PATH + "/{store}/{payment_hash}", _verify),
    ):
        app.add_routes(with_preflight(path, handler))


def address_target(request: web.Request) -> PayTarget:
    """Return what the name in a request's path stands for.

    Raises:
        ProblemError: There is no such Lightning address.

    """
    host = request.app[HOST]
    name = request.match_info["name"].lower()
    store = host.stores.by_address(name)
    if store is None:
        raise ProblemError.make(404, "address-not-found", "there is no such Lightning address")
    return PayTarget(
        store=store,
        purpose=PURPOSE,
        subject=name,
        callback_path=f"/lnurlp/{name}/callback",
        text=f"Payment to {store.title}",
        identifier=lightning_address(host, name),
    )


async def _link(request: web.Request) -> web.Response:
    """Answer a Lightning address (LUD-16, LUD-06)."""
    return pay_request(request.app[HOST], address_target(request))


async def _callback(request: web.Request) -> web.Response:
    """Make the invoice that a wallet asks for (LUD-06, LUD-12)."""
    return await pay_callback(request.app[HOST], address_target(request), request)


async def _links(request: web.Request) -> web.Response:
    """Tell each way to write the link: as address, as LNURL for a QR code (LUD-01), as lnurlp:// (LUD-17)."""
    host, target = request.app[HOST], address_target(request)
    path = f"{WELL_KNOWN}/{target.subject}"
    lnurl = lnurl_of(host, path)
    return answer(
        {
            "address": target.identifier,
            "lnurl": lnurl,
            "lightning": f"lightning:{lnurl}",
            "lnurlp": f"lnurlp:{host.url(path).partition(':')[2]}",
            "url": host.url(path),
        }
    )


async def _verify(request: web.Request) -> web.Response:
    """Tell whether an invoice was paid (LUD-21)."""
    host = request.app[HOST]
    store_id, payment_hash = request.match_info["store"], read_payment_hash(request.match_info["payment_hash"])
    invoice = None if payment_hash is None else await host.invoices.find(store_id, payment_hash)
    if payment_hash is None or invoice is None or invoice.purpose not in _VERIFIABLE:
        raise ProblemError.make(404, "invoice-not-found", "Not found")
    settlement = await host.settlements.find(store_id, payment_hash)
    if settlement is not None and (store := host.stores.get(store_id)) is not None:
        (settlement,) = await host.lookups.complete(store, [settlement])
    return answer(
        {
            "status": "OK",
            "settled": settlement is not None,
            "preimage": None if settlement is None else settlement.preimage,
            "pr": invoice.bolt11,
        }
    )


LNURL: Final = RouteGroup(name="lnurl", prefixes=(WELL_KNOWN, "/lnurlp/"), add_routes=_add_routes, tell=tell_lnurl)
"""`/.well-known/lnurlp/{name}` and what it leads to."""
