"""What every page of a merchant has: the store, the way to the other pages, the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lightning_host.web.csrf import FORM_FIELD
from lightning_host.web.pages import render, tell_page

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from aiohttp import web

    from lightning_host.merchant.login import Visit
    from lightning_host.web.problems import Problem

__all__ = ["show", "tell_merchant"]

_TABS: Final = (
    ("payments", "", "Payments"),
    ("wallet", "/wallet", "Wallet"),
    ("webhooks", "/webhooks", "Webhooks"),
    ("cards", "/cards", "Cards"),
)


async def show(request: web.Request, visit: Visit, template: str, *, tab: str, **values: Any) -> web.Response:
    """Make a page of a template, with the frame around it."""
    nonce, token = await visit.csrf.token(request)
    stores = [store for store in visit.host.stores if store.id in visit.session.permissions]
    response = render(
        template,
        visit=visit,
        title=visit.store.title,
        tabs=[(name == tab, f"{visit.path}{path}", words) for name, path, words in _TABS],
        others=[store for store in stores if store.id != visit.store.id],
        form_field=FORM_FIELD,
        form_token=token,
        zone=visit.zone,
        in_zone=_in_zone,
        **values,
    )
    visit.csrf.remember(response, nonce)
    return response


def tell_merchant(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem on a page, with the way to log in where that is what is missing."""
    return tell_page(request, problem, way=("/merchant", "Log in" if problem.status == 401 else "To your payments"))


def _in_zone(time: datetime, zone: tzinfo) -> str:
    """Write a time for people, in the merchant's zone."""
    local = time.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M}"
