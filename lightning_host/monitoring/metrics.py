"""Prometheus metrics: what was asked of this replica, and what all replicas have recorded.

They tell what a store earns, so they are for the operator (access.py); docs/monitoring.md lists them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from lightning_host.checkout.service import SERVICE
from lightning_host.flashcards.totals import card_totals
from lightning_host.host import HOST
from lightning_host.logs import begin_request
from lightning_host.monitoring.access import require_operator
from lightning_host.monitoring.backends import backends, unknown_payments
from lightning_host.phoenixd.invoices import PURPOSE as PHOENIXD
from lightning_host.web.problems import tell_plainly
from lightning_host.web.route_group import RouteGroup, group_of
from lightning_host.web.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client.core import Metric

    from lightning_host.flashcards.totals import CardTotal
    from lightning_host.host import Host
    from lightning_host.monitoring.backends import UnknownPayments

__all__ = ["METRICS", "Requests", "count_requests"]

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RECENT_SECONDS: Final = 120
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
    """Return a middleware that counts what the application answers, and gives each request an id for its log lines."""
    route_groups = tuple(route_groups)
    requests = app[REQUESTS] = Requests()

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, request_id = time.perf_counter(), begin_request()
        response = await handler(request)
        if not response.prepared:
            response.headers["X-Request-Id"] = request_id
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
    await require_operator(request)
    recorded = CollectorRegistry()
    since = datetime.now(UTC) - timedelta(seconds=_RECENT_SECONDS)
    stores = [store.id for store in host.stores]
    recorded.register(_CardPayments(await card_totals(host.database, stores)))
    recorded.register(
        _Recorded(
            host=host,
            totals=await host.settlements.count(),
            recent={store: len(await host.invoices.made_since(store, since)) for store in stores},
            postponed=request.app[SERVICE].postponed,
            unknown=await unknown_payments(host.stores),
            subscribers={
                "page": request.app[STREAMS].open_count,
                "socket": host.settlements.subscribers(PHOENIXD),
            },
        )
    )
    text = generate_latest(request.app[REQUESTS].registry) + generate_latest(recorded)
    return web.Response(body=text, headers={"Content-Type": _TEXT})


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recorded:
    """What the host and its database know, at the moment of asking.

    Attributes:
        totals: How many settlements were recorded, and their millisatoshi, by store and purpose.
        recent: How many invoices were made lately, by store.
        postponed: How many codes of checkouts had to wait for the budget, by store.
        unknown: Payments that stay unknown, by store.
        subscribers: How many clients wait for settlements, by kind.

    """

    host: Host
    totals: dict[tuple[str, str], tuple[int, int]]
    recent: dict[str, int]
    postponed: Mapping[str, int]
    unknown: Mapping[str, UnknownPayments]
    subscribers: dict[str, int]

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        labels = ["store", "purpose"]
        count = CounterMetricFamily("lightning_host_settlements", "Settled invoices, of all replicas", labels=labels)
        msat = CounterMetricFamily(
            "lightning_host_settled_msat", "Millisatoshi received, by all replicas", labels=labels
        )
        for names, (settled, received) in self.totals.items():
            count.add_metric(names, settled)
            msat.add_metric(names, received)
        listening = GaugeMetricFamily(
            "lightning_host_listening", "Whether settlements of the store are heard", labels=["store"]
        )
        refused = GaugeMetricFamily(
            "lightning_host_token_refused", "Whether the wallet of the store refuses its token", labels=["store"]
        )
        settlements = self.host.settlements
        for store in self.host.stores:
            listening.add_metric([store.id], float(store.id not in settlements.deaf))
            refused.add_metric([store.id], float(store.id in settlements.refused))
        subscribers = GaugeMetricFamily(
            "lightning_host_subscribers",
            "Clients of this replica that wait for settlements: open pages, and sockets of phoenixd's API",
            labels=["kind"],
        )
        for kind, clients in self.subscribers.items():
            subscribers.add_metric([kind], clients)
        failed = CounterMetricFamily(
            "lightning_host_invoices_failed", "Invoices that the wallet did not make", labels=["store", "purpose"]
        )
        for names, failures in self.host.invoices.failed.items():
            failed.add_metric(names, failures)
        recent = GaugeMetricFamily(
            "lightning_host_invoices_recent", "Invoices made in the last 120 s, by all replicas", labels=["store"]
        )
        waiting = CounterMetricFamily(
            "lightning_host_renewals_postponed", "Codes of checkouts that had to wait for the budget", labels=["store"]
        )
        for store in self.host.stores:
            recent.add_metric([store.id], self.recent[store.id])
            waiting.add_metric([store.id], self.postponed.get(store.id, 0))
        yield from (count, msat, listening, refused, subscribers, failed, recent, waiting)
        yield from (*self._backends(), *self._stuck())

    def _backends(self) -> Iterator[Metric]:
        """Give what the drivers tell of their backends; one that does not tell has no sample."""
        up = GaugeMetricFamily("lightning_host_backend_up", "Whether the wallet's backend answers", labels=["store"])
        answered = GaugeMetricFamily(
            "lightning_host_backend_answered_at_seconds",
            "When it last answered, in seconds since 1970",
            labels=["store"],
        )
        for store, health in backends(self.host.stores).items():
            up.add_metric([store], float(health.outage is None))
            if health.last_answer_at is not None:
                answered.add_metric([store], health.last_answer_at.timestamp())
        yield from (up, answered)

    def _stuck(self) -> Iterator[Metric]:
        """Give what there is of payments that stay unknown; a wallet that can't say it now has no sample."""
        number = GaugeMetricFamily(
            "lightning_host_payments_unknown", "Payments of which nobody knows how they ended", labels=["store"]
        )
        oldest = GaugeMetricFamily(
            "lightning_host_payments_unknown_since_seconds",
            "When the oldest of them was sent, in seconds since 1970",
            labels=["store"],
        )
        for store, found in self.unknown.items():
            number.add_metric([store], found.count)
            if found.since is not None:
                oldest.add_metric([store], found.since.timestamp())
        yield from (number, oldest)


class _CardPayments:
    """What was paid with cards, by outcome."""

    def __init__(self, totals: Sequence[CardTotal]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Give the metrics: counters of what has ended, gauges of what may still end either way."""
        name = "lightning_host_flashcard_payments"
        labels = ["store", "outcome"]
        ended = CounterMetricFamily(name, "Payments with cards that ended, of all replicas", labels=labels)
        msat = CounterMetricFamily(
            f"{name}_msat", "Millisatoshi that left cards, or were asked for in vain", labels=labels
        )
        unknown = GaugeMetricFamily(
            f"{name}_unknown", "Payments with cards of which it is not known how they ended", labels=["store"]
        )
        held = GaugeMetricFamily(f"{name}_unknown_msat", "Millisatoshi asked for by these", labels=["store"])
        for total in self._totals:
            if total.outcome == "unknown":
                unknown.add_metric([total.store], total.payments)
                held.add_metric([total.store], total.amount.msat)
            else:
                ended.add_metric([total.store, total.outcome], total.payments)
                msat.add_metric([total.store, total.outcome], total.amount.msat)
        yield from (ended, msat, unknown, held)


METRICS: Final = RouteGroup(name="metrics", prefixes=("/metrics",), add_routes=_add_routes, tell=tell_plainly)
"""`GET /metrics`."""
