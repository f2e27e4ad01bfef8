"""Links that log a merchant in: `POST /api/v1/stores/{store}/merchant-links {"changes"?, "expirySeconds"?}`.

Each opens one browser's session, once. By default that session reads only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connection_strings import Secret
from lightning_host.credentials import Permission
from lightning_host.database import Database
from lightning_host.host import HOST
from lightning_host.merchant.access import LINK_TIME, MerchantAccess
from lightning_host.merchant.login import FRONT_PATH
from lightning_host.stores import Stores
from lightning_host.web.api_access import opened_store
from lightning_host.web.bodies import read_json

if TYPE_CHECKING:
    from lightning_host.settings import HostSettings

__all__ = ["MOST_SECONDS", "add_merchant_api", "new_link"]

MOST_SECONDS: Final = 24 * 3600
"""How long a link can be used at the most."""


def add_merchant_api(app: web.Application) -> None:
    """Add the route."""
    app.add_routes([web.post("/api/v1/stores/{store}/merchant-links", _make)])


async def new_link(settings: HostSettings, store_id: str, lasts: timedelta, *, changes: bool) -> Secret:
    """Make a link without a running host.

    Raises:
        SettingsError: As `Database.open`, and so the others.

    """
    database = await Database.open(settings.database_url)
    try:
        token = await MerchantAccess(database, Stores({})).make_link(store_id, changes=changes, lasts=lasts)
    finally:
        await database.aclose()
    return Secret(_link_of(settings.base_url, token))


def _link_of(base_url: str, token: Secret) -> str:
    """Return the URL that a token opens a session at; what stands behind the `#` is sent to nobody."""
    return f"{base_url}{FRONT_PATH}#{token.reveal()}"


async def _make(request: web.Request) -> web.Response:
    store, host = await opened_store(request, Permission.MODIFY_STORE), request.app[HOST]
    fields = await read_json(request, host.settings.request_seconds)
    with fields.together("changes", "expirySeconds"):
        changes = fields.flag("changes")
        default = int(LINK_TIME.total_seconds())
        seconds = fields.whole("expirySeconds", default=default, least=1, most=MOST_SECONDS)
    access = MerchantAccess(host.database, host.stores)
    token = await access.make_link(store.id, changes=changes, lasts=timedelta(seconds=seconds))
    return web.json_response({"link": _link_of(host.settings.base_url, token), "expirySeconds": seconds})
