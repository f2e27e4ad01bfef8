"""What BTCPay's clients ask at their start: whether the server lives, what it is, and what their key may do."""

from __future__ import annotations

from aiohttp import web

from lightning_host.client_address import client_key
from lightning_host.credentials import token_of
from lightning_host.host import HOST
from lightning_host.web.problems import ProblemError

__all__ = ["add_server_api"]


def add_server_api(app: web.Application) -> None:
    """Add the routes."""
    app.add_routes(
        [
            web.get("/api/v1/health", _health),
            web.get("/api/v1/server/info", _info),
            web.get("/api/v1/api-keys/current", _current_key),
        ]
    )


async def _health(request: web.Request) -> web.Response:
    """Tell whether this replica does its work; the whole truth is at `/health`."""
    return web.json_response({"synchronized": request.app[HOST].settlements.telling})


async def _info(request: web.Request) -> web.Response:
    """Say what this is; needs a key, as with BTCPay."""
    await _permissions(request)
    return web.json_response(
        {
            "version": "lightning-host",
            "onion": None,
            "supportedPaymentMethods": ["BTC-LN"],
            "fullySynched": True,
            "syncStatus": [],
        }
    )


async def _current_key(request: web.Request) -> web.Response:
    """Tell what the key of the request may do, store by store; never the key itself."""
    return web.json_response({"apiKey": None, "label": None, "permissions": await _permissions(request)})


async def _permissions(request: web.Request) -> list[str]:
    host = request.app[HOST]
    key = token_of(request.headers.get("Authorization", ""))
    opened = () if key is None else host.stores.by_key(key)
    if not opened:
        if key is not None:
            await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
        challenge = {"WWW-Authenticate": "token"}
        raise ProblemError.make(401, "unauthenticated", "show a key: Authorization: token KEY", headers=challenge)
    return sorted(f"{permission}:{store.id}" for store, permissions in opened for permission in permissions)
