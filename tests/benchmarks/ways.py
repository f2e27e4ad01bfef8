"""The ways to move one GraphQL operation that are compared: ours, the floor, and what else Python has."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import aiohttp
from gql import Client, GraphQLRequest
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from flash_driver.common import exact_json as wire
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import INVOICE_CREATE_USD
from flash_driver.flash_api.outcomes import Answer
from flash_driver.transports.base import perform
from flash_driver.transports.gql_client import GraphQLTransport
from flash_driver.transports.http import HttpTransport
from flash_driver.transports.websocket import WebSocketTransport
from flash_driver.transports.websocket.handshake import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from gql.transport import AsyncTransport

    from flash_driver.flash_api.documents import Operation
    from flash_driver.transports.base import Transport

    Call = Callable[[], Awaitable[None]]
    Way = Callable[["Address"], AbstractAsyncContextManager[Call]]

__all__ = ["FLOOR", "WAYS", "Address"]

_SUBPROTOCOL: Final = "graphql-transport-ws"
_FIELD: Final = "lnUsdInvoiceCreate"
_INPUT: Final[Mapping[str, object]] = {
    "walletId": "6c0d6ad9-1c7c-4ab5-a3e6-5d0a2a4a9a0e",
    "amount": Decimal("100.000000"),
    "memo": "coffee and a piece of cake",
    "expiresIn": 15,
}
_PATIENCE: Final = 60.0


class Address:
    """Where the server is, and with which token."""

    def __init__(self, server: str, websocket: str, token: str) -> None:
        self.server = server
        self.websocket = websocket
        self.headers = {"Authorization": f"Bearer {token}"}

    @property
    def endpoint(self) -> Endpoint:
        """The same for our transport."""
        return Endpoint(self.websocket, self.headers, self.headers)


def _operation() -> Operation:
    """Make the operation again for each call, as the driver does."""
    return INVOICE_CREATE_USD(input=_INPUT)


def _request() -> GraphQLRequest:
    """Make the same request for gql: the document is parsed already, the amount is a JSON number."""
    return GraphQLRequest(INVOICE_CREATE_USD.node, variable_values={"input": {**_INPUT, "amount": 100}})


async def _perform_ours(transport: Transport) -> None:
    evidence = await perform(transport, _operation(), Deadline.after(_PATIENCE))
    if not isinstance(evidence, Answer) or evidence.data is None or _FIELD not in evidence.data:
        raise AssertionError(f"not answered: {type(evidence).__name__}")


@contextlib.asynccontextmanager
async def _ours(transport: Transport) -> AsyncIterator[Call]:
    try:
        yield lambda: _perform_ours(transport)
    finally:
        await transport.aclose()


def _our_socket(address: Address) -> AbstractAsyncContextManager[Call]:
    return _ours(WebSocketTransport(address.endpoint))


def _our_sockets(address: Address) -> AbstractAsyncContextManager[Call]:
    return _ours(WebSocketTransport(address.endpoint, size=4))


def _our_http(address: Address) -> AbstractAsyncContextManager[Call]:
    return _ours(HttpTransport(address.server, address.headers))


def _our_graphql(address: Address) -> AbstractAsyncContextManager[Call]:
    return _ours(GraphQLTransport(address.server, address.headers))


@contextlib.asynccontextmanager
async def _gql(transport: AsyncTransport) -> AsyncIterator[Call]:
    client = Client(transport=transport, execute_timeout=_PATIENCE, fetch_schema_from_transport=False)
    async with client as session:

        async def call() -> None:
            if _FIELD not in await session.execute(_request()):
                raise AssertionError("not answered")

        yield call


def _our_socket_by_gql(address: Address) -> AbstractAsyncContextManager[Call]:
    return _gql(WebSocketTransport(address.endpoint))


def _gql_websockets(address: Address) -> AbstractAsyncContextManager[Call]:
    transport = WebsocketsTransport(
        address.websocket,
        headers=address.headers,
        init_payload=address.headers,
        subprotocols=[Subprotocol(_SUBPROTOCOL)],
        connect_args={"compression": None, "proxy": None},
    )
    return _gql(transport)


def _gql_aiohttp_websockets(address: Address) -> AbstractAsyncContextManager[Call]:
    transport = AIOHTTPWebsocketsTransport(
        address.websocket, headers=address.headers, init_payload=address.headers, subprotocols=[_SUBPROTOCOL]
    )
    return _gql(transport)


def _gql_httpx(address: Address) -> AbstractAsyncContextManager[Call]:
    return _gql(HTTPXAsyncTransport(address.server, headers=address.headers, timeout=_PATIENCE, trust_env=False))


@contextlib.asynccontextmanager
async def _raw_websockets(address: Address) -> AsyncIterator[Call]:
    """Send one text again and again; the caller that has waited longest gets the answer: no JSON, ids or deadline."""
    text = wire.encode({"id": "1", "type": "subscribe", "payload": _operation().payload})
    waiting: deque[asyncio.Future[None]] = deque()
    async with connect(
        address.websocket,
        additional_headers=address.headers,
        subprotocols=[Subprotocol(_SUBPROTOCOL)],
        compression=None,
        proxy=None,
    ) as socket:
        await socket.send(wire.encode({"type": "connection_init", "payload": address.headers}))
        await socket.recv()

        async def read() -> None:
            while True:
                await socket.recv()
                waiting.popleft().set_result(None)
                await socket.recv()  # the `complete` that follows each `next`

        async def call() -> None:
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(answered)
            await socket.send(text)
            await answered

        reader = asyncio.create_task(read())
        try:
            yield call
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


@contextlib.asynccontextmanager
async def _raw_picows(address: Address) -> AsyncIterator[Call]:
    """Do the same on picows, as it comes."""
    from tests.benchmarks.picows_floor import floor  # noqa: PLC0415 - no other way needs picows

    init = wire.write({"type": "connection_init", "payload": address.headers})
    text = wire.write({"id": "1", "type": "subscribe", "payload": _operation().payload})
    async with floor(address.websocket, address.headers, init, text) as call:
        yield call


@contextlib.asynccontextmanager
async def _raw_post(address: Address) -> AsyncIterator[Call]:
    """Post one text again and again with aiohttp, with its own defaults, and read the answers unparsed."""
    body = wire.encode(_operation().payload).encode()
    headers = {**address.headers, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def call() -> None:
            async with session.post(address.server, data=body) as response:
                await response.read()

        yield call


FLOOR: Final = "raw websockets"

WAYS: Final[Mapping[str, Way]] = {
    FLOOR: _raw_websockets,
    "raw picows": _raw_picows,
    "our socket": _our_socket,
    "our socket, pool-size=4": _our_sockets,
    "our socket, by gql's client": _our_socket_by_gql,
    "gql websockets": _gql_websockets,
    "gql aiohttp websockets": _gql_aiohttp_websockets,
    "raw aiohttp POST": _raw_post,
    "our http": _our_http,
    "our graphql (gql over httpx)": _our_graphql,
    "gql httpx": _gql_httpx,
}
"""By the name in the table; each gives a call that sends one operation and waits for its answer."""
