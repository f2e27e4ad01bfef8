"""Flash's WebSocket: graphql-transport-ws as graphql-ws 5.16 serves it (flash-server.md 1.2, 1.3 and 2)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientConnectionResetError, WSMessage, WSMsgType, web
from graphql import GraphQLSyntaxError, OperationType
from strawberry.types.execution import ExecutionResult, PreExecutionError

from flash_driver.sandbox.bank.credentials import CAPABILITY_HEADER, Caller, is_capable
from flash_driver.sandbox.serving.engine import Engine, Operation, UnidentifiedOperationError, is_request
from flash_driver.sandbox.serving.wire import GARBAGE, apollo_words, read_json, reset_connection, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flash_driver.sandbox.faults import Fault
    from flash_driver.sandbox.schema.context import Context

__all__ = ["PROTOCOL", "SUBSCRIPTIONS_ONLY", "Connection", "serve_websocket"]

PROTOCOL: Final = "graphql-transport-ws"
SUBSCRIPTIONS_ONLY: Final = "Only subscription operations are supported"

_CLOSE_TIMEOUT: Final = 1.0


async def serve_websocket(engine: Engine, request: web.Request) -> web.StreamResponse:
    """Upgrade a request to a WebSocket and serve it to its end."""
    connections = engine.bank.traffic.connections
    if fault := engine.bank.faults.take("refuse_handshake"):
        connections["refused_handshakes"] += 1
        return web.Response(status=fault.details["status"])
    socket = web.WebSocketResponse(protocols=(PROTOCOL,), autoping=False, timeout=_CLOSE_TIMEOUT)
    await socket.prepare(request)
    connection = Connection(engine, request, socket)
    engine.sockets.add(connection)
    connections.update(("open", "opened"))
    try:
        await connection.serve()
    finally:
        connections.subtract(("open",))
        engine.sockets.discard(connection)
    return socket


class Connection:
    """One client's socket, from the handshake to the end."""

    def __init__(self, engine: Engine, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._engine = engine
        self._options = engine.bank.options
        self._request = request
        self._socket = socket
        self._session = ""
        self._capable = False
        self._initialised = asyncio.Event()
        self._acknowledged = False
        self._silent = False
        self._pong_seen = True
        self._closing: asyncio.Task[bool] | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}

    async def serve(self) -> None:
        """Read messages until the socket ends; subscriptions end with it, mutations don't."""
        if self._socket.ws_protocol != PROTOCOL:
            await self.close(4406, "Subprotocol not acceptable")
            return
        tasks = self._engine.bank.tasks
        timers = [tasks.start(self._expect_init(), "init"), tasks.start(self._keep_alive(), "pings")]
        try:
            async for message in self._socket:
                await self._receive(message)
        finally:
            for task in (*timers, *self._operations.values()):
                task.cancel()
            self._operations.clear()
            if self._closing is not None:
                await self._closing

    async def close(self, code: int, reason: str) -> None:
        """Close the socket and wait for the peer's answer, whatever becomes of the task that asked for it."""
        if self._closing is None:
            closing = self._socket.close(code=code, message=reason.encode())
            self._closing = self._engine.bank.tasks.start(closing, "close")
        await asyncio.shield(self._closing)

    async def strike(self, fault: Fault, operation_id: str = "", reply: Mapping[str, Any] | None = None) -> bool:
        """Let a fault loose on this socket; say whether that is the end of the operation it struck."""
        match fault.kind:
            case "close":
                await self.close(fault.details["code"], "The sandbox was told to close")
            case "reset":
                reset_connection(self._request)
            case "silent":
                self._silent = True
            case "delay":
                await fault.wait()
                return False
            case "garbage":
                await self._send_text(GARBAGE)
            case "truncate":
                text = write_json(reply or {"id": operation_id, "type": "next", "payload": {}})
                await self._send_text(text[: len(text) // 2])
            case "decline":
                await self._decline(operation_id, SUBSCRIPTIONS_ONLY)
        return True

    async def _expect_init(self) -> None:
        try:
            await asyncio.wait_for(self._initialised.wait(), self._options.init_timeout_seconds)
        except TimeoutError:
            await self.close(4408, "Connection initialisation timeout")

    async def _keep_alive(self) -> None:
        """Ping, and drop a peer that didn't answer the last ping."""
        while True:
            await asyncio.sleep(self._options.ping_seconds)
            if self._silent:
                continue
            if not self._pong_seen:
                reset_connection(self._request)
                return
            self._pong_seen = False
            await self._socket.ping()

    async def _receive(self, message: WSMessage) -> None:
        if self._silent:
            return
        if message.type is WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            self._pong_seen = True
        elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            await self._receive_data(message.data)

    async def _receive_data(self, data: str | bytes) -> None:
        match read_json(data):
            case {"type": "connection_init"} as message:
                await self._on_init(message)
            case {"type": "ping"}:
                await self._send({"type": "pong"})
            case {"type": "pong"}:
                pass
            case {"type": "subscribe", "id": str(operation_id), "payload": payload} if is_request(payload):
                await self._on_subscribe(operation_id, payload)
            case {"type": "complete", "id": str(operation_id)}:
                self._on_complete(operation_id)
            case _:
                await self.close(4400, "Invalid message received")

    async def _on_init(self, message: Mapping[str, Any]) -> None:
        """Acknowledge anybody: a bad token makes the client anonymous, not unwelcome."""
        if self._initialised.is_set():
            await self.close(4429, "Too many initialisation requests")
            return
        self._initialised.set()
        payload = message.get("payload")
        payload = payload if isinstance(payload, dict) else {}
        self._session = self._engine.credentials.open_session(payload)
        self._capable = is_capable(self._request.headers.get(CAPABILITY_HEADER), payload.get(CAPABILITY_HEADER))
        if self._engine.bank.faults.take("no_ack"):
            return
        self._acknowledged = True
        self._engine.bank.traffic.connections["acknowledged"] += 1
        await self._send({"type": "connection_ack"})

    async def _on_subscribe(self, operation_id: str, payload: Mapping[str, Any]) -> None:
        if not self._acknowledged:
            await self.close(4401, "Unauthorized")
        elif operation_id in self._operations:
            await self.close(4409, f"Subscriber for {operation_id} already exists")
        else:
            work = self._engine.bank.tasks.start(self._operate(operation_id, payload), "socket operation")
            self._operations[operation_id] = work

    def _on_complete(self, operation_id: str) -> None:
        task = self._operations.pop(operation_id, None)
        if task is not None:
            task.cancel()

    async def _operate(self, operation_id: str, payload: Mapping[str, Any]) -> None:
        """Answer one `subscribe` message, and forget it."""
        try:
            await self._route(operation_id, payload)
        finally:
            if self._operations.get(operation_id) is asyncio.current_task():
                del self._operations[operation_id]

    async def _route(self, operation_id: str, payload: Mapping[str, Any]) -> None:
        """Decide what becomes of an operation: first the hook that declines, then validation, then execution."""
        try:
            operation = Operation.read(payload)
        except GraphQLSyntaxError as error:
            await self.close(4500, error.message)
            return
        except UnidentifiedOperationError as error:
            await self._decline(operation_id, str(error))
            return
        engine = self._engine
        engine.bank.traffic.arrived(operation.fields, "websocket")
        fault = engine.take_fault(operation, "websocket", "before_execute")
        if fault is not None and not fault.inside and await self.strike(fault, operation_id):
            return
        context = engine.context(
            "websocket", Caller(engine.credentials.of_session(self._session)), capable=self._capable
        )
        if operation.kind is OperationType.SUBSCRIPTION:
            await self._stream(operation_id, operation, context, fault)
        elif self._options.ws_mutations == "accept":
            await self._answer(operation_id, operation, context, fault)
        else:
            await self._turn_away(operation_id, fault)

    async def _turn_away(self, operation_id: str, fault: Fault | None) -> None:
        """Refuse a query or mutation as today's server does, or as the one before it."""
        if fault is not None and fault.kind == "delay":
            await self.strike(fault)
        if self._options.ws_mutations == "close":
            await self.close(4500, SUBSCRIPTIONS_ONLY)
        else:
            await self._decline(operation_id, SUBSCRIPTIONS_ONLY)

    async def _answer(self, operation_id: str, operation: Operation, context: Context, fault: Fault | None) -> None:
        """Execute a query or mutation: one `next`, then `complete`."""
        result = await self._engine.execute(operation, context, fault)
        reply = self._reply(operation_id, result)
        lost = self._engine.take_fault(operation, "websocket", "after_execute")
        if lost is None or not await self.strike(lost, operation_id, reply):
            await self._finish(operation_id, reply)

    async def _stream(self, operation_id: str, operation: Operation, context: Context, fault: Fault | None) -> None:
        """Send a subscription's events as they come."""
        async with aclosing(self._engine.subscribe(operation, context, fault)) as results:
            async for result in results:
                reply = self._reply(operation_id, result)
                if isinstance(result, PreExecutionError):
                    await self._finish(operation_id, reply)
                    return
                await self._send(reply)
        await self._finish(operation_id, None)

    def _reply(self, operation_id: str, result: ExecutionResult) -> dict[str, Any]:
        """Put a result into the frame that graphql-ws would use.

        What validation refuses is an `error`; what fails while subscribing is a `next` without data.
        """
        errors = [error.formatted for error in result.errors or ()]
        if isinstance(result, PreExecutionError):
            for error in errors:
                error["message"] = apollo_words(error["message"])
            if not any(error.path for error in result.errors or ()):
                return {"id": operation_id, "type": "error", "payload": errors}
            return {"id": operation_id, "type": "next", "payload": {"errors": errors}}
        payload = {"data": result.data, "errors": errors} if errors else {"data": result.data}
        return {"id": operation_id, "type": "next", "payload": payload}

    async def _decline(self, operation_id: str, message: str) -> None:
        await self._finish(operation_id, {"id": operation_id, "type": "error", "payload": [{"message": message}]})

    async def _finish(self, operation_id: str, reply: Mapping[str, Any] | None) -> None:
        """Send an operation's last words, unless its client has lost interest."""
        if self._operations.pop(operation_id, None) is None:
            return
        if reply is not None:
            await self._send(reply)
        if reply is None or reply["type"] != "error":
            await self._send({"id": operation_id, "type": "complete"})

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._send_text(write_json(message))

    async def _send_text(self, text: str) -> None:
        if self._silent or self._socket.closed:
            return
        try:
            await self._socket.send_str(text)
        except ClientConnectionResetError:
            return
