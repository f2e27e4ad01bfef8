from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError, WSMessage, WSMsgType

from flash_driver.sandbox import BadFaultError
from flash_driver.sandbox.faults import KINDS, Fault, Faults, parse_fault
from tests.flash_driver.sandbox.clients import CREATE, ME, TIMEOUT, UPDATES, until
from tests.support.waiting import HELD

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab, Socket
    from tests.flash_driver.sandbox.conftest import StartLab

BOTH_MOMENTS = pytest.mark.parametrize(("when", "executed"), [("before_execute", 0), ("after_execute", 1)])


def _order(lab: Lab) -> dict[str, Any]:
    return {"walletId": lab.sandbox.wallet_id, "amount": 100}


async def _create(lab: Lab, socket: Socket) -> None:
    await socket.subscribe("create", CREATE, input=_order(lab))


async def _executed(lab: Lab, count: int) -> None:
    """Wait until that many invoices were created, of one that was asked for."""
    transport = "websocket" if lab.counted("lnUsdInvoiceCreate", "websocket")[0] else "http"
    await until(lambda: lab.counted("lnUsdInvoiceCreate", transport) == (1, count))
    assert len(lab.sandbox.ledger_snapshot()["invoices"]) == count


async def _silence(socket: Socket) -> None:
    """Make sure that the socket doesn't answer: its pings neither, while TCP stays up."""
    await socket.send(type="ping")
    await socket.connection.ping()
    with pytest.raises(TimeoutError):
        await socket.connection.receive(timeout=0.05)
    assert not socket.connection.closed


async def _next(socket: Socket) -> WSMessage | None:
    """Wait for a frame; None if none comes for much longer than the server pings."""
    try:
        return await socket.connection.receive(timeout=0.1)
    except TimeoutError:
        return None


# --- on the socket ----------------------------------------------------------------------------------------------


@BOTH_MOMENTS
async def test_close_ends_the_socket_with_its_code(lab: Lab, when: str, executed: int) -> None:
    """Before the execution nothing happens; after it the reply is lost."""
    lab.sandbox.arm("close", code=4500, when=when)
    socket = await lab.socket()
    await _create(lab, socket)
    assert (await socket.closed())[0] == 4500
    await _executed(lab, executed)


@BOTH_MOMENTS
async def test_reset_breaks_the_connection(lab: Lab, when: str, executed: int) -> None:
    """No close frame comes: the connection is just gone."""
    lab.sandbox.arm("reset", when=when)
    socket = await lab.socket()
    await _create(lab, socket)
    assert (await socket.closed())[0] is None
    await _executed(lab, executed)


@BOTH_MOMENTS
async def test_silence_keeps_tcp_up(lab: Lab, when: str, executed: int) -> None:
    """The socket answers nothing any more, and another one is fine."""
    lab.sandbox.arm("silent", when=when)
    socket = await lab.socket()
    await _create(lab, socket)
    await lab.struck()
    await _silence(socket)
    await _executed(lab, executed)
    assert "errors" not in await (await lab.socket()).ask("1", ME)


@BOTH_MOMENTS
async def test_delay_only_delays(lab: Lab, when: str, executed: int) -> None:
    """The reply comes, later; meanwhile the operation has been executed or not."""
    lab.sandbox.arm("delay", seconds=HELD, when=when)
    socket = await lab.socket()
    await _create(lab, socket)
    await socket.send(type="ping")
    assert await socket.receive() == {"type": "pong"}
    if executed == 0:
        assert lab.counted("lnUsdInvoiceCreate", "websocket")[1] == 0
    await lab.struck()
    lab.sandbox.clear_faults()
    assert (await socket.receive())["id"] == "create"
    await _executed(lab, 1)


async def test_a_delayed_mutation_outlives_its_client(lab: Lab) -> None:
    """A client that gives up while it waits finds it executed afterwards, on either transport."""
    lab.sandbox.arm("delay", seconds=HELD)
    socket = await lab.socket()
    await _create(lab, socket)
    await lab.struck()
    await socket.connection.close()
    lab.sandbox.clear_faults()
    await _executed(lab, 1)
    lab.sandbox.reset()
    lab.sandbox.arm("delay", seconds=HELD)
    creating = asyncio.create_task(lab.create())
    await lab.struck()
    creating.cancel()
    await asyncio.wait([creating])
    lab.sandbox.clear_faults()
    await _executed(lab, 1)


@pytest.mark.parametrize("mode", ["decline", "close"])
async def test_a_refusal_can_be_delayed(start_lab: StartLab, mode: str) -> None:
    """A server that executes nothing takes its time over saying so."""
    lab = await start_lab(ws_mutations=mode)
    lab.sandbox.arm("delay", seconds=0.01)
    socket = await lab.socket()
    await _create(lab, socket)
    if mode == "close":
        assert (await socket.closed())[0] == 4500
    else:
        assert (await socket.receive())["type"] == "error"
    await _executed(lab, 0)


@BOTH_MOMENTS
@pytest.mark.parametrize("kind", ["garbage", "truncate"])
async def test_a_broken_reply_is_no_json(lab: Lab, kind: str, when: str, executed: int) -> None:
    """Something comes, and nobody can read it; the socket stays."""
    lab.sandbox.arm(kind, when=when)
    socket = await lab.socket()
    await _create(lab, socket)
    text = await socket.connection.receive_str(timeout=TIMEOUT)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    await _executed(lab, executed)
    assert "errors" not in await socket.ask("create", ME)


async def test_decline_makes_an_accepting_server_decline(lab: Lab) -> None:
    """For as many mutations as it is armed for."""
    lab.sandbox.arm("decline", count=2)
    socket = await lab.socket()
    for _ in range(2):
        await _create(lab, socket)
        frame = await socket.receive()
        assert frame["payload"] == [{"message": "Only subscription operations are supported"}]
    assert "errors" not in await socket.ask("create", CREATE, input=_order(lab))
    assert lab.counted("lnUsdInvoiceCreate", "websocket") == (3, 1)


async def test_a_handshake_can_be_refused(lab: Lab) -> None:
    """The upgrade is answered with a status, once."""
    lab.sandbox.arm("refuse_handshake", status=403)
    with pytest.raises(ClientError, match="403"):
        await lab.raw_socket()
    await lab.socket()
    assert lab.sandbox.ledger_snapshot()["connections"]["refused_handshakes"] == 1


async def test_an_acknowledgement_can_fail_to_come(lab: Lab) -> None:
    """The socket is open and lives, but nobody is acknowledged."""
    lab.sandbox.arm("no_ack")
    socket = await lab.raw_socket()
    await socket.send(type="connection_init")
    await socket.send(type="ping")
    assert await socket.receive() == {"type": "pong"}
    await lab.socket()


async def test_now_strikes_every_open_socket(lab: Lab) -> None:
    """Nothing needs to happen first, and nothing stays armed."""
    sockets = [await lab.socket() for _ in range(2)]
    lab.sandbox.arm("close", when="now", code=4000)
    assert [(await socket.closed())[0] for socket in sockets] == [4000, 4000]
    assert lab.sandbox.ledger_snapshot()["faults_armed"] == 0


@pytest.mark.parametrize("kind", ["reset", "silent", "garbage"])
async def test_other_faults_can_strike_now(lab: Lab, kind: str) -> None:
    """A reset, silence, or garbage out of the blue."""
    socket = await lab.socket()
    lab.sandbox.arm(kind, when="now")
    if kind == "silent":
        await _silence(socket)
    elif kind == "reset":
        assert (await socket.closed())[0] is None
    else:
        assert (await socket.connection.receive(timeout=TIMEOUT)).type is WSMsgType.TEXT


async def test_a_silent_socket_is_not_pinged(start_lab: StartLab) -> None:
    """The server's own pings cease as well, and it doesn't miss the answers."""
    lab = await start_lab(ping_seconds=0.01)
    socket = await lab.raw_socket(autoping=False)
    lab.sandbox.arm("silent", when="now")
    async with asyncio.timeout(TIMEOUT):
        while (message := await _next(socket)) is not None:
            assert message.type is WSMsgType.PING


async def test_a_silent_socket_swallows_events(lab: Lab) -> None:
    """A settlement that happens meanwhile is never heard there."""
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    lab.sandbox.arm("silent", when="now")
    await _silence(socket)
    lab.sandbox.pay((await lab.invoice())["paymentRequest"])
    await _silence(socket)


async def test_a_fault_waits_for_its_operation(lab: Lab) -> None:
    """With an `operation` it strikes that field only, also a query; `*` strikes anything."""
    lab.sandbox.arm("close", code=4001, operation="me")
    lab.sandbox.arm("close", code=4002, operation="*")
    first = await lab.socket()
    await first.subscribe("1", ME)
    assert (await first.closed())[0] == 4001
    second = await lab.socket()
    await second.subscribe("1", "{ __typename }")
    assert (await second.closed())[0] == 4002


async def test_a_subscription_can_be_struck(lab: Lab) -> None:
    """An error fails it as graphql-ws tells it, a delay delays it."""
    lab.sandbox.arm("error", operation="myUpdates", code="UNKNOWN_CLIENT_ERROR", message="no")
    lab.sandbox.arm("delay", operation="myUpdates", seconds=0.01)
    socket = await lab.socket()
    answer = await socket.ask("1", UPDATES)
    (error,) = answer["errors"]
    assert (error["message"], error["path"]) == ("no", ["myUpdates"])
    assert error["extensions"] == {"code": "UNKNOWN_CLIENT_ERROR"}
    await socket.subscribe("2", UPDATES)
    await socket.event("RealtimePrice")


async def test_a_fault_waits_for_its_transport(lab: Lab) -> None:
    """What is armed for the socket leaves HTTP alone."""
    lab.sandbox.arm("error", transport="websocket")
    assert (await lab.create())["errors"] == []
    socket = await lab.socket()
    payload = await socket.ask("1", CREATE, input=_order(lab))
    assert payload["data"]["lnUsdInvoiceCreate"]["errors"][0]["message"] == "The sandbox was told to refuse this"


# --- over HTTP --------------------------------------------------------------------------------------------------


@BOTH_MOMENTS
@pytest.mark.parametrize("kind", ["close", "reset"])
async def test_a_request_can_lose_its_connection(lab: Lab, kind: str, when: str, executed: int) -> None:
    """Before the execution nothing happens; after it the reply is lost."""
    lab.sandbox.arm(kind, when=when)
    with pytest.raises(ClientError):
        await lab.create()
    await _executed(lab, executed)
    assert (await lab.create())["errors"] == []


@BOTH_MOMENTS
async def test_a_request_can_stay_without_an_answer(lab: Lab, when: str, executed: int) -> None:
    """The connection stays up, and nothing comes."""
    lab.sandbox.arm("silent", when=when)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lab.create(), 0.1)
    await _executed(lab, executed)


@BOTH_MOMENTS
async def test_a_request_can_be_delayed(lab: Lab, when: str, executed: int) -> None:
    """In the end it is answered as ever."""
    lab.sandbox.arm("delay", seconds=0.01, when=when)
    assert (await lab.create())["errors"] == []
    await _executed(lab, 1)
    assert executed in {0, 1}


@BOTH_MOMENTS
async def test_an_answer_can_be_a_page_of_html(lab: Lab, when: str, executed: int) -> None:
    """As a proxy's error page with the wrong status."""
    lab.sandbox.arm("garbage", when=when)
    reply = await lab.http(CREATE, input=_order(lab))
    assert (reply.status, reply.content_type) == (200, "text/html")
    await _executed(lab, executed)


@BOTH_MOMENTS
async def test_an_answer_can_be_cut(lab: Lab, when: str, executed: int) -> None:
    """Half a JSON text is none."""
    lab.sandbox.arm("truncate", when=when)
    with pytest.raises(json.JSONDecodeError):
        await lab.http(CREATE, input=_order(lab))
    await _executed(lab, executed)


@BOTH_MOMENTS
@pytest.mark.parametrize("status", [401, 500, 502, 504])
async def test_a_request_can_get_a_status(lab: Lab, status: int, when: str, executed: int) -> None:
    """A gateway may answer in place of the server, whether or not the server has worked."""
    lab.sandbox.arm("http_status", status=status, when=when)
    reply = await lab.http(CREATE, input=_order(lab))
    assert (reply.status, reply.content_type) == (status, "text/html")
    await _executed(lab, executed)


async def test_a_status_can_say_when_to_come_back(lab: Lab) -> None:
    """Retry-After is sent if it is given."""
    lab.sandbox.arm("http_status", status=503, retry_after=7, operation="*")
    async with lab.session.post(lab.sandbox.server, json={"query": "{ __typename }"}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")


async def test_a_payload_can_be_made_to_refuse(lab: Lab) -> None:
    """The mutation answers with the error in its payload, and isn't executed."""
    lab.sandbox.arm("error", code="DB_ERROR", message="out of order")
    assert (await lab.create())["errors"] == [{"message": "out of order", "code": "DB_ERROR", "path": None}]
    assert lab.counted("lnUsdInvoiceCreate", "http") == (1, 0)


@pytest.mark.parametrize("base", [0, -1, 2**53 - 1])
async def test_a_price_can_be_absurd(lab: Lab, base: int) -> None:
    """The next reading of the price is nonsense, wherever it is read; the one after is right."""
    query = "{ realtimePrice { btcSatPrice { base } } }"
    lab.sandbox.arm("wrong_price", base=base)
    bases = [(await lab.http(query)).data["realtimePrice"]["btcSatPrice"]["base"] for _ in range(2)]
    assert bases == [base, 97531860000]


async def test_an_error_can_stand_at_the_top(lab: Lab) -> None:
    """The data is null, and the code is where the transport puts it; a query knows no other place."""
    lab.sandbox.arm("error", code="INTERNAL_SERVER_ERROR", channel="top")
    reply = await lab.http(CREATE, input=_order(lab))
    assert (reply.status, reply.body["data"], reply.error["code"]) == (200, None, "INTERNAL_SERVER_ERROR")
    lab.sandbox.arm("error", operation="me")
    reply = await lab.http(ME)
    assert (reply.body["data"], reply.error["path"]) == (None, ["me"])


# --- arming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "unknown fault kind None"),
        ({"kind": "explode"}, "unknown fault kind 'explode'"),
        ({"kind": ["close"]}, "unknown fault kind"),
        ({"kind": "close", "color": "red"}, "takes no 'color'"),
        ({"kind": "close", "code": 99}, "can't take 99 as 'code'"),
        ({"kind": "close", "when": "later"}, "can't take 'later' as 'when'"),
        ({"kind": "close", "count": 0}, "can't take 0 as 'count'"),
        ({"kind": "close", "count": True}, "can't take True as 'count'"),
        ({"kind": "close", "operation": ""}, "can't take '' as 'operation'"),
        ({"kind": "decline", "transport": "http"}, "can't take 'http' as 'transport'"),
        ({"kind": "truncate", "when": "now"}, "can't take 'now' as 'when'"),
        ({"kind": "delay"}, "needs 'seconds'"),
        ({"kind": "delay", "seconds": -1}, "can't take -1 as 'seconds'"),
        ({"kind": "delay", "seconds": True}, "can't take True as 'seconds'"),
        ({"kind": "http_status"}, "needs 'status'"),
        ({"kind": "wrong_invoice"}, "needs 'what'"),
        ({"kind": "payment", "outcome": "MAYBE"}, "can't take 'MAYBE' as 'outcome'"),
        ({"kind": "payment", "outcome": "ERROR", "executed": 1}, "can't take 1 as 'executed'"),
        ({"kind": "no_ack", "when": "now"}, "takes no 'when'"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(body: dict[str, Any], complaint: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(BadFaultError, match=complaint):
        parse_fault(body)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_defaults_that_it_takes_itself(kind: str) -> None:
    """What a parsed fault says can be said again, and gives the same fault."""
    needed: dict[str, dict[str, Any]] = {
        "delay": {"seconds": 1},
        "http_status": {"status": 500},
        "wrong_invoice": {"what": "amount"},
    }
    needed["payment"], needed["wrong_price"] = {"outcome": "ERROR"}, {"base": 0}
    fault = parse_fault({"kind": kind, **needed.get(kind, {})})
    given = {name: value for name, value in fault.details.items() if value is not None}
    assert parse_fault({"kind": kind, **given}) == fault


def test_faults_strike_in_the_order_they_were_armed() -> None:
    """The oldest that fits comes first, and each as often as it was armed for."""
    faults = Faults()
    faults.arm(Fault("no_ack", count=2))
    faults.arm(Fault("no_ack"))
    assert faults.armed == 3
    first, second, third = (faults.take("no_ack") for _ in range(3))
    assert first is second
    assert third is not first
    assert faults.take("no_ack") is None


def test_a_fault_without_a_moment_does_not_strike_operations() -> None:
    """One that waits for a handshake leaves mutations alone."""
    faults = Faults()
    faults.arm(parse_fault({"kind": "no_ack"}))
    assert faults.take_for(["me"], mutation=True, transport="http", when="before_execute") is None


def test_clearing_disarms_everything() -> None:
    """Nothing strikes afterwards."""
    faults = Faults()
    faults.arm(Fault("no_ack"))
    faults.clear()
    assert faults.armed == 0


async def test_a_fault_that_has_struck_is_cleared_before_it_waits() -> None:
    """One that was taken a moment before all were disarmed holds nothing back any more."""
    faults = Faults()
    faults.arm(parse_fault({"kind": "delay", "seconds": HELD}))
    struck = faults.take("delay")
    assert struck is not None
    faults.clear()
    async with asyncio.timeout(HELD / 2):
        await struck.wait()
    faults.arm(parse_fault({"kind": "delay", "seconds": 0.01}))
    later = faults.take("delay")
    assert later is not None
    assert not later.cleared.is_set()
