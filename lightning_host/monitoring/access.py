"""Who reads what is for the operator: metrics, and which store is in trouble.

With `METRICS_TOKEN` set it takes the token, as a bearer. Without one it takes a request from this very machine, which
calls it by a name of loopback (a page elsewhere could reach it by a name of its own, by DNS rebinding) and shows no
trace of a proxy or of a foreign page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lightning_host.client_address import client_key, read_address
from lightning_host.credentials import matches
from lightning_host.host import HOST
from lightning_host.web.origin import is_foreign
from lightning_host.web.problems import ProblemError

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["is_operator", "require_operator"]

_PROXIED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def is_operator(request: web.Request) -> bool:
    """Whether a request shows the operator's token or, where none is set, comes from this machine."""
    token = request.app[HOST].settings.metrics_token
    if token is None:
        return _from_this_machine(request)
    return matches(_shown(request), token)


async def require_operator(request: web.Request) -> None:
    """Let the operator in.

    Raises:
        ProblemError: The token is missing or wrong (401), or none is set and the request comes from elsewhere (403).

    """
    if is_operator(request):
        return
    host = request.app[HOST]
    if host.settings.metrics_token is None:
        raise ProblemError.make(403, "missing-permission", "set METRICS_TOKEN to read metrics from elsewhere")
    if _shown(request):
        await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
    challenge = {"WWW-Authenticate": "Bearer"}
    raise ProblemError.make(401, "unauthenticated", "the bearer token is missing or wrong", headers=challenge)


def _shown(request: web.Request) -> str:
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else ""


def _from_this_machine(request: web.Request) -> bool:
    named, peer = read_address(request.host), read_address(request.remote or "")
    by_name = request.host.partition(":")[0].lower() == "localhost" or (named is not None and named.is_loopback)
    proxied = any(name in request.headers for name in _PROXIED)
    return by_name and peer is not None and peer.is_loopback and not proxied and not is_foreign(request)
