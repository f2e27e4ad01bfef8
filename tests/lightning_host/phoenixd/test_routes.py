"""The phoenixd-compatible API: the shapes that BTCPay's and LNbits' clients read, and what they make of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Never

import aiohttp
import pytest
from bolt11 import decode
from sqlalchemy import text

from connection_strings import (
    BackendUnavailable,
    InvalidRequest,
    LightMoney,
    LightningError,
    PayResponse,
    PayResult,
    RequestRefused,
)
from lightning_host.database import Database
from tests.lightning_host.fake_driver import FakeClient
from tests.lightning_host.hosts import PASSWORD, eventually
from tests.support.driver import operations
from tests.support.waiting import HELD, until

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from flash_driver.sandbox.options import DescriptionHash
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

HOUR = timedelta(hours=1)
AWAY = BackendUnavailable("asking", {"websocket": "refused"})


def foreign(node: FakeNode, msat: int | None = 500_000) -> tuple[str, str]:
    """Make somebody's BOLT11; gives it and its payment hash."""
    signed = node.signer.sign(msat=msat, description="", now=datetime.now(UTC), expiry=HOUR)
    return signed.payment_request, signed.payment_hash


async def make(host: RunningHost, **form: Any) -> str:
    """Make an invoice through the API; gives its payment hash."""
    status, answer = await host.phoenixd("POST", "/createinvoice", {"amountSat": "1000", "description": "x", **form})
    assert status == 200
    return str(answer["paymentHash"])


def events(host: RunningHost, **options: Any) -> Any:
    """Open the socket that tells of payments."""
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    return host.session.ws_connect(f"{host.url}/websocket", headers=auth, **options)


async def next_hash(socket: aiohttp.ClientWebSocketResponse) -> str:
    """Wait for the next payment that the socket tells of."""
    async with asyncio.timeout(20):
        return str((await socket.receive_json())["paymentHash"])


# --- the wallet -----------------------------------------------------------------------------------------------------


async def test_wallet_is_told_as_one_channel(hosts: HostBench, node: FakeNode) -> None:
    """LNbits reads its balance from the first channel, BTCPay from getbalance."""
    host = await hosts.host(node)
    status, info = await host.phoenixd("GET", "/getinfo")
    assert (status, info["nodeId"], info["blockHeight"]) == (200, "02aa", 7)
    assert [channel["balanceSat"] for channel in info["channels"]] == [21_000]
    assert await host.phoenixd("GET", "/getbalance") == (200, {"balanceSat": 21_000, "feeCreditSat": 0})


# --- invoices -------------------------------------------------------------------------------------------------------


async def test_facts_of_the_wallet_are_asked_for_at_the_same_time(bench: Bench, hosts: HostBench) -> None:
    """BTCPay waits 5 s for `getinfo` before a sale: with a wallet that takes two for an answer it must not take six."""
    sandbox = await bench.sandbox(ws_mutations="decline")
    host = await hosts.host(sandbox)
    await make(host)
    asked = sum(operations(sandbox, "realtimePrice").values())
    sandbox.arm("delay", operation="me", when="before_execute", seconds=HELD, count=10)
    reading = asyncio.create_task(host.phoenixd("GET", "/getinfo"))
    await until(lambda: sum(operations(sandbox, "realtimePrice").values()) > asked)
    sandbox.clear_faults()
    await reading


async def test_invoice_is_made_found_and_paid(hosts: HostBench, node: FakeNode) -> None:
    """From createinvoice to a paid incoming payment, each field in its unit."""
    host = await hosts.host(node)
    form = {"amountSat": "1000", "description": "coffee", "expirySeconds": "120", "externalId": "order 7"}
    status, made = await host.phoenixd("POST", "/createinvoice", form)
    bolt11 = decode(made["serialized"])
    assert (status, made["amountSat"], made["paymentHash"]) == (200, 1000, bolt11.payment_hash)
    assert (bolt11.description, bolt11.expiry) == ("coffee", 120)
    path = f"/payments/incoming/{made['paymentHash']}"
    _, waiting = await host.phoenixd("GET", path)
    assert (waiting["isPaid"], waiting["isExpired"], waiting["preimage"]) == (False, False, None)
    assert (waiting["requestedSat"], waiting["externalId"], waiting["completedAt"]) == (1000, "order 7", None)
    assert waiting["expiresAt"] == (bolt11.date + 120) * 1000
    paid = await node.pay(made["paymentHash"])
    _, done = await host.phoenixd("GET", path)
    assert (done["isPaid"], done["receivedSat"], done["fees"]) == (True, 1000, 0)
    assert sha256(bytes.fromhex(done["preimage"])).hexdigest() == made["paymentHash"]
    assert paid.paid_at is not None
    assert done["completedAt"] == int(paid.paid_at.timestamp() * 1000)


async def test_amountless_invoice(hosts: HostBench, node: FakeNode) -> None:
    """No amount lets the payer choose."""
    host = await hosts.host(node)
    _, made = await host.phoenixd("POST", "/createinvoice", {"description": "tips"})
    await node.pay(made["paymentHash"], LightMoney.from_sat(7))
    _, done = await host.phoenixd("GET", f"/payments/incoming/{made['paymentHash']}")
    assert (made["amountSat"], done["requestedSat"], done["receivedSat"]) == (0, None, 7)


@pytest.mark.parametrize("policy", ["honour", "drop"])
async def test_hash_without_its_text(bench: Bench, hosts: HostBench, policy: DescriptionHash) -> None:
    """A bare hash gives an exact invoice that commits to it, or shows the shop's title where the server drops it."""
    host = await hosts.host(await bench.sandbox(description_hash=policy), title="Café Zürich")
    status, made = await host.phoenixd("POST", "/createinvoice", {"amountSat": "21000", "descriptionHash": "aB" * 32})
    bolt11 = decode(made["serialized"])
    assert (status, bolt11.amount_msat) == (200, 21_000_000)
    expected = (None, "ab" * 32) if policy == "honour" else ("Café Zürich", None)
    assert (bolt11.description, bolt11.description_hash) == expected


async def test_hash_that_is_insisted_on(bench: Bench, hosts: HostBench) -> None:
    """Where the connection string requires hashes, a client whose hash is dropped gets no invoice and the reason."""
    sandbox = await bench.sandbox()
    host = await hosts.host_of(f"{sandbox.connection_string};description-hash=require")
    status, answer = await host.phoenixd("POST", "/createinvoice", {"amountSat": "21000", "descriptionHash": "ab" * 32})
    assert (status, "leaves the description hash out" in answer["message"]) == (400, True)


@pytest.mark.parametrize(
    ("change", "status"), [({"description_hash": "11" * 32}, 503), ({"msat": 21_000_001}, 400)], ids=["text", "amount"]
)
async def test_hash_is_not_traded_for_something_else(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], *, status: int
) -> None:
    """LNbits hands out what it gets: an invoice that commits to another hash, or over another amount, is refused."""
    host = await hosts.host(node)
    sign = node.signer.sign
    monkeypatch.setattr(node.signer, "sign", lambda **terms: sign(**{**terms, **change}))
    got, answer = await host.phoenixd("POST", "/createinvoice", {"amountSat": "21000", "descriptionHash": "ab" * 32})
    assert (got, "serialized" in answer) == (status, False)


async def test_invoices_are_listed(hosts: HostBench, node: FakeNode) -> None:
    """Paid ones by default, all on request, newest first, by page and by external id."""
    host = await hosts.host(node)
    made = [await make(host, externalId=f"order {turn}") for turn in range(3)]
    await node.pay(made[1])

    async def paid() -> bool:
        return [each["paymentHash"] for each in (await host.phoenixd("GET", "/payments/incoming"))[1]] == [made[1]]

    await eventually(paid)
    _, listed = await host.phoenixd("GET", "/payments/incoming?all=true")
    assert sorted(each["paymentHash"] for each in listed) == sorted(made)
    assert len((await host.phoenixd("GET", "/payments/incoming?all=true&limit=2"))[1]) == 2
    assert len((await host.phoenixd("GET", "/payments/incoming?all=true&offset=2"))[1]) == 1
    _, (one,) = await host.phoenixd("GET", "/payments/incoming?all=true&externalId=order%202")
    assert one["paymentHash"] == made[2]


async def test_payments_are_listed_beyond_what_a_wallet_lists_at_once(hosts: HostBench, node: FakeNode) -> None:
    """A wallet that tells two payments at a time is asked again, until the part that was asked for is complete."""
    host, node.most_listed = await hosts.host(node), 2
    for _ in range(5):
        await host.phoenixd("POST", "/payinvoice", {"invoice": foreign(node)[0]})
    _, everything = await host.phoenixd("GET", "/payments/outgoing")
    assert [each["paymentHash"] for each in everything] == [*node.payments]
    assert (await host.phoenixd("GET", "/payments/outgoing?offset=1&limit=3"))[1] == everything[1:4]


async def test_part_of_a_list_is_asked_for(hosts: HostBench, node: FakeNode) -> None:
    """`from` and `to` are ms: of the payment, with `all` of the making; what is not known is refused, not ignored."""
    host = await hosts.host(node)
    made = await make(host)
    await node.pay(made)

    async def paid() -> bool:
        return bool((await host.phoenixd("GET", "/payments/incoming"))[1])

    await eventually(paid)
    _, (one,) = await host.phoenixd("GET", "/payments/incoming")
    for everything, time in (("false", one["completedAt"]), ("true", one["createdAt"])):
        path = f"/payments/incoming?all={everything}"
        assert (await host.phoenixd("GET", f"{path}&from={time}&to={time}"))[1] == [one]
        assert (await host.phoenixd("GET", f"{path}&from={time + 1}"))[1] == []
        assert (await host.phoenixd("GET", f"{path}&to={time - 1}"))[1] == []
    await host.phoenixd("POST", "/payinvoice", {"invoice": foreign(node)[0]})
    _, (sent,) = await host.phoenixd("GET", "/payments/outgoing")
    assert (await host.phoenixd("GET", f"/payments/outgoing?from={sent['createdAt']}&to={sent['createdAt']}"))[1] == [
        sent
    ]
    assert (await host.phoenixd("GET", f"/payments/outgoing?from={sent['createdAt'] + 1}"))[1] == []
    status, told = await host.phoenixd("GET", "/payments/outgoing?form=1")
    assert (status, told["error"]) == (400, "form is not known here; did you mean from?")


async def test_payers_note_is_told(hosts: HostBench, node: FakeNode) -> None:
    """What the payer of a Lightning address said stands where phoenixd tells it."""
    host = await hosts.host(node, public_url="https://shop.example")
    callback = "/lnurlp/shop/callback?amount=21000&comment=Thank%20you"
    await node.pay(decode((await host.get(callback))[1]["pr"]).payment_hash)

    async def told() -> bool:
        return [each["payerNote"] for each in (await host.phoenixd("GET", "/payments/incoming"))[1]] == ["Thank you"]

    await eventually(told)


def as_btcpay(host: RunningHost, path: str) -> Any:
    """Ask as BTCPay does, which sends no User-Agent."""
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    return host.session.get(f"{host.url}{path}", headers=auth, skip_auto_headers=["User-Agent"])


async def test_invoice_is_not_paid_yet_while_the_wallet_is_away(hosts: HostBench, node: FakeNode) -> None:
    """While the BOLT11 lives, an invoice whose wallet can't be asked is just not paid yet."""
    host = await hosts.host(node)
    payment_hash = await make(host)
    node.broken = AWAY
    status, answer = await host.phoenixd("GET", f"/payments/incoming/{payment_hash}")
    assert (status, answer["isPaid"], answer["isExpired"]) == (200, False, False)


async def test_what_is_not_known_is_never_told_as_no(hosts: HostBench, node: FakeNode) -> None:
    """A BOLT11 that is over while its wallet is away: BTCPay gets no answer, all others 503; then the truth."""
    host = await hosts.host(node)
    path = f"/payments/incoming/{await make(host, expirySeconds='1')}"
    await node.pay(path.rpartition("/")[2], heard=False)
    node.broken = AWAY

    async def over() -> bool:
        return (await host.phoenixd("GET", path))[0] == 503

    await eventually(over)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await as_btcpay(host, path)
    node.broken = None

    async def paid() -> bool:
        return bool((await host.phoenixd("GET", path))[1].get("isPaid"))

    await eventually(paid)  # some seconds later: the wallet has just failed
    async with as_btcpay(host, path) as answer:
        assert (await answer.json())["isPaid"] is True


async def test_database_counts_as_the_wallet_does(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database is away, BTCPay gets no answer about an invoice or a payment, all others 503."""
    host = await hosts.host(node)
    payment_hash = await make(host)

    def away(_: Database, _work: object) -> Never:
        raise OSError("unreachable")

    for way in ("read", "write"):
        monkeypatch.setattr(Database, way, away)
    for path in (f"/payments/incoming/{payment_hash}", f"/payments/outgoingbyhash/{payment_hash}"):
        assert (await host.phoenixd("GET", path))[0] == 503
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await as_btcpay(host, path)
    invoice, _ = foreign(node)
    assert (await host.phoenixd("POST", "/payinvoice", {"invoice": invoice}))[0] == 503
    assert node.paid_with == []


async def test_wallet_that_has_just_failed_is_not_asked_again(hosts: HostBench, node: FakeNode) -> None:
    """BTCPay asks about all its invoices one after the other: after one failure the next answer comes at once."""
    host = await hosts.host(node)
    hashes = [await make(host) for _ in range(3)]
    node.asked.clear()
    node.broken = AWAY
    for payment_hash in hashes:
        assert (await host.phoenixd("GET", f"/payments/incoming/{payment_hash}"))[0] == 200
    assert node.asked == hashes[:1]


async def test_long_description_is_cut_at_a_word(hosts: HostBench, node: FakeNode) -> None:
    """BTCPay's templates and LNURL comments may be long: the sale is not refused, the text ends with an ellipsis."""
    host = await hosts.host(node)
    short, long = "x" * 200, "größer " * 200
    await make(host, description=short)
    await make(host, description=long)
    kept = [params.description for params in node.created]
    assert kept[0] == short
    assert kept[1].endswith("größer…")
    assert 600 < len(kept[1].encode()) <= 639


async def test_expiry_of_nothing_is_a_second(hosts: HostBench, node: FakeNode) -> None:
    """BTCPay asks for 0 seconds when its own invoice is about to expire."""
    host = await hosts.host(node)
    await make(host, expirySeconds="0")
    assert node.created[0].expiry == timedelta(seconds=1)


# --- events ---------------------------------------------------------------------------------------------------------


async def test_socket_tells_of_each_payment(hosts: HostBench, node: FakeNode) -> None:
    """A connected client hears of each settled invoice once, with amount and external id."""
    host = await hosts.host(node)
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    payment_hash = await make(host, externalId="order 7")
    async with events(host) as socket:
        for each in [*node.invoices]:
            await node.pay(each)
        async with asyncio.timeout(20):
            event = await socket.receive_json()
        assert event["type"] == "payment_received"
        assert (event["paymentHash"], event["amountSat"], event["externalId"]) == (payment_hash, 1000, "order 7")


async def test_socket_tells_what_came_while_nobody_was_connected(hosts: HostBench, node: FakeNode) -> None:
    """After a gap, also of the host itself, the client hears what it missed, and nothing that it confirmed."""
    host = await hosts.host(node)
    first, second, third = [await make(host) for _ in range(3)]
    async with events(host, autoping=False) as socket:
        await node.pay(first)
        assert await next_hash(socket) == first
        await socket.pong((await socket.receive()).data)
    await node.pay(second)
    await host.stop()
    again = await hosts.host(node)
    async with events(again) as socket:
        assert await next_hash(socket) == second
        await node.pay(third)
        assert await next_hash(socket) == third


async def test_settlement_of_a_dead_connection_is_told_again(hosts: HostBench, node: FakeNode) -> None:
    """What a client did not confirm counts as told to nobody: the next connection hears it."""
    host = await hosts.host(node)
    first = await make(host)
    async with events(host, autoping=False) as mute:
        await node.pay(first)
        assert await next_hash(mute) == first
    async with events(host) as socket:
        assert await next_hash(socket) == first


async def test_whole_satoshi_stand_for_the_invoices_own_amount(bench: Bench, hosts: HostBench) -> None:
    """BTCPay names the amount of a BOLT11 in satoshi, rounded down: that is the BOLT11's own, and no other one is."""
    sandbox = await bench.sandbox(ws_mutations="decline")
    host = await hosts.host(sandbox)
    for msat, sat, paid in ((1_000_001, "1000", True), (1_000_000, "1000", True), (1_000_001, "1001", False)):
        signed = sandbox.foreign_invoice(msat)
        _, answer = await host.phoenixd("POST", "/payinvoice", {"invoice": signed.payment_request, "amountSat": sat})
        assert ("recipientAmountSat" in answer) is paid
        rows = sandbox.ledger_snapshot()["payments"]
        arrived = [int(row["msat"]) for row in rows if row["payment_hash"] == signed.payment_hash]
        assert arrived == ([msat] if paid else [])


async def test_pong_to_no_ping_confirms_nothing(hosts: HostBench, node: FakeNode) -> None:
    """A sign of life that a client gives by itself, whatever is in it, hides no settlement that is still to come."""
    host = await hosts.host(node)
    first = await make(host)
    async with events(host) as socket:
        await socket.pong(b"1000000")
        await socket.pong(b"9" * 100)
    await node.pay(first)
    async with events(host) as socket:
        assert await next_hash(socket) == first


async def test_settlements_for_other_purposes_hide_none(hosts: HostBench, node: FakeNode) -> None:
    """However many Lightning-address payments and sales came meanwhile, each invoice of this API is told."""
    host = await hosts.host(node)
    async with events(host):
        pass
    made = [await make(host) for _ in range(3)]
    database = await Database.open(host.settings.database_url)

    def fill(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO host_settlements (store, payment_hash, number, purpose, subject, amount_msat, paid_at,"
                " recorded_at) VALUES ('shop', :hash, :number, :purpose, '', 1000, 0, 0)"
            ),
            [{"hash": f"{n:064x}", "number": n, "purpose": "lnurl" if n % 2 else "phoenixd"} for n in range(1, 1_201)],
        )
        connection.execute(text("INSERT OR REPLACE INTO host_counters VALUES ('settlements', 1200)"))

    await database.write(fill)
    await database.aclose()
    for payment_hash in made:
        await node.pay(payment_hash)
    async with events(host) as socket:
        heard = [await next_hash(socket) for _ in range(603)]
    assert heard == [*(f"{n:064x}" for n in range(2, 1_201, 2)), *made]


async def test_first_client_hears_from_now_on(hosts: HostBench, node: FakeNode) -> None:
    """The very first client is not flooded with what was paid before it came."""
    host = await hosts.host(node)
    old, new = await make(host), await make(host)
    await node.pay(old)

    async def settled() -> bool:
        return bool((await host.phoenixd("GET", f"/payments/incoming/{old}"))[1]["isPaid"])

    await eventually(settled)
    async with events(host) as socket:
        await node.pay(new)
        assert await next_hash(socket) == new


async def test_a_browser_shows_the_password_as_a_subprotocol(
    hosts: HostBench, node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser can't set `Authorization`: the socket takes the password as phoenixd does, and nothing else does."""
    host = await hosts.host(node)
    connect = partial(host.session.ws_connect, f"{host.url}/websocket")
    async with connect(protocols=[PASSWORD]) as socket:
        assert socket.protocol == PASSWORD  # a browser hangs up where none of what it offered is chosen
        paid = await make(host)
        await node.pay(paid)
        assert await next_hash(socket) == paid
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await connect(protocols=["wrong"])
    assert (await host.get("/getinfo", headers={"Sec-WebSocket-Protocol": PASSWORD}))[0] == 401
    async with events(host, protocols=["unknown"]) as socket:
        assert not socket.closed
    assert (PASSWORD in caplog.text, "unknown" in caplog.text) == (False, False)


async def test_socket_is_closed_when_the_host_goes_down(hosts: HostBench, node: FakeNode) -> None:
    """Clients see at once that they have to connect again."""
    host = await hosts.host(node)
    other = aiohttp.ClientSession()
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    async with other, other.ws_connect(f"{host.url}/websocket", headers=auth) as socket:
        async with asyncio.timeout(20):
            reading = asyncio.create_task(socket.receive())
            await host.stop()
            assert (await reading).type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSING,
                aiohttp.WSMsgType.CLOSED,
            )


# --- payments -------------------------------------------------------------------------------------------------------


async def test_payment_goes_out(hosts: HostBench, node: FakeNode) -> None:
    """Amounts and fee in satoshi in the reply, the fee in millisatoshi in the record."""
    host = await hosts.host(node)
    invoice, payment_hash = foreign(node)
    assert await host.phoenixd("POST", "/payinvoice", {"invoice": invoice}) == (
        200,
        {
            "recipientAmountSat": 500,
            "routingFeeSat": 2,
            "paymentId": payment_hash,
            "paymentHash": payment_hash,
            "paymentPreimage": None,
            "reason": "this invoice has already been paid",
        },
    )
    for path in ("outgoingbyhash", "outgoing"):
        _, record = await host.phoenixd("GET", f"/payments/{path}/{payment_hash}")
        assert (record["isPaid"], record["sent"], record["fees"]) == (True, 500, 1500)
    _, (listed,) = await host.phoenixd("GET", "/payments/outgoing?all=true")
    assert listed == record


async def test_payer_chooses_the_amount_of_an_amountless_invoice(hosts: HostBench, node: FakeNode) -> None:
    """`amountSat` reaches the wallet."""
    host = await hosts.host(node)
    invoice, _ = foreign(node, None)
    _, answer = await host.phoenixd("POST", "/payinvoice", {"invoice": invoice, "amountSat": "21"})
    assert answer["recipientAmountSat"] == 21
    assert node.paid_with[0].amount == LightMoney.from_sat(21)


@pytest.mark.parametrize(
    ("result", "reason", "status"),
    [
        (PayResult.COULD_NOT_FIND_ROUTE, "payment could not be sent through existing channels", 404),
        (PayResult.ERROR, "payment could not be sent through existing channels", 404),
        (PayResult.UNKNOWN, "it is not known yet", 200),
    ],
)
async def test_only_a_certain_failure_is_gone(
    hosts: HostBench, node: FakeNode, result: PayResult, reason: str, status: int
) -> None:
    """404 makes LNbits give the money back: it is answered for what failed for good, never for what is not known."""
    host = await hosts.host(node)
    node.pay_result = result
    invoice, payment_hash = foreign(node)
    _, answer = await host.phoenixd("POST", "/payinvoice", {"invoice": invoice})
    assert answer["reason"].startswith(reason)
    assert "routingFeeSat" not in answer
    got, record = await host.phoenixd("GET", f"/payments/outgoingbyhash/{payment_hash}")
    assert got == status
    assert status == 404 or record["isPaid"] is False


async def test_too_little_balance_is_told_in_words_that_btcpay_knows(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BTCPay knows six reasons for "not sent"; the wallet's own words stand beside them."""
    host = await hosts.host(node)

    async def pay(*_: object) -> PayResponse:
        return PayResponse(result=PayResult.ERROR, error_detail="Insufficient balance")

    monkeypatch.setattr(FakeClient, "pay", pay)
    _, answer = await host.phoenixd("POST", "/payinvoice", {"invoice": foreign(node)[0]})
    assert (answer["reason"], answer["message"]) == (
        "not enough funds in wallet to afford payment",
        "Insufficient balance",
    )


async def test_what_failed_before_it_was_sent_is_told_as_failed(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fee limit, an expired BOLT11, a wallet that can't pay it: not sent, and gone, instead of in progress."""
    host = await hosts.host(node)

    async def refuse(*_: object) -> PayResponse:
        raise InvalidRequest("bolt11", "has expired")

    monkeypatch.setattr(FakeClient, "pay", refuse)
    invoice, payment_hash = foreign(node)
    status, answer = await host.phoenixd("POST", "/payinvoice", {"invoice": invoice})
    assert (status, answer["reason"].startswith("payment could not be sent")) == (200, True)
    assert "has expired" in answer["message"]
    assert (await host.phoenixd("GET", f"/payments/outgoingbyhash/{payment_hash}"))[0] == 404


async def test_payment_is_in_flight_from_the_request_on(hosts: HostBench, node: FakeNode) -> None:
    """While a payment is prepared, and the wallet's books know nothing of it, it is not paid yet, never failed."""
    host = await hosts.host(node)
    invoice, payment_hash = foreign(node)
    node.before_paying = going, go = asyncio.Event(), asyncio.Event()
    paying = asyncio.create_task(host.phoenixd("POST", "/payinvoice", {"invoice": invoice}))
    await going.wait()
    status, record = await host.phoenixd("GET", f"/payments/outgoingbyhash/{payment_hash}")
    assert (status, record["isPaid"]) == (200, False)
    go.set()
    assert (await paying)[1]["paymentHash"] == payment_hash


async def test_failed_payments_are_not_listed(hosts: HostBench, node: FakeNode) -> None:
    """What went out is listed, with `all` also what may have; a failed one would be unknown to BTCPay."""
    host = await hosts.host(node)
    sent = {}
    for result in (PayResult.OK, PayResult.ERROR, PayResult.UNKNOWN):
        node.pay_result = result
        invoice, sent[result] = foreign(node)
        await host.phoenixd("POST", "/payinvoice", {"invoice": invoice})
    _, done = await host.phoenixd("GET", "/payments/outgoing")
    assert [each["paymentHash"] for each in done] == [sent[PayResult.OK]]
    _, every = await host.phoenixd("GET", "/payments/outgoing?all=true")
    assert [each["paymentHash"] for each in every] == [sent[PayResult.OK], sent[PayResult.UNKNOWN]]


async def test_payment_is_never_lost_while_the_wallet_is_away(hosts: HostBench, node: FakeNode) -> None:
    """BTCPay cancels a payout on any error status: one that was asked for is just not paid yet."""
    host = await hosts.host(node)
    invoice, payment_hash = foreign(node)
    node.broken = AWAY
    status, answer = await host.phoenixd("POST", "/payinvoice", {"invoice": invoice})
    assert (status, answer["reason"].startswith("it is not known yet")) == (200, True)
    got, record = await host.phoenixd("GET", f"/payments/outgoingbyhash/{payment_hash}")
    assert (got, record["isPaid"], record["invoice"]) == (200, False, invoice)
    assert (await host.phoenixd("GET", f"/payments/outgoingbyhash/{'0' * 64}"))[0] == 503


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic /w==",
        "Basic OnBhc3M=",
        f"Bearer {PASSWORD}",
        aiohttp.encode_basic_auth("", PASSWORD + "x"),
        aiohttp.encode_basic_auth(PASSWORD, ""),
    ],
)
@pytest.mark.parametrize("path", ["/getinfo", "/websocket", "/payments/incoming"])
async def test_only_the_password_opens_it(
    hosts: HostBench, node: FakeNode, authorization: str | None, path: str
) -> None:
    """No or a wrong password is 401, also for the socket."""
    host = await hosts.host(node)
    headers = {} if authorization is None else {"Authorization": authorization}
    status, answer = await host.get(path, headers=headers)
    assert (status, answer["message"]) == (401, "the password is missing or wrong")


async def test_any_user_name_will_do(hosts: HostBench, node: FakeNode) -> None:
    """The password alone counts, as with phoenixd."""
    host = await hosts.host(node)
    headers = {"Authorization": aiohttp.encode_basic_auth("phoenix", PASSWORD)}
    assert (await host.get("/getbalance", headers=headers))[0] == 200


async def test_each_password_opens_its_own_store(hosts: HostBench, node: FakeNode) -> None:
    """Two stores behind one host: an invoice of one is not found with the password of the other."""
    string = f"type=fake;node={node.name}"
    host = await hosts.host(
        node, stores={"bakery": {"connection_string": string, "phoenixd_password": "password-of-the-bakery"}}
    )
    payment_hash = await make(host)
    path = f"/payments/incoming/{payment_hash}"
    assert (await host.phoenixd("GET", path))[0] == 200
    assert (await host.phoenixd("GET", path, password="password-of-the-bakery"))[0] == 404


@pytest.mark.parametrize(
    ("path", "form", "words"),
    [
        ("/createinvoice", {"description": "", "amountSat": "lots"}, "amountSat must be a whole number"),
        ("/createinvoice", {"description": "", "amountSat": "-1"}, "amountSat must not be negative"),
        ("/createinvoice", {"description": "", "amountSat": "9" * 20}, "amountSat must be from 0 to 2100000000000000"),
        ("/createinvoice", {"description": "", "expirySeconds": "9" * 9}, "expirySeconds must be from 0 to 31536000"),
        ("/createinvoice", {"description": "x" * 8193}, "description must not be longer than 8192 characters"),
        ("/createinvoice", {"descriptionHash": "xyz"}, "descriptionHash must be 64 hexadecimal digits"),
        ("/createinvoice", {}, "description is missing, and so is descriptionHash; one of them is needed"),
        ("/createinvoice", {"description": "x", "amount": "7"}, "amount is not known here; did you mean amountSat?"),
        (
            "/createinvoice",
            {"description": "x", "webhookUrl": "https://shop.example/"},
            "webhookUrl is not served; webhooks are registered at /api/v1/stores/STORE/webhooks",
        ),
        ("/createinvoice?amountSat=7", {"description": "x"}, "amountSat belongs into the body"),
        ("/payinvoice", {}, "invoice is missing"),
        ("/payinvoice", {"invoice": "", "sendAll": "true"}, "sendAll is not known here; invoice is missing"),
        ("/payinvoice", {"invoice": "lnbc1nonsense"}, "invoice is not a BOLT11 payment request (it is not Bech32)"),
    ],
)
async def test_bad_field_is_named(
    hosts: HostBench, node: FakeNode, path: str, form: dict[str, str], words: str
) -> None:
    """A field that makes no sense is 400, told where both clients look."""
    host = await hosts.host(node)
    assert await host.phoenixd("POST", path, form) == (400, {"error": words, "message": words})
    assert node.created == []


async def test_body_that_is_no_form_is_refused(hosts: HostBench, node: FakeNode) -> None:
    """JSON in place of a form is 415."""
    host = await hosts.host(node)
    headers = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    status, _ = await host.request("POST", "/createinvoice", json={"amountSat": 1}, headers=headers)
    assert status == 415


@pytest.mark.parametrize(("error", "status"), [(RequestRefused("odd"), 400), (LightningError("odd"), 503)])
async def test_wallet_that_makes_none_is_told(
    hosts: HostBench, node: FakeNode, error: LightningError, *, status: int
) -> None:
    """The wallet's words reach the client; only what is about the request is the request's fault."""
    host = await hosts.host(node)
    node.broken = error
    assert await host.phoenixd("POST", "/createinvoice", {"amountSat": "1", "description": ""}) == (
        status,
        {"error": "odd", "message": "odd"},
    )
