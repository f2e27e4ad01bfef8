from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import websockets
from aiohttp import WSMsgType

from tests.flash_driver.sandbox.clients import CREATE, ME, TIMEOUT, UPDATES, until
from tests.support.waiting import HELD

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab, Socket
    from tests.flash_driver.sandbox.conftest import StartLab

ONLY = "Only subscription operations are supported"


def _order(lab: Lab) -> dict[str, Any]:
    return {"walletId": lab.sandbox.wallet_id, "amount": 100}


async def test_a_mutation_can_be_executed_on_the_socket(lab: Lab) -> None:
    """The reply is one `next` and a `complete`, told apart from subscription events by its id."""
    socket = await lab.socket(lab.bearer)
    await socket.subscribe("updates", UPDATES)
    assert {(await socket.receive())["id"] for _ in range(2)} == {"updates"}
    payload = await socket.ask("create", CREATE, input=_order(lab))
    assert payload["data"]["lnUsdInvoiceCreate"]["invoice"]["paymentHash"]
    assert lab.counted("lnUsdInvoiceCreate", "websocket") == (1, 1)


async def test_declining_is_exact_and_leaves_the_socket_alone(start_lab: StartLab) -> None:
    """Queries and mutations get the known frame before validation, and subscriptions go on."""
    lab = await start_lab(ws_mutations="decline")
    socket = await lab.socket()
    for operation in (CREATE, ME, "query { __typename }", "{ nonsense }"):
        await socket.subscribe("x", operation)
        assert await socket.receive() == {"id": "x", "type": "error", "payload": [{"message": ONLY}]}
    await socket.subscribe("updates", UPDATES)
    assert (await socket.receive())["type"] == "next"
    assert lab.counted("lnUsdInvoiceCreate", "websocket") == (1, 0)
    assert lab.sandbox.ledger_snapshot()["invoices"] == []


async def test_an_old_server_closes_the_whole_socket(start_lab: StartLab) -> None:
    """`close` takes all subscriptions down with 4500 and says why."""
    lab = await start_lab(ws_mutations="close")
    socket = await lab.socket()
    await socket.subscribe("probe", "query { __typename }")
    assert await socket.closed() == (4500, ONLY)
    assert lab.counted("__typename", "websocket") == (1, 0)


@pytest.mark.parametrize("offer", [("graphql-transport-ws",), ("graphql-ws", "graphql-transport-ws")])
async def test_the_new_protocol_is_picked(lab: Lab, offer: tuple[str, ...]) -> None:
    """It wins also where the legacy one is offered first."""
    socket = await lab.raw_socket(*offer)
    assert socket.connection.protocol == "graphql-transport-ws"


@pytest.mark.parametrize("offer", [None, ["graphql-ws"]])
async def test_without_the_protocol_the_socket_opens_and_closes(lab: Lab, offer: list[Any] | None) -> None:
    """No subprotocol is answered, and the connection ends with 4406."""
    async with websockets.connect(lab.sandbox.websocket, subprotocols=offer) as socket:
        assert socket.subprotocol is None
        with pytest.raises(websockets.ConnectionClosedError):
            await asyncio.wait_for(socket.recv(), TIMEOUT)
        assert socket.close_code == 4406


async def _subscribe_too_early(socket: Socket) -> None:
    await socket.subscribe("1", ME)


async def _init_twice(socket: Socket) -> None:
    await socket.init()
    await socket.send(type="connection_init")


async def _use_an_id_twice(socket: Socket) -> None:
    await socket.init()
    await socket.subscribe("1", "subscription { realtimePrice(input: {}) { errors { message } } }")
    await socket.receive()
    await socket.subscribe("1", ME)


async def _send_no_json(socket: Socket) -> None:
    await socket.connection.send_str("hello")


async def _send_an_unknown_type(socket: Socket) -> None:
    await socket.send(type="unsubscribe", id="1")


async def _send_no_query(socket: Socket) -> None:
    await socket.init()
    await socket.send(type="subscribe", id="1", payload={"operation": ME})


async def _send_a_syntax_error(socket: Socket) -> None:
    await socket.init()
    await socket.subscribe("1", "{ me {")


async def _say_nothing(_: Socket) -> None:
    return


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (_subscribe_too_early, 4401),
        (_init_twice, 4429),
        (_use_an_id_twice, 4409),
        (_send_no_json, 4400),
        (_send_an_unknown_type, 4400),
        (_send_no_query, 4400),
        (_send_a_syntax_error, 4500),
        (_say_nothing, 4408),
    ],
)
async def test_who_breaks_the_protocol_is_closed_with_its_code(start_lab: StartLab, behave: Any, code: int) -> None:
    """Each breach of graphql-transport-ws has the close code of graphql-ws 5.16."""
    lab = await start_lab(init_timeout_seconds=0.05 if code == 4408 else 3.0)
    socket = await lab.raw_socket()
    await behave(socket)
    assert (await socket.closed())[0] == code


async def test_an_application_ping_gets_a_pong(lab: Lab) -> None:
    """Also before the acknowledgement; a pong needs no answer."""
    socket = await lab.raw_socket()
    await socket.send(type="pong")
    await socket.send(type="ping")
    assert await socket.receive() == {"type": "pong"}


async def test_a_control_ping_gets_a_pong(lab: Lab) -> None:
    """The WebSocket's own pings are answered as well."""
    async with websockets.connect(lab.sandbox.websocket, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await asyncio.wait_for(await socket.ping(), TIMEOUT)


async def test_frames_may_be_binary(lab: Lab) -> None:
    """The `ws` package hands text and binary frames on alike."""
    socket = await lab.raw_socket()
    await socket.connection.send_bytes(json.dumps({"type": "connection_init"}).encode())
    assert await socket.receive() == {"type": "connection_ack"}


async def test_who_answers_pings_stays(start_lab: StartLab) -> None:
    """The server pings, and a peer that answers is kept."""
    lab = await start_lab(ping_seconds=0.02)
    socket = await lab.raw_socket(autoping=False)
    for _ in range(3):
        message = await socket.connection.receive(timeout=TIMEOUT)
        assert message.type is WSMsgType.PING
        await socket.connection.pong(message.data)


async def test_who_misses_a_ping_is_dropped(start_lab: StartLab) -> None:
    """A peer that didn't answer until the next ping loses its connection, without a close frame."""
    lab = await start_lab(ping_seconds=0.02)
    socket = await lab.raw_socket(autoping=False)
    async with asyncio.timeout(TIMEOUT):
        while (message := await socket.connection.receive()).type is WSMsgType.PING:
            pass
    assert message.type is not WSMsgType.CLOSE


@pytest.mark.parametrize(
    "payload",
    [{}, {"Authorization": "Bearer ory_st_nobody"}, {"authorization": "Bearer {token}"}, {"Authorization": 5}],
)
async def test_a_bad_token_is_acknowledged_and_then_nobody(lab: Lab, payload: dict[str, Any]) -> None:
    """An acknowledgement proves nothing: the subscription fails as graphql-ws tells it, without data."""
    payload = {key: str(value).replace("{token}", lab.sandbox.token) for key, value in payload.items()}
    socket = await lab.socket(payload)
    answer = await socket.ask("1", UPDATES)
    (error,) = answer["errors"]
    assert error["message"] == "Not Authenticated for subscription"
    assert error["extensions"] == {"code": "NOT_AUTHENTICATED"}
    assert "data" not in answer
    assert lab.counted("myUpdates", "websocket") == (1, 0)


async def test_nobody_is_told_so_with_a_code_on_the_socket(lab: Lab) -> None:
    """On the socket the code stands in the extensions."""
    socket = await lab.socket({})
    answer = await socket.ask("1", ME)
    assert answer["data"] == {"me": None}
    assert answer["errors"][0]["extensions"] == {"code": "NOT_AUTHENTICATED"}


async def test_an_api_key_is_not_read_on_the_socket(lab: Lab) -> None:
    """Neither as a header nor in the payload."""
    socket = await lab.raw_socket(headers={"X-API-KEY": lab.sandbox.api_key})
    await socket.init({"X-API-KEY": lab.sandbox.api_key})
    assert "errors" in await socket.ask("1", ME)


async def test_the_first_seven_characters_are_cut_off_unseen(lab: Lab) -> None:
    """Flash doesn't look whether they spell `Bearer `."""
    socket = await lab.socket({"Authorization": "1234567" + lab.sandbox.token})
    assert "errors" not in await socket.ask("1", ME)


async def test_an_expired_session_lives_on_until_the_next_connection(lab: Lab) -> None:
    """Sessions are kept by header: a later socket with the same one makes the earlier anonymous too."""
    first = await lab.socket()
    lab.sandbox.expire_session()
    assert "errors" not in await first.ask("1", ME)
    await lab.socket()
    assert "errors" in await first.ask("2", ME)
    lab.sandbox.expire_session(expired=False)
    await lab.socket()
    assert "errors" not in await first.ask("3", ME)


async def test_validation_errors_concern_their_operation_only(lab: Lab) -> None:
    """An invalid document gets an `error` frame without a `complete`, and the socket stays."""
    socket = await lab.socket()
    await socket.subscribe("1", "{ nonsense }")
    frame = await socket.receive()
    assert (frame["id"], frame["type"]) == ("1", "error")
    assert set(frame["payload"][0]) == {"message", "locations"}
    assert "errors" not in await socket.ask("1", ME)


async def test_an_ambiguous_document_is_declined(lab: Lab) -> None:
    """Several operations and no name: the operation can't be identified."""
    socket = await lab.socket()
    await socket.subscribe("1", "query A { me { id } } query B { me { id } }")
    frame = await socket.receive()
    assert frame == {"id": "1", "type": "error", "payload": [{"message": "Unable to identify operation"}]}


async def test_a_completed_subscription_is_over(lab: Lab) -> None:
    """After the client's `complete` nothing more comes for the id, which can be used again."""
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    await socket.send(type="complete", id="1")
    await socket.send(type="complete", id="unknown")
    await socket.send(type="ping")
    assert await socket.receive() == {"type": "pong"}
    lab.sandbox.set_price()
    assert "errors" not in await socket.ask("1", ME)


async def test_a_mutation_outlives_its_client(lab: Lab) -> None:
    """A client that hangs up in the middle of a payment has paid."""
    foreign = lab.sandbox.foreign_invoice(1000)
    lab.sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    socket = await lab.socket()
    send = "mutation S($input: LnInvoicePaymentInput!) { lnInvoicePaymentSend(input: $input) { status } }"
    order = {"walletId": lab.sandbox.wallet_id, "paymentRequest": foreign.payment_request}
    await socket.subscribe("1", send, input=order)
    await until(lambda: lab.sandbox.ledger_snapshot()["payments"] != [])
    await socket.connection.close()
    lab.sandbox.clear_faults()
    await until(lambda: lab.sandbox.ledger_snapshot()["payments"][0]["status"] == "SUCCESS")
    assert lab.counted("lnInvoicePaymentSend", "websocket") == (1, 1)


async def test_sockets_are_counted(lab: Lab) -> None:
    """The ledger knows how many sockets were opened, acknowledged, and are open."""
    socket = await lab.socket()
    await lab.raw_socket()
    await socket.connection.close()
    await until(lambda: lab.sandbox.ledger_snapshot()["connections"]["open"] == 1)
    connections = lab.sandbox.ledger_snapshot()["connections"]
    assert (connections["opened"], connections["acknowledged"]) == (2, 1)
