from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.documents import PAY, PROBE
from flash_driver.flash_api.outcomes import Answer, Cause, Evidence, Garbage, NotConnected, TimedOut
from flash_driver.transports.base import perform
from flash_driver.transports.gql_client import GraphQLTransport, PrintedRequest
from tests.support.routes import HEADERS, Routes
from tests.support.web import REPLIES, Reply

if TYPE_CHECKING:
    import ssl

    import respx

URL = "https://api.flash.example/graphql"


class TestGraphQL(Routes):
    """The full GraphQL client keeps every promise of an HTTP route."""

    def make(self, url: str, tls: ssl.SSLContext | None = None) -> GraphQLTransport:
        """Make the transport."""
        return GraphQLTransport(url, HEADERS, tls)


async def ask(transport: GraphQLTransport) -> Evidence:
    """Perform one operation, and close the transport."""
    try:
        return await perform(transport, PROBE(), Deadline.after(20))
    finally:
        await transport.aclose()


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES.keys())
async def test_reply(reply: Reply, respx_mock: respx.MockRouter) -> None:
    """Each reply that httpx may hand over means exactly this."""
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    route = respx_mock.post(URL).respond(reply.status, content=body, headers=dict(reply.headers))
    assert await ask(GraphQLTransport(URL, HEADERS)) == reply.means
    assert route.call_count == 1
    assert route.calls.last.request.headers["Authorization"] == "Bearer ory_st_test"


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (httpx.ConnectTimeout("c0ffee"), NotConnected("not connected in time", Cause.SLOW)),
        (httpx.PoolTimeout("c0ffee"), NotConnected("not connected in time", Cause.SLOW)),
        (httpx.ReadTimeout("c0ffee"), TimedOut()),
        (httpx.WriteTimeout("c0ffee"), TimedOut()),
        (httpx.ReadError("c0ffee"), Garbage("the connection was lost (ReadError)")),
        (httpx.WriteError("c0ffee"), Garbage("the connection was lost (WriteError)")),
        (httpx.RemoteProtocolError("c0ffee"), Garbage("the connection was lost (RemoteProtocolError)")),
    ],
)
async def test_error(error: httpx.TransportError, means: Evidence, respx_mock: respx.MockRouter) -> None:
    """Each error of httpx says whether anything may have been written, and shows nothing of its text."""
    respx_mock.post(URL).mock(side_effect=error)
    assert await ask(GraphQLTransport(URL, HEADERS)) == means


async def test_trouble_beyond_httpx(respx_mock: respx.MockRouter) -> None:
    """An error of a kind that nobody thought of leaves it unknown what was written."""
    respx_mock.post(URL).mock(side_effect=ZeroDivisionError("c0ffee"))
    assert await ask(GraphQLTransport(URL, HEADERS)) == Garbage("the connection was lost (ZeroDivisionError)")


async def test_outer_deadline(respx_mock: respx.MockRouter) -> None:
    """Time is up when the deadline says so, whatever httpx thinks."""

    async def hesitate(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(20)
        return httpx.Response(200)

    respx_mock.post(URL).mock(side_effect=hesitate)
    transport = GraphQLTransport(URL, HEADERS)
    assert await perform(transport, PROBE(), Deadline.after(0.05)) == TimedOut()
    await transport.aclose()


async def test_deadline_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that runs out while the client is still being made, or connects, is time before anything was written."""

    async def dawdle(_transport: GraphQLTransport) -> None:
        await asyncio.sleep(20)

    transport = GraphQLTransport(URL, HEADERS)
    monkeypatch.setattr(GraphQLTransport, "_connected_session", dawdle)
    evidence = await perform(transport, PROBE(), Deadline.after(0.05))
    assert evidence == NotConnected("not connected in time", Cause.SLOW)


async def test_first_requests_share_one_session(respx_mock: respx.MockRouter) -> None:
    """Requests that come together on a cold transport make one client."""
    respx_mock.post(URL).respond(200, json={"data": {"a": 1}})
    transport = GraphQLTransport(URL, HEADERS)
    answers = await asyncio.gather(*(perform(transport, PROBE(), Deadline.after(20)) for _ in range(10)))
    assert answers == [Answer({"a": 1})] * 10
    await transport.aclose()


def test_request_goes_out_as_written() -> None:
    """The request that gql gets carries the document's own text, its name and variables."""
    operation = PAY(input={"a": 1})
    request = PrintedRequest(operation)
    assert request.payload == operation.payload
    assert request.payload["query"] is PAY.text
    assert (request.operation_name, request.variable_values) == ("Pay", {"input": {"a": 1}})


def test_name() -> None:
    """It answers to the name in the connection string, and shows nothing of its headers."""
    transport = GraphQLTransport("http://x/", {"Authorization": "Bearer c0ffee"})
    assert transport.name == "graphql"
    assert "c0ffee" not in repr(transport)
