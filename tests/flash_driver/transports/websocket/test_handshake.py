from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from websockets.typing import Subprotocol

from flash_driver.flash_api.outcomes import Cause, NotConnected
from flash_driver.transports.network import make_tls_context
from flash_driver.transports.websocket.handshake import ConnectionFailed, Endpoint
from tests.support.sockets import CERTIFICATE, Peer, accepting, free_port, served, shake_hands, untrusted_tls, within

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response


async def refusal(endpoint: Endpoint) -> ConnectionFailed:
    """Return why no handshake comes about."""
    with pytest.raises(ConnectionFailed) as caught:
        async with within():
            await shake_hands(endpoint)
    assert caught.value.__suppress_context__
    assert caught.value.evidence == NotConnected(caught.value.why, caught.value.cause)
    return caught.value


def at(port: int, scheme: str = "ws") -> Endpoint:
    """Return an endpoint on this machine."""
    return Endpoint(f"{scheme}://127.0.0.1:{port}/graphql", {}, {})


async def test_what_is_offered() -> None:
    """The handshake carries the credential as header, offers graphql-transport-ws alone and no compression."""
    async with served(Peer.serve_for_ever) as server:
        socket = await shake_hands(server.endpoint(headers={"Authorization": "Bearer t", "User-Agent": "u"}))
        peer = await server.peer()
        await socket.close()
    request = peer.socket.request
    assert request is not None
    assert request.headers["Authorization"] == "Bearer t"
    assert request.headers.get_all("User-Agent") == ["u"]
    assert request.headers.get_all("Sec-WebSocket-Protocol") == ["graphql-transport-ws"]
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert socket.subprotocol == "graphql-transport-ws"


async def test_nobody_listens() -> None:
    """A refused connection is told as such."""
    failure = await refusal(at(free_port()))
    assert (failure.why, failure.cause) == ("the connection was refused", Cause.UNREACHABLE)


async def test_several_addresses_refused() -> None:
    """A host with several addresses fails with the words of one of them."""
    failure = await refusal(Endpoint(f"ws://localhost:{free_port()}/graphql", {}, {}))
    assert failure.why == "the connection was refused"


async def test_host_not_found() -> None:
    """A name that does not exist is told as such."""
    failure = await refusal(Endpoint("ws://flash-driver.invalid/graphql", {}, {}))
    assert failure.why == "the host name was not found"


async def test_host_that_can_not_exist() -> None:
    """A name that can't even be looked up is no crash."""
    failure = await refusal(Endpoint(f"ws://{'a' * 64}.invalid/graphql", {}, {}))
    assert failure.why.startswith("could not connect")


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, Cause.CREDENTIAL),
        (403, Cause.UNREACHABLE),
        (404, Cause.UNREACHABLE),
        (429, Cause.UNREACHABLE),
        (503, Cause.UNREACHABLE),
    ],
)
async def test_handshake_answered_with_a_status(status: int, cause: Cause) -> None:
    """A status on the upgrade is told, and those about the token are known as such."""

    def refuse(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no c0ffee")

    async with served(Peer.serve_for_ever, process_request=refuse) as server:
        failure = await refusal(server.endpoint())
    assert (failure.why, failure.cause) == (f"the handshake was answered with HTTP {status}", cause)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """A redirect carries the token nowhere."""
    async with served(Peer.serve_for_ever) as elsewhere:

        def redirect(connection: ServerConnection, _request: Request) -> Response:
            response = connection.respond(HTTPStatus(status), "")
            response.headers["Location"] = elsewhere.url
            return response

        async with served(Peer.serve_for_ever, process_request=redirect) as server:
            failure = await refusal(server.endpoint())
        assert elsewhere.peers == []
    assert failure.why == f"the handshake was answered with HTTP {status}"


async def test_server_of_another_subprotocol() -> None:
    """A server that insists on the legacy protocol is not spoken to."""

    def legacy(_connection: ServerConnection, _offered: object) -> Subprotocol:
        return Subprotocol("graphql-ws")

    async with served(Peer.serve_for_ever, select_subprotocol=legacy) as server:
        failure = await refusal(server.endpoint())
    assert failure.why == "the server does not speak graphql-transport-ws"


@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"\0"]
)
async def test_not_a_websocket_server(reply: bytes) -> None:
    """A server of another kind is refused in one sentence."""
    async with accepting(reply, hold=False) as port:
        failure = await refusal(at(port))
    assert failure.why.startswith("the handshake ")


async def test_server_that_hangs_up() -> None:
    """A connection that ends before the handshake is answered is a failure, not an exception of another kind."""
    async with accepting(hold=False) as port:
        failure = await refusal(at(port))
    assert failure.cause is Cause.UNREACHABLE


async def test_certificate_that_nobody_vouches_for() -> None:
    """TLS is always verified; there is no way to switch that off."""
    async with served(Peer.serve_for_ever, ssl=untrusted_tls()) as server:
        given = await refusal(server.endpoint(tls=make_tls_context()))
        default = await refusal(server.endpoint())
        assert server.peers == []
    assert given.why == default.why == "the server's certificate was not accepted (self-signed certificate)"


async def test_certificate_for_another_name() -> None:
    """A trusted certificate for another host is refused as well."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    async with served(Peer.serve_for_ever, ssl=untrusted_tls(), host="127.0.0.2") as server:
        failure = await refusal(server.endpoint(tls=trusting))
        assert server.peers == []
    assert failure.why.startswith("the server's certificate was not accepted (IP address mismatch")


async def test_tls_with_a_server_that_has_none() -> None:
    """A server without TLS is not spoken to in the clear."""
    async with accepting(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        failure = await refusal(at(port, "wss"))
    assert failure.why.startswith("TLS failed (")


async def test_trusted_certificate_is_accepted() -> None:
    """With a certificate that is vouched for, the same server is connected to."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    async with served(Peer.serve_for_ever, ssl=untrusted_tls()) as server:
        socket = await shake_hands(server.endpoint(tls=context))
        await socket.close()


def test_endpoint_shows_no_token() -> None:
    """Neither repr nor str of an endpoint tells what it holds."""
    endpoint = Endpoint("ws://x/", {"Authorization": "Bearer c0ffee"}, {"Authorization": "Bearer c0ffee"})
    assert "c0ffee" not in f"{endpoint!r} {endpoint}"
