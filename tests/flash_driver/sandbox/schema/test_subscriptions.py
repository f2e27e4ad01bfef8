from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from flash_driver.sandbox.bank.broker import account_topic
from tests.flash_driver.sandbox.clients import STATUS, TIMEOUT, UPDATES, WATCH, until

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab, Socket
    from tests.flash_driver.sandbox.conftest import Clock, StartLab

PRICES = """
subscription($input: RealtimePriceInput!) {
  realtimePrice(input: $input) { errors { message } realtimePrice { denominatorCurrency btcSatPrice { base } } }
}
"""


async def _next_status(socket: Socket, operation_id: str) -> str | None:
    frame = await socket.receive()
    assert frame["id"] == operation_id
    status: str | None = frame["payload"]["data"]["lnInvoicePaymentStatus"]["status"]
    return status


async def _watch(socket: Socket, payment_request: str, operation_id: str = "watch") -> None:
    await socket.subscribe(operation_id, WATCH, input={"paymentRequest": payment_request})


async def test_the_status_query_follows_the_invoice(start_lab: StartLab, clock: Clock) -> None:
    """PENDING, then PAID for ever; or EXPIRED when its time is over."""
    lab = await start_lab(clock=clock)
    paid, unpaid = await lab.invoice(), await lab.invoice()

    async def states() -> list[str]:
        replies = [await lab.status(each["paymentRequest"]) for each in (paid, unpaid)]
        return [reply.data["lnInvoicePaymentStatus"]["status"] for reply in replies]

    assert await states() == ["PENDING", "PENDING"]
    lab.sandbox.pay(paid["paymentRequest"])
    assert await states() == ["PAID", "PENDING"]
    clock.advance(seconds=60)
    assert await states() == ["PAID", "EXPIRED"]


async def test_the_status_query_is_public(lab: Lab) -> None:
    """Everybody who knows the BOLT11 may ask."""
    invoice = await lab.invoice()
    reply = await lab.http(STATUS, headers={}, input={"paymentRequest": invoice["paymentRequest"]})
    assert reply.data["lnInvoicePaymentStatus"] == {"errors": [], "status": "PENDING"}


async def test_foreign_invoices_are_expired_or_an_error(start_lab: StartLab, clock: Clock) -> None:
    """The custodian doesn't know them; once they have expired it says so nevertheless."""
    lab = await start_lab(clock=clock)
    foreign = lab.sandbox.foreign_invoice(1000, expiry_seconds=10)
    assert (await lab.status(foreign.payment_request)).error["code"] == "IBEX_ERROR"
    clock.advance(seconds=10)
    assert (await lab.status(foreign.payment_request)).data["lnInvoicePaymentStatus"]["status"] == "EXPIRED"


@pytest.mark.parametrize(("text", "code"), [("lnbcrt1nonsense", "INVOICE_DECODE_ERROR"), ("?", "INVALID_INPUT")])
async def test_status_errors_are_thrown(lab: Lab, text: str, code: str) -> None:
    """They stand at the top level, and there is no data."""
    reply = await lab.status(text)
    assert (reply.status, reply.body["data"], reply.error["code"]) == (200, None, code)


async def test_my_updates_begins_with_noise(lab: Lab) -> None:
    """A subscriber first hears the price, in the old form and in the new."""
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    old, new = [(await socket.receive())["payload"]["data"]["myUpdates"] for _ in range(2)]
    assert (old["update"]["__typename"], old["me"]) == ("Price", None)
    assert old["update"]["formattedAmount"] == "0.097532"
    assert new["update"]["btcSatPrice"] == {"base": 97531860000, "offset": 12}
    assert new["me"] == {"username": "merchant"}


async def test_initial_prices_reach_all_listeners_of_the_account(lab: Lab) -> None:
    """A second subscriber makes the first hear the price again."""
    first, second = await lab.socket(), await lab.socket()
    await first.subscribe("1", UPDATES)
    await first.event("RealtimePrice")
    await second.subscribe("1", UPDATES)
    await first.event("RealtimePrice")


async def test_other_display_currencies_have_no_old_price(start_lab: StartLab) -> None:
    """Their first event, and each tick, is the new form alone, with `me`."""
    lab = await start_lab(display_currency="JMD")
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    for _ in range(2):
        first = (await socket.receive())["payload"]["data"]["myUpdates"]
        assert first["update"]["denominatorCurrency"] == "JMD"
        assert first["me"] == {"username": "merchant"}
        lab.sandbox.set_price()


async def test_an_account_without_a_price_hears_nothing_at_first(start_lab: StartLab) -> None:
    """`me` comes with the next settlement or the next tick (flash-server.md 3.6)."""
    lab = await start_lab(display_currency="XYZ")
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await until(lambda: lab.counted("myUpdates", "websocket") == (1, 0) and _is_heard(lab))
    lab.sandbox.pay((await lab.invoice())["paymentRequest"])
    settled = (await socket.receive())["payload"]["data"]["myUpdates"]
    assert (settled["update"]["__typename"], settled["me"]) == ("LnUpdate", {"username": "merchant"})
    lab.sandbox.set_price()
    assert (await socket.receive())["payload"]["data"]["myUpdates"]["me"] is None
    assert (await socket.receive())["payload"]["data"]["myUpdates"]["me"] == {"username": "merchant"}


async def test_the_first_events_can_be_lost(lab: Lab) -> None:
    """With `drop_first_event` a new stream is silent; a second one on the same socket makes both hear."""
    lab.sandbox.arm("drop_first_event")
    socket = await lab.socket()
    await socket.subscribe("lost", UPDATES)
    await until(lambda: _is_heard(lab))
    await socket.subscribe("second", UPDATES)
    frames = [await socket.receive() for _ in range(4)]
    assert {frame["id"] for frame in frames} == {"lost", "second"}


def _is_heard(lab: Lab) -> bool:
    return lab.sandbox._bank.broker.is_heard(account_topic(lab.sandbox._bank.owner.id))


async def test_a_settlement_is_heard_once_by_each_listener(lab: Lab) -> None:
    """Every socket of the account hears of it, with hash and wallet."""
    sockets = [await lab.socket() for _ in range(2)]
    for socket in sockets:
        await socket.subscribe("1", UPDATES)
        await socket.event("RealtimePrice")
    invoice = await lab.invoice()
    lab.sandbox.pay(invoice["paymentRequest"])
    for socket in sockets:
        assert await socket.event("LnUpdate") == {
            "__typename": "LnUpdate",
            "paymentHash": invoice["paymentHash"],
            "status": "PAID",
            "walletId": lab.sandbox.wallet_id,
        }


async def test_strangers_hear_nothing_of_it(lab: Lab) -> None:
    """Another account's stream carries its own events only."""
    socket = await lab.socket({"Authorization": f"Bearer {lab.sandbox.stranger_token}"})
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    lab.sandbox.pay((await lab.invoice())["paymentRequest"])
    lab.sandbox.set_price()
    assert (await socket.receive())["payload"]["data"]["myUpdates"]["update"]["__typename"] == "Price"


async def test_a_settlement_can_be_kept_quiet(lab: Lab) -> None:
    """With `drop_settlement` no event comes, the query says PAID, and the next settlement is heard."""
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    lab.sandbox.arm("drop_settlement")
    quiet, loud = await lab.invoice(), await lab.invoice()
    lab.sandbox.pay(quiet["paymentRequest"])
    lab.sandbox.pay(loud["paymentRequest"])
    assert (await socket.event("LnUpdate"))["paymentHash"] == loud["paymentHash"]
    assert (await lab.status(quiet["paymentRequest"])).data["lnInvoicePaymentStatus"]["status"] == "PAID"


async def test_an_event_can_be_invented(lab: Lab) -> None:
    """An announcement reaches the account and leaves the ledger alone."""
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    lab.sandbox.announce("ab" * 32, status="EXPIRED", wallet_id=lab.sandbox.stranger_wallet_id)
    update = await socket.event("LnUpdate")
    assert (update["paymentHash"], update["status"]) == ("ab" * 32, "EXPIRED")
    assert lab.sandbox.ledger_snapshot()["invoices"] == []


async def test_the_price_ticks(start_lab: StartLab) -> None:
    """From time to time the price is told without any reason."""
    lab = await start_lab(price_tick_seconds=0.01)
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    for _ in range(3):
        await socket.event("RealtimePrice")


async def test_an_invoice_can_be_watched_by_anybody(lab: Lab) -> None:
    """The state comes at once and PAID when it is paid, also without credentials."""
    invoice = await lab.invoice()
    socket = await lab.socket({})
    await _watch(socket, invoice["paymentRequest"])
    assert await _next_status(socket, "watch") == "PENDING"
    lab.sandbox.pay(invoice["paymentRequest"])
    assert await _next_status(socket, "watch") == "PAID"
    assert lab.counted("lnInvoicePaymentStatus", "websocket") == (1, 1)


async def test_watchers_disturb_each_other(lab: Lab) -> None:
    """The state that a new watcher asks for is told to all of them."""
    invoice = await lab.invoice()
    first, second = await lab.socket(), await lab.socket()
    for socket in (first, second):
        await _watch(socket, invoice["paymentRequest"])
        assert await _next_status(socket, "watch") == "PENDING"
    assert await _next_status(first, "watch") == "PENDING"


async def test_expired_is_told_even_after_paid(start_lab: StartLab) -> None:
    """A second after its end every watcher of an invoice hears EXPIRED, whatever happened; the query knows better."""
    lab = await start_lab(invoice_expiry_seconds=4)
    invoice = await lab.invoice()
    socket = await lab.socket()
    await _watch(socket, invoice["paymentRequest"])
    assert await _next_status(socket, "watch") == "PENDING"
    lab.sandbox.pay(invoice["paymentRequest"])
    assert await _next_status(socket, "watch") == "PAID"
    assert await _next_status(socket, "watch") == "EXPIRED"
    assert (await lab.status(invoice["paymentRequest"])).data["lnInvoicePaymentStatus"]["status"] == "PAID"


async def test_a_paid_invoice_is_told_so_to_a_late_watcher(lab: Lab) -> None:
    """It needs no timer."""
    invoice = await lab.invoice()
    lab.sandbox.pay(invoice["paymentRequest"])
    socket = await lab.socket()
    await _watch(socket, invoice["paymentRequest"])
    assert await _next_status(socket, "watch") == "PAID"


async def test_a_foreign_invoice_that_has_expired_can_be_watched(start_lab: StartLab, clock: Clock) -> None:
    """The state is told, and nothing else ever comes."""
    lab = await start_lab(clock=clock)
    foreign = lab.sandbox.foreign_invoice(1000, expiry_seconds=1)
    clock.advance(seconds=1)
    socket = await lab.socket()
    await _watch(socket, foreign.payment_request)
    assert await _next_status(socket, "watch") == "EXPIRED"


async def test_a_failed_look_up_is_data(lab: Lab) -> None:
    """The error stands in the payload, and the stream stays open without a word."""
    socket = await lab.socket()
    await _watch(socket, "lnbcrt1nonsense")
    payload = (await socket.receive())["payload"]["data"]["lnInvoicePaymentStatus"]
    assert payload["status"] is None
    assert payload["errors"][0]["code"] == "INVOICE_DECODE_ERROR"
    await socket.send(type="ping")
    assert await socket.receive() == {"type": "pong"}


async def test_a_malformed_request_cannot_be_watched(lab: Lab) -> None:
    """A value that is no payment request at all fails while subscribing."""
    socket = await lab.socket()
    answer = await socket.ask("1", WATCH, input={"paymentRequest": "?"})
    assert answer["errors"][0]["extensions"] == {"code": "INVALID_INPUT"}


async def test_prices_can_be_listened_to(lab: Lab) -> None:
    """Without an account, in a currency of one's choice."""
    socket = await lab.socket({})
    await socket.subscribe("1", PRICES, input={"currency": "JPY"})
    first = (await socket.receive())["payload"]["data"]["realtimePrice"]["realtimePrice"]
    assert first["denominatorCurrency"] == "JPY"
    lab.sandbox.set_price(usd_per_btc=Decimal(1_000_000))
    second = (await socket.receive())["payload"]["data"]["realtimePrice"]["realtimePrice"]
    assert second["btcSatPrice"]["base"] > first["btcSatPrice"]["base"]


async def test_a_currency_has_to_look_like_one(lab: Lab) -> None:
    """A word that is no currency is refused at once."""
    socket = await lab.socket({})
    answer = await socket.ask("1", PRICES, input={"currency": "DOLLARS"})
    assert answer["errors"][0]["extensions"] == {"code": "INVALID_INPUT"}
    reply = await lab.http('{ realtimePrice(currency: "DOLLARS") { timestamp } }')
    assert (reply.body["data"], reply.error["code"]) == (None, "INVALID_INPUT")


async def test_a_currency_without_a_price(lab: Lab) -> None:
    """The query fails at the top level; the stream says so once and stays open."""
    socket = await lab.socket({})
    await socket.subscribe("1", PRICES, input={"currency": "XYZ"})
    payload = (await socket.receive())["payload"]["data"]["realtimePrice"]
    assert payload == {"errors": [{"message": "Unsupported exchange unit"}], "realtimePrice": None}
    await socket.send(type="ping")
    assert await socket.receive() == {"type": "pong"}
    reply = await lab.http('{ realtimePrice(currency: "XYZ") { timestamp } }')
    assert (reply.body["data"], reply.error["code"]) == (None, "UNEXPECTED_CLIENT_ERROR")


async def test_no_currency_means_dollars(lab: Lab) -> None:
    """An explicit null is as good as nothing."""
    reply = await lab.http("{ realtimePrice(currency: null) { denominatorCurrency } }")
    assert reply.data["realtimePrice"] == {"denominatorCurrency": "USD"}


async def test_a_closed_socket_leaves_no_subscription_behind(lab: Lab) -> None:
    """The broker forgets subscribers that are gone."""
    socket = await lab.socket()
    await socket.subscribe("1", UPDATES)
    await socket.event("RealtimePrice")
    broker, topic = lab.sandbox._bank.broker, account_topic(lab.sandbox._bank.owner.id)
    assert broker.is_heard(topic)
    await socket.connection.close()
    await until(lambda: not broker.is_heard(topic))


async def test_expiry_announcements_end_with_the_sandbox(start_lab: StartLab) -> None:
    """A timer that waits for a minute doesn't keep a closed sandbox alive."""
    lab = await start_lab()
    socket = await lab.socket()
    await _watch(socket, (await lab.invoice())["paymentRequest"])
    await _next_status(socket, "watch")
    async with asyncio.timeout(TIMEOUT):
        await lab.sandbox.aclose()
    assert len(lab.sandbox._bank.tasks) == 0
