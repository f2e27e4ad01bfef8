"""A checkout's own LNURL-pay link: a code that lasts as long as the checkout, and costs nothing until it is scanned.

The wallet fetches the invoice when its owner is about to pay (LUD-06). It is an invoice of this very checkout, over its
exact amount, so it settles the checkout like any code of the page. All who scan get the same invoice as long as it
lives: it can be paid once only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connection_strings import CreateInvoiceParams
from lightning_host.checkout.service import SERVICE
from lightning_host.checkout.table import PURPOSE, CheckoutStatus
from lightning_host.host import HOST
from lightning_host.lnurl.offers import OFFERS
from lightning_host.lnurl.pay import (
    PayTarget,
    exact_invoice,
    lnurl_of,
    pay_answer,
    pay_request,
    read_query,
    with_preflight,
)
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp import web

    from lightning_host.checkout.table import Checkout
    from lightning_host.host import Host

__all__ = ["LNURL_PREFIX", "add_checkout_lnurl", "checkout_lnurl"]

LNURL_PREFIX: Final = "/checkout-lnurl/"
_LEAST_EXPIRY: Final = timedelta(minutes=1)
_LEAST_LEFT: Final = timedelta(seconds=20)
"""How long an invoice must still be payable to be handed out again."""

_LOOKED_AT: Final = 5


def add_checkout_lnurl(app: web.Application) -> None:
    """Add link and callback."""
    app.add_routes(with_preflight(LNURL_PREFIX + "{checkout}", _link))
    app.add_routes(with_preflight(LNURL_PREFIX + "{checkout}/callback", _callback))


def checkout_lnurl(host: Host, checkout: Checkout) -> str:
    """Return the checkout's LNURL (LUD-01)."""
    return lnurl_of(host, f"{LNURL_PREFIX}{checkout.id}")


async def _link(request: web.Request) -> web.Response:
    """Answer the link (LUD-06)."""
    _, target = await _read(request)
    return pay_request(request.app[HOST], target)


async def _callback(request: web.Request) -> web.Response:
    """Hand out the invoice that a wallet asks for (LUD-06)."""
    host, service = request.app[HOST], request.app[SERVICE]
    checkout, target = await _read(request)
    amount, comment = read_query(host, target, request)
    store, key = target.store, (target.store.id, PURPOSE, checkout.id, "", amount.msat, "")
    async with request.app[OFFERS].turn(key):
        last = datetime.now(UTC) + _LEAST_LEFT
        made = await host.invoices.newest(store.id, purpose=PURPOSE, subject=checkout.id, limit=_LOOKED_AT)
        for earlier in made:
            if earlier.description == target.metadata and earlier.amount == amount and earlier.expires_at > last:
                return pay_answer(host, target, earlier.payment_hash, earlier.bolt11)
        if await service.was_paid(store, checkout):
            raise _closed("has been paid")
        left = checkout.expires_at - datetime.now(UTC)
        params = CreateInvoiceParams(amount, target.metadata, max(left, _LEAST_EXPIRY), description_hash_only=True)
        invoice = await exact_invoice(
            host,
            store,
            params,
            purpose=PURPOSE,
            subject=checkout.id,
            comment=comment,
            external_id=checkout.external_id,
        )
    return pay_answer(host, target, invoice.payment_hash, invoice.bolt11)


async def _read(request: web.Request) -> tuple[Checkout, PayTarget]:
    """Return the checkout of a path, and what is to be paid for it.

    Raises:
        ProblemError: There is none (404), or it can't be paid any more (409).

    """
    host = request.app[HOST]
    checkout = await request.app[SERVICE].find(request.match_info["checkout"])
    store = host.stores.get(checkout.store)
    status = checkout.status(datetime.now(UTC))
    if status is CheckoutStatus.SETTLED:
        raise _closed("has been paid")
    if status is CheckoutStatus.EXPIRED or store is None:
        raise _closed("can't be paid any more")
    return checkout, PayTarget(
        store=store,
        purpose=PURPOSE,
        subject=checkout.id,
        callback_path=f"{LNURL_PREFIX}{checkout.id}/callback",
        text=checkout.description or f"Payment to {store.title}",
        comment_allowed=0,
        least=checkout.amount,
        most=checkout.amount,
        verifiable=False,  # its payment hash is no secret: the page shows codes of the same checkout to everybody
    )


def _closed(words: str) -> ProblemError:
    return ProblemError.make(409, "not-payable", f"this checkout {words}; go back to its page")
