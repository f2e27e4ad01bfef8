"""The merchant's page and the links that lead into it.

`access.py` knows sessions and links, `login.py` opens them; `payments.py` finds and adds up what was received;
`pages.py` and `webhook_pages.py` show it in the frame of `view.py`; `api.py` makes links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lightning_host.merchant.api import add_merchant_api
from lightning_host.merchant.login import FRONT_PATH, add_login
from lightning_host.merchant.pages import add_pages
from lightning_host.merchant.view import tell_merchant
from lightning_host.merchant.webhook_pages import add_webhook_pages
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["MERCHANT"]


def _add_routes(app: web.Application) -> None:
    add_login(app)
    add_pages(app)
    add_webhook_pages(app)
    add_merchant_api(app)


MERCHANT: Final = RouteGroup(name="merchant", prefixes=(FRONT_PATH,), add_routes=_add_routes, tell=tell_merchant)
"""`/merchant...` and `/api/v1/stores/{store}/merchant-links`."""
