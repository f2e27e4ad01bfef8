"""Prometheus metrics: what was asked of this replica, and what all replicas have recorded.

They tell what a store earns, so they are for the operator: with `METRICS_TOKEN` set they want it as a bearer token.
Without it they answer only what comes from this very machine, calls it by a name of loopback (a page elsewhere could
reach it by a name of its own, by DNS rebinding), and shows no trace of a proxy or of a foreign page.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from lightning_host.client_address import client_key, read_address
from lightning_host.credentials import matches
from lightning_host.host import HOST
from lightning_host.web.origin import is_foreign
from lightning_host.web.plain import tell_plainly
from lightning_host.web.problems import ProblemError
from lightning_host.web.route_group import RouteGroup, group_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client.core import Metric

    from lightning_host.host import Host

__all__ = ["METRICS", "Requests", "count_requests"]

_PROXIED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class Requests:
    """Counts the requests of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count = Counter(
            "lightning_host_requests", "Requests answered", ["group", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "lightning_host_request_seconds", "Time to answer", ["group"], buckets=_BUCKETS, registry=self.registry
        )

    def see(self, group: str, method: str, status: int, seconds: float) -> None:
        """Count one."""
        self._count.labels(group, method, str(status)).inc()
        self._seconds.labels(group).observe(seconds)


REQUESTS: Final = web.AppKey("requests", Requests)
"""Where an application keeps its counts."""


def count_requests(app: web.Application, route_groups: Iterable[RouteGroup]) -> Middleware:
    """Return a middleware that counts what the application answers."""
    route_groups = tuple(route_groups)
    requests = app[REQUESTS] = Requests()

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        response = await handler(request)
        group = group_of(route_groups, request.path)
        # Methods are the client's to choose: one that no route has must not become a label.
        known = request.match_info.http_exception is None
        requests.see(
            "none" if group is None else group.name,
            request.method if known else "other",
            response.status,
            time.perf_counter() - began,
        )
        return response

    return count


def _add_routes(app: web.Application) -> None:
    app.add_routes([web.get("/metrics", _metrics)])


async def _metrics(request: web.Request) -> web.Response:
    host = request.app[HOST]
    await _check(host, request)
    recorded = CollectorRegistry()
    recorded.register(_Recorded(host, await host.settlements.count()))
    text = generate_latest(request.app[REQUESTS].registry) + generate_latest(recorded)
    return web.Response(body=text, headers={"Content-Type": _TEXT})


async def _check(host: Host, request: web.Request) -> None:
    token = host.settings.metrics_token
    if token is not None:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not matches(shown.strip(), token):
            if shown:
                await host.wrong_keys.slow_down(client_key(request, host.settings.trusted_proxies))
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ProblemError.make(401, "unauthenticated", "the bearer token is missing or wrong", headers=challenge)
    elif not _from_this_machine(request):
        raise ProblemError.make(403, "missing-permission", "set METRICS_TOKEN to read metrics from elsewhere")


def _from_this_machine(request: web.Request) -> bool:
    named, peer = read_address(request.host), read_address(request.remote or "")
    by_name = request.host.partition(":")[0].lower() == "localhost" or (named is not None and named.is_loopback)
    proxied = any(name in request.headers for name in _PROXIED)
    return by_name and peer is not None and peer.is_loopback and not proxied and not is_foreign(request)


class _Recorded:
    """What the database knows, at the moment of asking."""

    def __init__(self, host: Host, totals: dict[tuple[str, str], tuple[int, int]]) -> None:
        self._host = host
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        labels = ["store", "purpose"]
        count = CounterMetricFamily("lightning_host_settlements", "Settled invoices, of all replicas", labels=labels)
        msat = CounterMetricFamily(
            "lightning_host_settled_msat", "Millisatoshi received, by all replicas", labels=labels
        )
        for names, (settled, received) in self._totals.items():
            count.add_metric(names, settled)
            msat.add_metric(names, received)
        listening = GaugeMetricFamily(
            "lightning_host_listening", "Whether settlements of the store are heard", labels=["store"]
        )
        deaf = self._host.settlements.deaf
        for store in self._host.stores:
            listening.add_metric([store.id], float(store.id not in deaf))
        subscribers = GaugeMetricFamily(
            "lightning_host_subscribers",
            "Pages and sockets that wait for settlements",
            self._host.settlements.subscribers,
        )
        yield from (count, msat, listening, subscribers)


METRICS: Final = RouteGroup(name="metrics", prefixes=("/metrics",), add_routes=_add_routes, tell=tell_plainly)
"""`GET /metrics`."""
