"""Flash's HTTP endpoint: the gateway that checks credentials, then GraphQL by POST (flash-server.md 1.4 and 5)."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from graphql import GraphQLError, GraphQLSyntaxError, OperationType
from strawberry.types.execution import ExecutionResult, PreExecutionError

from flash_driver.sandbox.bank.credentials import (
    CAPABILITY_HEADER,
    UNAUTHORIZED_BODY,
    BadCredentialError,
    is_capable,
)
from flash_driver.sandbox.serving.engine import Engine, Operation, UnidentifiedOperationError, is_request
from flash_driver.sandbox.serving.wire import (
    GARBAGE,
    apollo_words,
    close_connection,
    read_json,
    reset_connection,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flash_driver.sandbox.bank.api_keys import KeyUse
    from flash_driver.sandbox.faults import Fault

__all__ = ["json_response", "serve_http", "serve_totp"]

_NO_BODY: Final = "The body of a request is a JSON object with a query"
_KEY_LIMIT: Final = "API key rate limit exceeded"
_NO_SUBSCRIPTIONS: Final = "Subscriptions are served on the WebSocket"


async def serve_http(engine: Engine, request: web.Request) -> web.StreamResponse:
    """Answer one POST: the gateway looks at its credential, the limiter at its API key, GraphQL at the rest."""
    engine.bank.traffic.connections["http_requests"] += 1
    operation, complaint = _read(await request.read())
    fault = None
    if operation is not None:
        engine.bank.traffic.arrived(operation.fields, "http")
        fault = engine.take_fault(operation, "http", "before_execute")
        if fault is not None and not fault.inside and (broken := await _strike(engine, request, fault, b"")):
            return broken
    try:
        caller = engine.credentials.of_request(request.headers)
    except BadCredentialError:
        engine.bank.traffic.connections["http_unauthorized"] += 1
        return json_response(UNAUTHORIZED_BODY, status=401)
    now = engine.bank.clock()
    use = None if caller.key is None else caller.key.spend(now)
    if use is not None and not use.allowed:
        return _too_many(use, now)
    if operation is None:
        reply = json_response(_pre_execution_body(engine, complaint), status=400)
    elif operation.kind is OperationType.SUBSCRIPTION:
        reply = json_response(_pre_execution_body(engine, GraphQLError(_NO_SUBSCRIPTIONS)), status=400)
    else:
        context = engine.context("http", caller, capable=is_capable(request.headers.get(CAPABILITY_HEADER)))
        reply = _answer(engine, await engine.execute(operation, context, fault))
        lost = engine.take_fault(operation, "http", "after_execute")
        if lost is not None and (broken := await _strike(engine, request, lost, reply.body)):
            return broken
    reply.headers.update({} if use is None else _limit_headers(use))
    return reply


def _limit_headers(use: KeyUse) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(use.limit),
        "X-RateLimit-Remaining": str(use.remaining),
        "X-RateLimit-Reset": str(ceil(use.resets_at.timestamp())),
    }


def _too_many(use: KeyUse, now: datetime) -> web.Response:
    """Refuse a request beyond the limit of its API key (flash-server.md 1.4)."""
    seconds = ceil((use.resets_at - now).total_seconds())
    extensions = {
        "code": "TOO_MANY_REQUESTS",
        "retryAfterSeconds": seconds,
        "rateLimit": {"limit": use.limit, "remaining": use.remaining},
    }
    reply = json_response({"data": None, "errors": [{"message": _KEY_LIMIT, "extensions": extensions}]})
    reply.headers.update({**_limit_headers(use), "Retry-After": str(seconds)})
    return reply


def _answer(engine: Engine, result: ExecutionResult) -> web.Response:
    """Put a result into a response: what never began to run has no data and status 400."""
    errors = result.errors or []
    if isinstance(result, PreExecutionError):
        return json_response(_pre_execution_body(engine, *errors), status=400)
    if errors and result.data is None and not any(error.path for error in errors):
        for error in errors:
            error.extensions = {"code": "BAD_USER_INPUT", **(error.extensions or {})}
        return json_response(_pre_execution_body(engine, *errors), status=400)
    told = [_format(engine, error, "INTERNAL_SERVER_ERROR") for error in errors]
    return json_response({"errors": told, "data": result.data} if told else {"data": result.data})


async def serve_totp(engine: Engine, request: web.Request) -> web.Response:
    """Take the TOTP code that a new session waits for; this is Flash's REST endpoint beside GraphQL."""
    payload = read_json(await request.read())
    match payload:
        case {"totpCode": str(code), "authToken": str(token)} if code and token:
            if engine.logins.finish(token, code):
                return web.Response()
            return json_response({"error": "invalid code"}, status=401)
        case _:
            return json_response({"error": "Missing input"}, status=422)


def json_response(body: object, status: int = 200) -> web.Response:
    """Make a response of JSON."""
    return web.Response(body=write_json(body).encode(), status=status, content_type="application/json")


def _read(body: bytes) -> tuple[Operation | None, GraphQLError]:
    """Read the operation, or say what is wrong with it."""
    payload = read_json(body)
    if not is_request(payload):
        return None, GraphQLError(_NO_BODY, extensions={"code": "BAD_REQUEST"})
    try:
        return Operation.read(payload), GraphQLError("")
    except GraphQLSyntaxError as error:
        error.extensions = {"code": "GRAPHQL_PARSE_FAILED"}
        return None, error
    except UnidentifiedOperationError as error:
        return None, GraphQLError(str(error), extensions={"code": "OPERATION_RESOLUTION_FAILURE"})


def _pre_execution_body(engine: Engine, *errors: GraphQLError) -> dict[str, Any]:
    return {"errors": [_format(engine, error, "GRAPHQL_VALIDATION_FAILED") for error in errors]}


def _format(engine: Engine, error: GraphQLError, default_code: str) -> dict[str, Any]:
    """Spell an error as Flash does over HTTP.

    The server itself puts the code beside the message, without extensions. A router in front of it drops the code,
    but has codes of its own for what it refuses itself.
    """
    formatted: dict[str, Any] = dict(error.formatted)
    extensions: Mapping[str, Any] = formatted.pop("extensions", {})
    code = extensions.get("code", default_code)
    if default_code == "GRAPHQL_VALIDATION_FAILED":
        formatted["message"] = apollo_words(error.message)
    if not engine.bank.options.router:
        formatted["code"] = code
    elif default_code == "GRAPHQL_VALIDATION_FAILED":
        formatted["extensions"] = {"code": code}
    return formatted


async def _strike(engine: Engine, request: web.Request, fault: Fault, reply: object) -> web.Response | None:
    """Let a fault loose on this request; None if it goes on nevertheless."""
    match fault.kind:
        case "close":
            close_connection(request)
        case "reset":
            reset_connection(request)
        case "silent":
            await engine.closing.wait()
        case "delay":
            await fault.wait()
            return None
        case "garbage":
            return web.Response(text=GARBAGE, content_type="text/html")
        case "truncate":
            text = reply if isinstance(reply, bytes) and reply else b'{"data":{}}'
            return web.Response(body=text[: len(text) // 2], content_type="application/json")
        case _:
            retry_after = fault.details["retry_after"]
            headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
            status = fault.details["status"]
            return web.Response(status=status, headers=headers, text=GARBAGE, content_type="text/html")
    return web.Response()
