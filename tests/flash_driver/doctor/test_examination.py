"""The doctor in front of every kind of sandbox and fault."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.flash_driver.cli.commands import CANARY
from tests.flash_driver.doctor.examining import examined

if TYPE_CHECKING:
    from tests.flash_driver.conftest import StartSandbox

SOCKET_ROWS = ["WebSocket", "subprotocol", "connection_ack", "socket mutations", "subscription"]
LOOPBACK = ["DNS", "TLS"]
"""What can't be checked of a sandbox: it has an address and no TLS."""


async def test_server_that_executes_everything(sandbox: StartSandbox) -> None:
    """On a server that does all, nothing fails and every way is open."""
    server = await sandbox()
    seen = await examined(server.connection_string)
    assert (seen.failed, seen.skipped) == ([], LOOPBACK)
    assert seen.examination.creates == ["websocket", "http", "graphql", "public"]
    assert seen.examination.hears == ["subscription", "asking"]
    assert seen["token"].found == "ory session token, taken by WebSocket, HTTP, GraphQL client"
    assert seen["wallet"].found == f"{server.wallet_id[:8]}..., USD, network regtest"
    assert seen["price"].found == "97,531.86 USD per bitcoin"
    assert seen["clock"].found.startswith("the server's")


async def test_nothing_is_created_or_paid(sandbox: StartSandbox) -> None:
    """The examination leaves no trace in the server's books: it sends queries and one subscription."""
    server = await sandbox()
    await examined(server.connection_string)
    ledger = server.ledger_snapshot()
    assert (ledger["invoices"], ledger["payments"]) == ([], [])
    assert set(ledger["operations"]) <= {"__typename", "globals", "me", "myUpdates", "realtimePrice"}


@pytest.mark.parametrize(("kind", "words"), [("decline", "declines them"), ("close", "closes the socket on them")])
async def test_server_that_takes_subscriptions_only(sandbox: StartSandbox, kind: str, words: str) -> None:
    """Mutations fail on the socket and go over HTTP; the subscription works, on a new socket if need be."""
    server = await sandbox(ws_mutations=kind)
    seen = await examined(server.connection_string)
    assert seen.failed == ["socket mutations"]
    assert words in seen["socket mutations"].found
    assert "nothing to do as long as HTTP takes the token" in seen["socket mutations"].advice
    assert seen.examination.creates == ["http", "graphql", "public"]
    assert seen.examination.hears == ["subscription", "asking"]


async def test_http_that_takes_no_session_token(sandbox: StartSandbox) -> None:
    """Flash's known trouble: HTTP answers 401, the socket carries everything."""
    server = await sandbox(http_bearer="reject")
    seen = await examined(server.connection_string)
    assert seen.failed == ["HTTP route", "GraphQL client route"]
    assert seen["HTTP route"].found == "HTTP 401"
    assert "HTTP takes no session token here" in seen["HTTP route"].advice
    assert seen["token"].found == "ory session token, taken by WebSocket"
    assert seen.examination.creates == ["websocket", "public"]
    assert seen.examination.usable


@pytest.mark.parametrize("kind", ["decline", "close"])
async def test_only_in_public(sandbox: StartSandbox, kind: str) -> None:
    """Where the socket declines and HTTP refuses the token, fixed amounts are received in public."""
    server = await sandbox(ws_mutations=kind, http_bearer="reject")
    seen = await examined(server.connection_string)
    assert seen.examination.usable
    assert (seen.examination.creates, seen.examination.hears) == (["public"], ["subscription", "asking"])
    assert seen.failed == ["socket mutations", "HTTP route", "GraphQL client route"]
    assert "receiving a fixed amount" in seen["public API"].found
    assert "make an API key" in seen["public API"].advice
    assert {"token", "wallet", "price"} & set(seen.skipped) == set()


async def test_no_way_to_create(sandbox: StartSandbox) -> None:
    """Where even the public way is left out, the way out is an API key."""
    server = await sandbox(ws_mutations="decline", http_bearer="reject")
    seen = await examined(f"{server.connection_string};transports=websocket,http,graphql")
    assert not seen.examination.usable
    assert (seen.examination.creates, seen.examination.hears) == ([], ["subscription"])
    assert "make an API key" in seen.examination.way_out
    assert seen["token"].passed
    assert {"wallet", "price"} <= set(seen.skipped)


async def test_a_currency_without_a_price(sandbox: StartSandbox) -> None:
    """A subscription on which nothing is said at first is no failure; the server answers otherwise."""
    server = await sandbox(display_currency="XCD")
    seen = await examined(server.connection_string, 2.0)
    assert seen.failed in ([], ["public API"])
    assert seen["subscription"].found == "subscribed, nothing said yet"
    assert "subscription" in seen.examination.hears


async def test_api_key(sandbox: StartSandbox) -> None:
    """An API key opens no socket: invoices over HTTP, payments by asking, and a word about its scopes."""
    server = await sandbox(ws_mutations="decline", http_bearer="reject")
    seen = await examined(server.connection_string.replace(CANARY, server.api_key))
    assert seen.failed == []
    assert seen.skipped == [*LOOPBACK, *SOCKET_ROWS, "public API"]
    assert seen["WebSocket"].found == "an API key opens no WebSocket"
    assert "write:wallet" in seen["token"].advice
    assert (seen.examination.creates, seen.examination.hears) == (["http", "graphql"], ["asking"])


@pytest.mark.parametrize("token", ["ory_st_wrongWrongWrongWrongWrongWrong12", "fk_01234567_wrong", "other"])
@pytest.mark.parametrize("kind", ["accept", "decline"])
async def test_bad_token(sandbox: StartSandbox, kind: str, token: str) -> None:
    """`connection_ack` comes all the same; what fails is the token, everywhere, and a new one is needed."""
    server = await sandbox(ws_mutations=kind)
    seen = await examined(server.connection_string.replace(CANARY, token))
    assert "token" in seen.failed
    assert "log in to Flash again (flash-driver login)" in seen["token"].advice
    assert not seen.examination.usable
    if not token.startswith("fk_"):
        assert seen["connection_ack"].passed
        assert "subscription" in seen.failed


async def test_bad_token_is_not_called_dead_by_the_socket_alone(sandbox: StartSandbox) -> None:
    """A socket may have become anonymous by accident: without a word from HTTP the token may still be good."""
    server = await sandbox(ws_mutations="decline")
    server.expire_session()
    server.arm("http_status", status=503, operation="*", count=3)
    seen = await examined(server.connection_string)
    assert seen["token"].found == "the socket does not know it, and HTTP could not be asked"
    assert "try again later" in seen["token"].advice


async def test_wrong_path(sandbox: StartSandbox) -> None:
    """A path that leads nowhere is 404 on every way: check the path."""
    server = await sandbox()
    seen = await examined(server.connection_string.replace("/graphql;", "/nowhere;"))
    assert seen.failed == ["WebSocket", "HTTP route", "GraphQL client route", "public API"]
    assert "HTTP 404" in seen["WebSocket"].found
    for name in seen.failed[:3]:
        assert "check host and path" in seen[name].advice
    assert {"subscription", "token", "wallet", "price"} <= set(seen.skipped)
    assert not seen.examination.usable


async def test_refused_port() -> None:
    """Nothing listens: TCP fails with advice, and all that needs it is skipped."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        seen = await examined(f"type=flash;server=http://127.0.0.1:{port};token={CANARY};allowinsecure=true")
    assert seen.failed == ["TCP"]
    assert seen["TCP"].found == "the connection was refused"
    assert "nothing listens on this port" in seen["TCP"].advice
    assert {*SOCKET_ROWS, "HTTP route", "token", "clock"} <= set(seen.skipped)
    assert not seen.examination.usable


async def test_no_acknowledgement(sandbox: StartSandbox) -> None:
    """A server that connects and stays mute is told apart; HTTP carries the invoices meanwhile."""
    server = await sandbox()
    server.arm("no_ack")
    seen = await examined(server.connection_string, 0.7)
    assert seen.failed == ["connection_ack"]
    assert seen["connection_ack"].found == "no answer within 0.7 s"
    assert "invoices go over HTTP" in seen["connection_ack"].advice
    assert seen.examination.creates == ["http", "graphql", "public"]
    assert seen.examination.hears == ["asking"]


@pytest.mark.parametrize(
    ("status", "advice"), [(503, "try again in a few minutes"), (401, "refuses the token"), (429, "wait a minute")]
)
async def test_refused_handshake(sandbox: StartSandbox, status: int, advice: str) -> None:
    """A handshake that is answered with a status has advice by status."""
    server = await sandbox()
    server.arm("refuse_handshake", status=status)
    seen = await examined(server.connection_string)
    assert seen.failed == ["WebSocket"]
    assert advice in seen["WebSocket"].advice


@pytest.mark.parametrize(
    ("fault", "found", "advice"),
    [
        ({"kind": "http_status", "status": 500}, "HTTP 500", "trouble of its own"),
        ({"kind": "http_status", "status": 429}, "HTTP 429", "too many requests"),
        ({"kind": "garbage"}, "no GraphQL response", "check host and path"),
        ({"kind": "error", "message": "not today", "channel": "top", "code": "ODD"}, "not today", "in these words"),
        ({"kind": "error", "message": "slowly", "channel": "top", "code": "TOO_MANY_REQUESTS"}, "slowly", "too many"),
        ({"kind": "silent"}, "no answer", "too slow"),
    ],
)
async def test_faults_of_a_route(sandbox: StartSandbox, fault: dict[str, object], found: str, advice: str) -> None:
    """What one HTTP route meets is told with advice, and the other ways go on."""
    server = await sandbox()
    details = {key: value for key, value in fault.items() if key != "kind"}
    server.arm(str(fault["kind"]), operation="*", transport="http", **details)
    seen = await examined(server.connection_string, 2.0)
    assert seen.failed == ["HTTP route"]
    assert found in seen["HTTP route"].found
    assert advice in seen["HTTP route"].advice
    assert seen.examination.creates == ["websocket", "graphql", "public"]


async def test_probe_that_goes_wrong(sandbox: StartSandbox) -> None:
    """A question on the socket that is answered with an error of another kind leaves the socket out."""
    server = await sandbox()
    server.arm("error", operation="__typename", transport="websocket", channel="top", message="odd", code="ODD")
    seen = await examined(server.connection_string)
    assert seen.failed == ["socket mutations"]
    assert seen["socket mutations"].found == "odd"
    assert seen.examination.creates == ["http", "graphql", "public"]


@pytest.mark.parametrize("kind", ["silent", "close", "error"])
async def test_faults_of_the_subscription(sandbox: StartSandbox, kind: str) -> None:
    """A subscription that stays mute, breaks or is refused fails, and asking remains."""
    server = await sandbox()
    server.arm(kind, operation="myUpdates", when="before_execute", **({"message": "no"} if kind == "error" else {}))
    seen = await examined(server.connection_string, 1.0)
    assert seen.failed == ["subscription"]
    assert seen.examination.hears == ["asking"]


async def test_price_that_fails(sandbox: StartSandbox) -> None:
    """Without a price invoices can still be made, so the examination ends well."""
    server = await sandbox()
    server.arm("error", operation="realtimePrice", channel="top", message="no price", code="ODD")
    seen = await examined(server.connection_string)
    assert seen.failed == ["price"]
    assert seen["price"].found == "no price"
    assert "invoices can still be made" in seen["price"].advice
    assert seen.examination.usable


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        (";currency=BTC", "asks for BTC, but the account's wallets hold: USD"),
        (";wallet-id=00000000-0000-0000-0000-000000000000", "names no wallet of this account"),
    ],
)
async def test_wallet_that_is_not_there(sandbox: StartSandbox, extra: str, found: str) -> None:
    """A wallet or currency that the account does not have keeps invoices from being made."""
    server = await sandbox()
    seen = await examined(server.connection_string + extra)
    assert seen.failed == ["wallet"]
    assert found in seen["wallet"].found
    assert seen.examination.creates == []
    assert not seen.examination.usable


async def test_ways_that_are_left_out(sandbox: StartSandbox) -> None:
    """What `transports` leaves out is not examined, and is not counted."""
    server = await sandbox()
    seen = await examined(server.connection_string + ";transports=graphql")
    assert seen.skipped == [*LOOPBACK, *SOCKET_ROWS, "HTTP route", "public API"]
    assert seen.examination.creates == ["graphql"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"type=flash;tokn={CANARY}", "tokn"),
        (f"type=flash;token={CANARY};server=http://api.test", "not encrypted"),
        ("nonsense", "key=value"),
        ("type=clightning;server=unix://x", "type=clightning"),
        ("type=flash", "token"),
    ],
)
async def test_string_that_is_not_right(text: str, found: str) -> None:
    """A string that can't be used is the first row, and the rest is skipped."""
    seen = await examined(text)
    assert seen.failed == ["string"]
    assert found in seen["string"].found
    assert CANARY not in seen["string"].found
    assert len(seen.skipped) == 16
    assert not seen.examination.usable


async def test_environment_that_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad variable is not blamed on the connection string."""
    monkeypatch.setenv("FLASH_SETTLE_ON", "both")
    seen = await examined("type=flash;token=ory_st_x")
    assert seen.failed == ["string"]
    assert seen["string"].found == "the environment variable FLASH_SETTLE_ON must be 'query' or 'event'"
    assert "the connection string has no part in it" in seen["string"].advice
