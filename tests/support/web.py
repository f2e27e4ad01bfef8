"""HTTP servers for tests of transports, and what each reply means as evidence."""

from __future__ import annotations

import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from flash_driver.common import exact_json as wire
from flash_driver.flash_api.outcomes import Answer, Evidence, Garbage, HttpStatus
from flash_driver.transports.network import MAX_REPLY_BYTES
from tests.support.serving import serving_any_path

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

__all__ = ["REPLIES", "Reply", "Site", "posted", "replying"]

NO_RESPONSE: Final = Garbage("HTTP 200 with a body that is no GraphQL response")


@dataclass(frozen=True)
class Reply:
    """An HTTP reply, and what a transport is to make of it."""

    means: Evidence
    body: str | bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def _refused(status: int, body: str | bytes = b"", retry_after: int | None = None, **headers: str) -> Reply:
    wait = None if retry_after is None else timedelta(seconds=retry_after)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(HttpStatus(status, wait), body, status, named)


_ERRORS = ({"message": "no", "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}},)
_LARGE = '{"data":{"a":"' + "x" * MAX_REPLY_BYTES + '"}}'

REPLIES: Final[Mapping[str, Reply]] = {
    "data": Reply(Answer({"a": 1}), '{"data":{"a":1}}'),
    "exact numbers": Reply(Answer({"a": Decimal("1.10")}), '{"data":{"a":1.10}}'),
    "extensions": Reply(Answer({"a": 1}), '{"data":{"a":1},"extensions":{"cost":120}}'),
    "errors": Reply(Answer(None, ({"message": "no"},)), '{"data":null,"errors":[{"message":"no"}]}'),
    "errors without data": Reply(Answer(None, ({"message": "no"},)), '{"errors":[{"message":"no"}]}'),
    "partial data": Reply(
        Answer({"a": None, "b": 1}, ({"message": "no"},)), '{"data":{"a":null,"b":1},"errors":[{"message":"no"}]}'
    ),
    "another content type": Reply(Answer({"a": 1}), '{"data":{"a":1}}', headers={"Content-Type": "text/plain"}),
    "HTML": Reply(NO_RESPONSE, "<html>login</html>", headers={"Content-Type": "text/html"}),
    "nothing": Reply(NO_RESPONSE),
    "truncated JSON": Reply(NO_RESPONSE, '{"data":{"a":'),
    "JSON null": Reply(NO_RESPONSE, "null"),
    "a JSON list": Reply(NO_RESPONSE, '[{"data":{"a":1}}]'),
    "a JSON number": Reply(NO_RESPONSE, "5"),
    "data null": Reply(NO_RESPONSE, '{"data":null}'),
    "data a list": Reply(NO_RESPONSE, '{"data":[1]}'),
    "neither data nor errors": Reply(NO_RESPONSE, '{"a":1}'),
    "a number beyond all bounds": Reply(NO_RESPONSE, '{"data":{"a":1e99999999999999999999}}'),
    "nested beyond reason": Reply(NO_RESPONSE, '{"data":' + "[" * 100_000),
    "not UTF-8": Reply(NO_RESPONSE, b'{"data":{"a":"\xff"}}'),
    "larger than the limit": Reply(Garbage("a reply larger than the limit"), _LARGE),
    "201": _refused(201, '{"data":{"a":1}}'),
    "204": _refused(204),
    "301": _refused(301, Location="/elsewhere"),
    "302": _refused(302, Location="/elsewhere"),
    "307": _refused(307, Location="/elsewhere"),
    "400": Reply(HttpStatus(400, None, _ERRORS), wire.encode({"errors": _ERRORS}), 400),
    "400 without errors": _refused(400, "bad request"),
    "401": _refused(401, "<html>nginx</html>"),
    "401 in JSON": _refused(401, '{"error":{"code":401,"status":"Unauthorized"}}'),
    "401 larger than the limit": _refused(401, _LARGE),
    "403": _refused(403),
    "404": _refused(404, "not found"),
    "405": _refused(405),
    "429": _refused(429, "", 17, Retry_After="17"),
    "429 until a date": _refused(429, "", 0, Retry_After="Wed, 21 Oct 2020 07:28:00 GMT"),
    "429 for ever": _refused(429, "", None, Retry_After="9" * 20),
    "500": _refused(500, "boom"),
    "500 with data": _refused(500, '{"data":{"a":1}}'),
    "502": _refused(502, "<html>bad gateway</html>"),
    "503": _refused(503, "", 5, Retry_After="5"),
    "504": _refused(504),
}


COMPRESSED: Final = gzip.compress(('{"data":{"a":"' + "x" * 50_000_000 + '"}}').encode())
"""A small reply that unfolds to a large one."""


@dataclass
class Site:
    """A running HTTP server and what it was asked."""

    url: str = ""
    requests: list[tuple[str, Mapping[str, str], Any]] = field(default_factory=list)


@asynccontextmanager
async def posted(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    """Serve POST requests to any path on loopback."""
    serving = Site()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        serving.requests.append((request.method, request.headers, wire.decode(body)))
        return await handler(request)

    async with serving_any_path(handle, tls, handler_cancellation=True) as port:
        serving.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/graphql"
        yield serving


def replying(reply: Reply) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler that always gives this reply."""
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=reply.status, body=body, headers=reply.headers)

    return handle
