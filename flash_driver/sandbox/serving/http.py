"""Flash's HTTP endpoint: the gateway that checks credentials, then GraphQL by POST (flash-server.md 1.4 and 5)."""

from __future__ import annotations

import asyncio
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
from flash_driver.sandbox.serving.wire import GARBAGE, close_connection, read_json, reset_connection, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.sandbox.faults import Fault

__all__ = ["json_response", "serve_http"]

_NO_BODY: Final = "The body of a request is a JSON object with a query"
_NO_SUBSCRIPTIONS: Final = "Subscriptions are served on the WebSocket"


async def serve_http(engine: Engine, request: web.Request) -> web.StreamResponse:
    """Answer one POST."""
    engine.bank.traffic.connections["http_requests"] += 1
    operation, complaint = _read(await request.read())
    if operation is None:
        return _authenticated(engine, request, json_response(_pre_execution_body(engine, complaint), status=400))
    engine.bank.traffic.arrived(operation.roots.values(), "http")
    fault = engine.take_fault(operation, "http", "before_execute")
    if fault is not None and not fault.inside and (broken := await _strike(engine, request, fault, b"")):
        return broken
    try:
        account = engine.credentials.of_request(request.headers)
    except BadCredentialError:
        return _unauthorized(engine)
    context = engine.context("http", account, capable=is_capable(request.headers.get(CAPABILITY_HEADER)))
    if operation.kind is OperationType.SUBSCRIPTION:
        refusal = GraphQLError(_NO_SUBSCRIPTIONS)
        return json_response(_pre_execution_body(engine, refusal), status=400)
    result = await engine.execute(operation, context, fault)
    reply = json_response(_body(engine, result), status=400 if isinstance(result, PreExecutionError) else 200)
    lost = engine.take_fault(operation, "http", "after_execute")
    if lost is not None and (broken := await _strike(engine, request, lost, reply.body)):
        return broken
    return reply


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


def _authenticated(engine: Engine, request: web.Request, response: web.Response) -> web.Response:
    """Let the gateway look first."""
    try:
        engine.credentials.of_request(request.headers)
    except BadCredentialError:
        return _unauthorized(engine)
    return response


def _unauthorized(engine: Engine) -> web.Response:
    engine.bank.traffic.connections["http_unauthorized"] += 1
    return json_response(UNAUTHORIZED_BODY, status=401)


def _body(engine: Engine, result: ExecutionResult) -> dict[str, Any]:
    if isinstance(result, PreExecutionError):
        return _pre_execution_body(engine, *(result.errors or ()))
    errors = [_format(engine, error, "INTERNAL_SERVER_ERROR") for error in result.errors or ()]
    return {"errors": errors, "data": result.data} if errors else {"data": result.data}


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
            await asyncio.sleep(fault.details["seconds"])
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
