"""What programs can ask of this host, as an OpenAPI document and as a page.

Paths, methods and parameters in paths are those of the running application; what they are for, take and answer stands
in api_table.py.
"""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from lightning_host.server.api_table import API, SCHEMAS
from lightning_host.web.pages import render, tell_reader
from lightning_host.web.route_group import RouteGroup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightning_host.server.api_table import Row

__all__ = ["OPENAPI", "document", "routes_of"]

_SCHEMES: Final = {
    "key": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "token KEY, a key of the store"},
    "password": {"type": "http", "scheme": "basic", "description": "any user name, the store's password"},
    "metrics": {"type": "http", "scheme": "bearer", "description": "the operator's token; loopback needs none"},
}
_TOLD: Final = {
    "summary": "Told to webhooks when a flashcard has paid: money left the store's wallet.",
    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/FlashcardSpent"}}}},
    "responses": {"2XX": {"description": "It was taken; else it is told again."}},
}
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}


def routes_of(app: web.Application) -> list[tuple[str, str]]:
    """Return method and path of every route that is there for programs and people to ask."""
    return sorted(
        {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
        }
    )


def document(routes: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Write the OpenAPI document of these routes.

    Raises:
        KeyError: A route has no row in the table.

    """
    paths: dict[str, dict[str, Any]] = {}
    for method, path in routes:
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, API[method, path])
    return {
        "openapi": "3.1.0",
        "info": {"title": "lightning-host", "version": "1", "description": "Lightning wallets for shops."},
        "paths": paths,
        "webhooks": {"FlashcardSpent": {"post": _TOLD}},
        "components": {"schemas": SCHEMAS, "securitySchemes": _SCHEMES},
    }


def _operation(method: str, path: str, row: Row) -> dict[str, Any]:
    places = [("path", name, {"type": "string"}, True) for name in re.findall(r"\{(\w+)\}", path)]
    places += [("query", name, schema, name in row.needs) for name, schema in row.query.items()]
    parameters = [{"in": at, "name": name, "required": must, "schema": each} for at, name, each, must in places]
    written: dict[str, Any] = {
        "summary": row.words,
        "operationId": f"{method.lower()} {path}",
        "parameters": parameters,
        "responses": _responses(row),
        "security": [] if row.opened_by is None else [{row.opened_by: []}],
    }
    if row.body is not None:
        schema = {"type": "object", "properties": dict(row.body), "required": list(row.needs)}
        written["requestBody"] = {"required": True, "content": {row.body_kind: {"schema": schema}}}
    return written


def _responses(row: Row) -> dict[str, Any]:
    """Describe the success, and how a refusal looks: in words of one kind for all 4xx, and 503 for a wallet away."""
    content = {row.kind: {} if row.answer is None else {"schema": row.answer}}
    success = {
        "description": "success",
        **({} if row.status == HTTPStatus.SWITCHING_PROTOCOLS else {"content": content}),
    }
    both = {"application/json": {"schema": _PROBLEM}, "text/html": {}}
    refused = {"description": "refused", "content": both}
    described = {"4XX": refused, "503": refused}
    return described | {str(status): success for status in (row.status, *row.also)}


async def _tell(request: web.Request) -> web.Response:
    return web.json_response(_of(request.app))


async def _show(request: web.Request) -> web.Response:
    written = _of(request.app)
    return render("api.html", paths=written["paths"], schemes=_SCHEMES)


def _of(app: web.Application) -> dict[str, Any]:
    return _written(tuple(routes_of(app)))


@cache
def _written(routes: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return document(routes)


def _add_routes(app: web.Application) -> None:
    app.add_routes([web.get("/openapi.json", _tell), web.get("/api", _show)])


OPENAPI: Final = RouteGroup(
    name="openapi", prefixes=("/openapi.json", "/api"), add_routes=_add_routes, tell=tell_reader
)
"""`GET /openapi.json`, and `GET /api` for people."""
