"""The application: everything a request meets, and the order in which it opens and closes.

How the pieces hang together, for those who add a group:

- `make_app(settings, factory)` makes an aiohttp application. When it starts it opens a `Host` (host.py: settings,
  stores, database, invoices, settlements, budgets), which a request handler finds as `request.app[HOST]`.
- A route group (web/route_group.py) is a module with a `RouteGroup`: its name, the prefixes of its paths,
  `add_routes(app)`, `tell(request, problem)` to put a problem into its own words, and perhaps `lifespan(host)`, an
  asynchronous context manager entered before the host listens. It is registered in `ROUTE_GROUPS` (route_groups.py).
- Invoices are made with `host.invoices.create(store, params, purpose=..., subject=...)`, never by the store's client
  alone: the row it writes is what a settlement is matched with.
- `host.settlements.on_settled(handler)`, called in `lifespan`: the handler, a plain function of a connection and
  a list of a store's settlements, gets each exactly once, across restarts and replicas, inside the transaction that
  records it. For money and for queues.
- `async with host.settlements.subscribe(store_id, purpose=..., subject=..., after=...) as settled`: iterates over
  settlements in this process, in every replica. For pages and sockets. Subscribe first, then look at the state, then
  wait: nothing falls in between.
- Tables are made against `database.metadata`, in the group's own module. A change of a table that has been released
  needs a new `SCHEMA_VERSION` and a step.
- Bodies are read with `bodies.read_json` / `read_form`. Whatever is wrong is raised as `ProblemError.make(status, code,
  words, field=...)` or left to be raised by the wallet: `_tell_problems` below turns each into a response by the group.
- `host.budgets.spend(name, allowance)` limits what anonymous callers can cause.
- URLs that are handed out come from `host.url(path)`; the request's own host name is never used.
- Script and style come from `/static/` only: the content security policy allows nothing inline.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connection_strings import LightningClientFactory
from lightning_host.host import HOST, open_host
from lightning_host.monitoring.metrics import count_requests
from lightning_host.server.route_groups import ROUTE_GROUPS
from lightning_host.tasks import TaskSet
from lightning_host.web.origin import refuse_foreign
from lightning_host.web.pages import policy, tell_reader
from lightning_host.web.problems import Problem, problem_of
from lightning_host.web.route_group import group_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiohttp.typedefs import Handler, Middleware

    from lightning_host.settings import HostSettings
    from lightning_host.web.route_group import RouteGroup

__all__ = ["SECURITY_HEADERS", "make_app"]

_log: Final = logging.getLogger("lightning_host")

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every response carries; a handler that sets one of them itself is not overruled."""

_UNFORESEEN: Final = Problem(
    status=500,
    code="internal-error",
    message="something went wrong in this host; its log says what",
    public="something went wrong in this host",
)


def make_app(
    settings: HostSettings,
    factory: LightningClientFactory | None = None,
    *,
    route_groups: Iterable[RouteGroup] = ROUTE_GROUPS,
) -> web.Application:
    """Make the application; it opens nothing before it is started.

    Args:
        settings: How it is set up.
        factory: Where clients come from; by default from the drivers that are installed.
        route_groups: What it shows.

    """
    route_groups = tuple(route_groups)
    app = web.Application(client_max_size=settings.max_body_bytes)
    app.middlewares.extend(
        [count_requests(app, route_groups), _problem_teller(route_groups), _refuse_nul, refuse_foreign]
    )
    app.on_response_prepare.append(_add_security_headers)
    app.on_shutdown.append(_hang_up)
    app.cleanup_ctx.append(_life(settings, factory or LightningClientFactory(), route_groups))
    for group in route_groups:
        group.add_routes(app)
    return app


def _life(
    settings: HostSettings, factory: LightningClientFactory, route_groups: tuple[RouteGroup, ...]
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def live(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            host = app[HOST] = await stack.enter_async_context(open_host(settings, factory))
            for group in route_groups:
                if group.lifespan is not None:
                    await stack.enter_async_context(group.lifespan(host))
            await host.settlements.start()
            tasks = TaskSet()
            stack.push_async_callback(tasks.aclose)
            tasks.start(host.rotation.run(), "look at the files of connection strings")
            yield

    return live


def _problem_teller(route_groups: tuple[RouteGroup, ...]) -> Middleware:
    @web.middleware
    async def tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn whatever is raised into words that the caller's kind of client understands; never a stack trace."""
        try:
            return await handler(request)
        except (asyncio.CancelledError, ConnectionResetError):
            raise  # the client has gone
        except web.HTTPException as error:
            if error.status < 400:
                raise
            problem = problem_of(error)
        except Exception as error:  # noqa: BLE001 - the last resort: logged below, told without its words
            problem = problem_of(error)
            if problem is None:
                _log.exception("%s %s failed", request.method, request.path)
        group = group_of(route_groups, request.path)
        tell = tell_reader if group is None else group.tell
        return tell(request, problem or _UNFORESEEN)

    return tell_problems


@web.middleware
async def _refuse_nul(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find nothing at a path with a NUL: nothing is called so, and PostgreSQL can't even look for it."""
    if "\x00" in request.path:
        raise web.HTTPNotFound
    return await handler(request)


async def _hang_up(app: web.Application) -> None:
    """Let pages and sockets that wait for settlements end, so that the server need not wait for them."""
    app[HOST].settlements.hang_up()


async def _add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "lightning-host"  # aiohttp has put its version there
