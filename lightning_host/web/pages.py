"""HTML for people: templates, the files they need, and problems as a page.

Whatever a page shows goes through a template that escapes it; script and style stand in files of `static/` only, so
that the content security policy can forbid everything else.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2
from aiohttp import web

from lightning_host.host import HOST
from lightning_host.web.problems import tell_plainly
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from datetime import datetime

    from connection_strings import LightMoney
    from lightning_host.web.problems import Problem

__all__ = ["PAGES", "in_sat", "in_words", "policy", "render", "tell_page", "tell_reader"]

_HERE: Final = Path(__file__).parents[1]
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def render(template: str, *, status: int = 200, **values: Any) -> web.Response:
    """Make a page of a template in `templates/`."""
    html = _templates().get_template(template).render(values)
    return web.Response(text=html, status=status, content_type="text/html", charset="utf-8")


def tell_page(request: web.Request, problem: Problem, *, way: tuple[str, str] | None = None) -> web.Response:
    """Tell a problem on a page, in words that anybody may read; `way` is where its button leads, and what it says."""
    host = request.app[HOST]
    # Where there are many shops, the start page leads nowhere (server/route_groups.py).
    if way is None and request.path != "/" and (host.settings.sandbox_control is not None or len(host.stores) == 1):
        way = ("/", "To the start page")
    response = render("problem.html", status=problem.status, problem=problem, way=way)
    response.headers.update(problem.headers or {})
    return response


def tell_reader(request: web.Request, problem: Problem) -> web.Response:
    """Tell a problem on a page to a browser, which says that it reads pages, and in JSON to programs."""
    reads_pages = "text/html" in request.headers.get("Accept", "")
    return tell_page(request, problem) if reads_pages else tell_plainly(request, problem)


def in_sat(amount: LightMoney) -> str:
    """Write an amount in satoshi, thousands apart, with the millisatoshi only where there are some."""
    whole, rest = divmod(amount.msat, 1_000)
    return f"{whole:,}" + (f".{rest:03}" if rest else "")


def policy(frame_ancestors: str = "'none'") -> str:
    """Return the content security policy: nothing but what this host serves, in no frame but those that are named."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        f"form-action 'self'; base-uri 'none'; frame-ancestors {frame_ancestors}"
    )


def in_words(time: datetime) -> str:
    """Write a time for people, in UTC: what a page shows until its script writes it in the reader's own way."""
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sat"] = in_sat
    return environment


@cache
def _static_files() -> dict[str, tuple[bytes, str]]:
    """Return every file that is served, and its type, by name: a request names one of them, and never a path."""
    return {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in (_HERE / "static").iterdir()}


async def _static(request: web.Request) -> web.Response:
    found = _static_files().get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound
    body, kind = found
    return web.Response(body=body, content_type=kind, charset="utf-8")


def _add_routes(app: web.Application) -> None:
    app.add_routes([web.get("/static/{name}", _static)])


PAGES: Final = RouteGroup(name="pages", prefixes=("/static/",), add_routes=_add_routes, tell=tell_plainly)
"""`GET /static/...`: script, style and icon of every page."""
