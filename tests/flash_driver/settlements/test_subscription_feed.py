"""Settlements announced on the subscription, which is set up again after each loss."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings.errors import CredentialRejected
from flash_driver.settlements.health import Listening
from flash_driver.transports.websocket.handshake import Limits
from flash_driver.transports.websocket.protocol import Next
from flash_driver.transports.websocket.subscription import Subscription
from tests.support.driver import operations
from tests.support.logs import recorded
from tests.support.proxy import FaultProxy
from tests.support.timing import SELDOM, SHORT, STEADY, account_of, short
from tests.support.waiting import undisturbed, until
from tests.support.watching import COFFEE, asked, hearing, paid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench


@pytest.fixture
async def proxy(bench: Bench) -> AsyncIterator[tuple[Sandbox, FaultProxy, str]]:
    """Give a sandbox behind a network that can fail, and the connection string that leads through it."""
    sandbox = await bench.sandbox()
    async with FaultProxy(sandbox.server) as between:
        yield (
            sandbox,
            between,
            f"type=flash;server={between.url};token={sandbox.token};allowinsecure=true",
        )


# --- hearing ------------------------------------------------------------------------------------------------------


async def test_one_subscription_serves_all(bench: Bench) -> None:
    """However many invoices and listeners there are: one subscription, and a question or two per settlement."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    listeners = [await client.listen() for _ in range(3)]
    await hearing(client)
    invoices = [await client.create_invoice(COFFEE) for _ in range(10)]
    for invoice in invoices:
        sandbox.pay(invoice.bolt11)
    for listener in listeners:
        assert {await paid(listener) for _ in invoices} == {invoice.id for invoice in invoices}
    assert operations(sandbox, "myUpdates") == {"websocket": 1}
    # Those made while the first connection is being caught up with are asked about once more.
    assert asked(sandbox) <= 20
    await until(lambda: client.health.pending == 0)


@pytest.mark.parametrize("fault", ["reset", "close", "garbage"])
async def test_what_was_paid_while_the_socket_was_down(bench: Bench, fault: str) -> None:
    """A payment that lands just as the socket breaks is found on the next connection."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    sandbox.arm(fault, when="now")
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.reconnects == 1)


async def test_what_was_paid_while_the_network_was_half_open(
    proxy: tuple[Sandbox, FaultProxy, str], bench: Bench
) -> None:
    """A peer that falls silent with TCP up is found by its missing pong, and the gap is closed."""
    sandbox, between, text = proxy
    client = await bench.client(text, timing=short(pace=SELDOM))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    between.freeze()
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    await until(lambda: (client.health.listening, client.health.reconnects) == (Listening.HEARING, 1))


async def test_a_silent_server_is_found(bench: Bench) -> None:
    """A server that answers nothing any more, pings included, is left within the keep-alive's time."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(pace=SELDOM))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("silent", when="now")
    await asyncio.sleep(0)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


async def test_the_client_answers_pings(bench: Bench) -> None:
    """The server drops a client that misses a ping; this one stays, with pings of its own off."""

    async def attempt() -> int:
        sandbox = await bench.sandbox(ping_seconds=0.4)
        client = await bench.client(sandbox, timing=short(connections=Limits(ping_interval=3600, ping_timeout=3600)))
        async with await client.listen():
            await hearing(client)
            await asyncio.sleep(1.5)
            return client.health.reconnects

    assert await undisturbed(attempt) == 0


async def test_a_dropped_event_is_found_by_asking(bench: Bench) -> None:
    """When the server forgets to tell, the invoice is found paid by the questions asked while hearing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert client.health.reconnects == 0


@pytest.mark.many_cases
async def test_reconnections_do_not_multiply_questions(bench: Bench) -> None:
    """After each reconnection every unpaid invoice is asked about, and at each loss, and no more often."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    await client.listen()
    listener = await client.listen()
    await hearing(client)
    for _ in range(15):
        await client.create_invoice(COFFEE)
    for reconnection in range(1, 5):
        sandbox.arm("reset", when="now")
        await until(lambda expected=reconnection: client.health.reconnects == expected)  # type: ignore[misc]  # bound now
        await hearing(client)
        await until(
            lambda: (
                client.health.lag == timedelta(0)
                and account_of(client).listeners.watcher._polling._schedule.next_due(0) != 0
            )
        )
    # Each is asked about at the loss and after the reconnection; eight are under way at most when a connection is lost.
    assert asked(sandbox) <= (2 * 15 + 8) * 4
    await listener.aclose()


async def test_reconnects_for_as_long_as_it_takes(proxy: tuple[Sandbox, FaultProxy, str], bench: Bench) -> None:
    """A server that is away for long is tried again and again, the host can see it, and nothing is lost."""
    sandbox, between, text = proxy
    client = await bench.client(text, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    between.accept = "refuse"
    between.reset()
    sandbox.pay(invoice.bolt11)
    await until(lambda: client.health.losses >= 4)
    health = client.health
    assert (health.listening, health.connected) == (Listening.POLLING, False)
    assert health.reason is not None
    between.heal()
    assert await paid(listener) == invoice.id
    await hearing(client)
    assert client.health.losses == 0


async def test_prices_are_taken_in_and_do_no_harm(bench: Bench) -> None:
    """A flood of prices, some of them complaints, is read and nothing else comes of it."""
    sandbox = await bench.sandbox(price_tick_seconds=0.005, display_currency="JMD")
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


# --- the token ----------------------------------------------------------------------------------------------------


async def test_a_dead_token_is_told(bench: Bench) -> None:
    """When HTTP and several fresh sockets refuse the token, listeners raise; with a new session they hear again."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    sandbox.expire_session()
    sandbox.arm("reset", when="now")
    with pytest.raises(CredentialRejected):
        await paid(listener)
    assert client.health.listening is Listening.FAILED
    sandbox.expire_session(expired=False)
    again = await client.listen(after=listener.cursor)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(again) == invoice.id
    assert await paid(listener) == invoice.id


async def test_an_anonymous_socket_is_a_mischance(bench: Bench) -> None:
    """NOT_AUTHENTICATED on the socket proves nothing (flash-server.md 1.3): a fresh socket sets it right."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    sandbox.arm("error", operation="myUpdates", code="NOT_AUTHENTICATED", channel="top", count=4)
    listener = await client.listen()
    await hearing(client)
    assert operations(sandbox, "myUpdates") == {"websocket": 5}
    await listener.aclose()


async def test_a_server_that_takes_the_token_on_sockets_alone(bench: Bench) -> None:
    """Where HTTP refuses the token anyway, one anonymous socket does not make it dead."""
    sandbox = await bench.sandbox(ws_mutations="accept", http_bearer="reject")
    client = await bench.client(sandbox, timing=SHORT)
    sandbox.arm("error", operation="myUpdates", code="NOT_AUTHENTICATED", channel="top", count=2)
    listener = await client.listen()
    await hearing(client)
    assert client.health.losses == 0
    await listener.aclose()


async def test_a_handshake_that_refuses_the_token(bench: Bench) -> None:
    """A gateway that answers the handshake with 401 is believed after several times, with HTTP's word."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.warm_up()
    account = account_of(client)
    assert account.socket is not None
    await account.socket.aclose()
    sandbox.arm("refuse_handshake", status=401, count=1000)
    sandbox.arm("http_status", status=401, operation="*", count=1000)
    listener = await client.listen()
    with pytest.raises(CredentialRejected):
        await paid(listener)
    assert operations(sandbox, "me")["http"] >= 2


async def test_a_token_that_can_not_be_confirmed_now(bench: Bench) -> None:
    """While HTTP is away an anonymous socket is tried again for ever."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.warm_up()
    sandbox.arm("error", operation="myUpdates", code="NOT_AUTHENTICATED", channel="top", count=5)
    sandbox.arm("http_status", status=503, operation="*", count=1000)
    sandbox.arm("error", operation="me", code="NOT_AUTHENTICATED", channel="top", count=5)
    listener = await client.listen()
    await hearing(client)
    await listener.aclose()


async def test_a_token_that_only_polling_refuses(bench: Bench) -> None:
    """Without a socket, a token that is refused over and over is told; a single refusal is not."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="http", timing=SHORT)
    listener = await client.listen()
    await client.create_invoice(COFFEE)
    sandbox.expire_session()
    with pytest.raises(CredentialRejected):
        await paid(listener)


@pytest.mark.parametrize(
    "update",
    [
        pytest.param({"__typename": ["LnUpdate"]}, id="a kind that is no text"),
        pytest.param({"__typename": "LnUpdate", "paymentHash": "\0" * 64, "status": "PAID"}, id="NUL in a hash"),
        pytest.param({"__typename": "LnUpdate", "paymentHash": "ab" * 32, "status": ["PAID"]}, id="a list of states"),
        pytest.param({"__typename": {}, "status": {}}, id="objects"),
        pytest.param([1, 2], id="no object"),
    ],
)
async def test_an_odd_event_ends_nothing(bench: Bench, update: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be read is passed over and told once; the subscription stays up and tells of the next payment."""
    sandbox = await bench.sandbox(price_tick_seconds=0.02)
    client = await bench.client(sandbox, timing=short(pace=SELDOM, connections=STEADY))
    odd = {"myUpdates": {"errors": [], "update": update}}
    honest, given = Subscription.receive, 0

    async def receive(subscription: Subscription) -> Next:
        nonlocal given
        event, given = await honest(subscription), given + 1
        return Next(event.id, odd, ()) if given <= 5 else event

    async with await client.listen() as listener:
        await hearing(client)
        monkeypatch.setattr(Subscription, "receive", receive)
        with recorded() as story:
            await until(lambda: given >= 6)
            invoice = await client.create_invoice(COFFEE)
            sandbox.pay(invoice.bolt11)
            assert await paid(listener) == invoice.id
        assert client.health.reconnects == 0
        assert len([entry for entry in story.entries if entry["log_level"] == "warning"]) <= 2


@pytest.mark.parametrize("mutations", ["accept", "decline"])
async def test_a_socket_that_lives_for_moments(bench: Bench, mutations: str) -> None:
    """While connections break as soon as they are up, each loss asks about what is unpaid."""
    sandbox = await bench.sandbox(ws_mutations=mutations)
    client = await bench.client(sandbox, timing=short(pace=SELDOM))
    async with await client.listen() as listener:
        for _ in range(4):
            await hearing(client)
            invoice = await client.create_invoice(COFFEE)
            sandbox.arm("drop_settlement")
            sandbox.pay(invoice.bolt11)
            sandbox.arm("reset", when="now")
            assert await paid(listener) == invoice.id


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"ws_mutations": "accept"}, id="accepts"),
        pytest.param({"ws_mutations": "decline"}, id="declines"),
        pytest.param({"ws_mutations": "close"}, id="closes"),
        pytest.param({"ws_mutations": "decline", "http_bearer": "reject"}, id="takes the token on the socket only"),
    ],
)
async def test_after_the_session_ended_payments_are_still_told(bench: Bench, kind: dict[str, str]) -> None:
    """A dead token is told on every kind of server; invoices already made are asked about in public, and told."""
    sandbox = await bench.sandbox(**kind)
    client = await bench.client(sandbox, timing=short(connections=STEADY))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.expire_session()
    sandbox.arm("reset", when="now")
    with pytest.raises(CredentialRejected):
        await paid(listener)
    assert client.health.listening is Listening.FAILED
    sandbox.pay(invoice.bolt11)

    async def told() -> bool:
        nonlocal listener
        try:
            async with asyncio.timeout(40):
                return (await listener.wait_invoice()).id == invoice.id
        except CredentialRejected:
            listener = await client.listen(after=listener.cursor)
            return False

    await until(told)
