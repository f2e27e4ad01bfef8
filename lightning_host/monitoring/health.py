"""Whether this replica can do its work: three questions, for three who ask.

GET /live    Does the process run? For what restarts it: 200 as long as it answers at all.
GET /ready   Can this replica serve? For load balancers and the container's check: 503 while it can't read
             settlements. The wallets don't matter: all replicas have the same, and one store's dead token must not
             take the other stores down.
GET /health  Should a person look? 503 when the database or any store is in trouble. Which store, and why, is told
             to the operator only (access.py), and so is which payments stay unknown.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from lightning_host.host import HOST
from lightning_host.monitoring.access import is_operator
from lightning_host.monitoring.backends import backends, unknown_payments
from lightning_host.web.problems import tell_plainly
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
    """Answer 200 when all is well, else 503.

    All is well when settlements can be recorded, those of every store are heard, and every wallet answers and makes
    invoices.

    A limit that the driver keeps by itself is no trouble: it is over within minutes.
    """
    host = request.app[HOST]
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await host.settlements.prove()
        database = "ok"
    except (SQLAlchemyError, OSError, TimeoutError):
        database = "unreachable"
    deaf, blocked = host.settlements.deaf, host.invoices.blocked
    told = backends(host.stores)
    outages = {store: health.outage for store, health in told.items() if health.outage is not None}
    healthy = database == "ok" and not (deaf or blocked or outages)
    answer: dict[str, Any] = {
        "status": "ok" if healthy else "degraded",
        "database": database,
        "stores": {"total": len(host.stores), "listening": len(host.stores) - len(deaf), "blocked": len(blocked)},
    }
    if is_operator(request):
        trouble = {**blocked, **outages, **deaf}
        answer["byStore"] = {store.id: trouble.get(store.id, "listening") for store in host.stores}
        answer["lastAnswerAt"] = {
            store: None if health.last_answer_at is None else health.last_answer_at.isoformat()
            for store, health in told.items()
        }
        answer["unknownPayments"] = {
            store: {"count": found.count, "since": None if found.since is None else found.since.isoformat()}
            for store, found in (await unknown_payments(host.stores)).items()
            if found.count
        }
    return web.json_response(answer, status=200 if healthy else 503)


HEALTH: Final = RouteGroup(
    name="health", prefixes=("/health", "/live", "/ready"), add_routes=_add_routes, tell=tell_plainly
)
"""`GET /live`, `GET /ready` and `GET /health`."""
