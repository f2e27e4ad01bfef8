"""Whether this replica can do its work: for load balancers, container health checks and people."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from lightning_host.host import HOST
from lightning_host.web.plain import tell_plainly
from lightning_host.web.route_group import RouteGroup

__all__ = ["HEALTH"]

_PING_SECONDS: Final = 3.0


def _add_routes(app: web.Application) -> None:
    app.add_routes([web.get("/health", _health), web.get("/live", _live), web.get("/ready", _ready)])


async def _live(request: web.Request) -> web.Response:
    """Answer as long as the process runs."""
    del request
    return web.json_response({"status": "ok"})


async def _ready(request: web.Request) -> web.Response:
    """Answer 200 while this replica tells its clients of settlements, else 503: a proxy sends them to another one.

    It needs no wallet: all replicas have the same.
    """
    ready = request.app[HOST].settlements.telling
    return web.json_response({"status": "ok" if ready else "not ready"}, status=200 if ready else 503)


async def _health(request: web.Request) -> web.Response:
    """Answer 200 when settlements are heard of every store and can be recorded now, else 503 and what is wrong."""
    host = request.app[HOST]
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await host.settlements.prove()
        database = "ok"
    except (SQLAlchemyError, OSError, TimeoutError):
        database = "unreachable"
    listening = len(host.stores) - len(host.settlements.deaf)
    healthy = database == "ok" and listening == len(host.stores)
    answer = {
        "status": "ok" if healthy else "degraded",
        "database": database,
        "stores": {"total": len(host.stores), "listening": listening},
    }
    return web.json_response(answer, status=200 if healthy else 503)


HEALTH: Final = RouteGroup(
    name="health", prefixes=("/health", "/live", "/ready"), add_routes=_add_routes, tell=tell_plainly
)
"""`GET /live`, `GET /ready` and `GET /health`."""
