"""Connection strings with one server and token listen together, whatever else they say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_driver.accounts.pool import Pool
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening
from tests.support.driver import operations
from tests.support.timing import SHORT, STEADY, short
from tests.support.waiting import until
from tests.support.watching import COFFEE, asked, hearing, paid

if TYPE_CHECKING:
    from tests.support.driver import Bench

_STRINGS: tuple[dict[str, str], ...] = (
    {"transports": "http"},
    {"currency": "USD", "amount_tolerance": "2", "transports": "graphql,http"},
    {"transports": "websocket,http"},
    {},
)


async def test_strings_of_one_token_share_one_subscription(bench: Bench) -> None:
    """Four strings that differ in all else are told of each other's settlements by one subscription."""
    sandbox, pool = await bench.sandbox(), Pool(short(connections=STEADY))
    clients = [await bench.client(sandbox, pool, None, None, **keys) for keys in _STRINGS]
    listeners = [await client.listen() for client in clients]
    await hearing(clients[0])
    subscribed = operations(sandbox, "myUpdates")
    invoices = [(await client.create_invoice(COFFEE)) for client in clients]
    for invoice in invoices:
        sandbox.pay(invoice.bolt11)
    for listener in listeners:
        assert {await paid(listener) for _ in invoices} == {invoice.id for invoice in invoices}
    assert operations(sandbox, "myUpdates") == subscribed
    assert {client.health.listening for client in clients} == {Listening.HEARING}


async def test_four_strings_ask_no_more_than_one(bench: Bench) -> None:
    """Where nothing is announced an open invoice costs a question per pause, however many strings listen."""
    pace = replace(SHORT.watching.pace, polling=0.4, young=0.4, slowest=0.4)
    sandbox, pool = await bench.sandbox(), Pool(short(pace=pace))
    keys = [{**each, "token": sandbox.api_key} for each in _STRINGS]
    clients = [await bench.client(sandbox, pool, None, None, **each) for each in keys]
    loop = asyncio.get_running_loop()
    invoice = await clients[0].create_invoice(COFFEE)
    begun = loop.time()
    listeners = [await client.listen() for client in clients]
    await until(lambda: asked(sandbox) >= 8)
    # One at the beginning, and one for each time that the watcher began to use more ways.
    assert asked(sandbox) <= 1 + len(clients) + (loop.time() - begun) / 0.4
    sandbox.pay(invoice.bolt11)
    assert [await paid(listener) for listener in listeners] == [invoice.id] * len(clients)


async def test_the_listener_of_one_string_goes_on_when_the_others_close(bench: Bench) -> None:
    """Neither the first string's end nor that of the only one with a socket ends the listening of another."""
    sandbox, pool = await bench.sandbox(), Pool(SHORT)
    first, socket, last = [
        await bench.client(sandbox, pool, None, None, **keys) for keys in ({"currency": "USD"}, {}, _STRINGS[0])
    ]
    *_, listener = [await client.listen() for client in (first, socket, last)]
    await first.aclose()
    await socket.aclose()
    invoice = await last.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    await last.aclose()
    await until(lambda: sandbox.ledger_snapshot()["connections"]["open"] == 0)


async def test_two_tokens_of_one_account_listen_each_for_itself(bench: Bench) -> None:
    """Each token has its own subscription, so that the end of one session ends only its own listeners."""
    sandbox, pool = await bench.sandbox(), Pool(SHORT)
    ending = await bench.client(sandbox, pool)
    lasting = await bench.client(sandbox, pool, token=sandbox.log_in())
    listeners = [await client.listen() for client in (ending, lasting)]
    await hearing(ending)
    await hearing(lasting)
    sandbox.expire_session()
    invoice = await lasting.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listeners[1]) == invoice.id
    assert lasting.health.listening is Listening.HEARING


async def test_what_a_string_says_of_trust_is_the_process_s_own(bench: Bench) -> None:
    """Clients of other process settings, such as another journal or `settle_on`, are watched by themselves."""
    sandbox, pool = await bench.sandbox(), Pool(SHORT)
    settings = [ProcessSettings(invoice_budget=None, settle_on=on) for on in ("query", "event")]
    clients = [await bench.client(sandbox, pool, process) for process in settings]
    listeners = [await client.listen() for client in clients]
    for client in clients:
        await hearing(client)
    assert len(listeners) == 2
    assert operations(sandbox, "myUpdates") == {"websocket": 2}
