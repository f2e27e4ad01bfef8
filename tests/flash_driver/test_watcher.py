from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import CreateInvoiceParams, LightMoney, LightningError, LightningInvoiceStatus
from connection_strings.errors import CredentialRejected
from flash_driver import watcher as watcher_module
from flash_driver.agenda import Pace
from flash_driver.health import Listening
from flash_driver.journal.urls import JournalUrl
from flash_driver.pool import Pool
from flash_driver.settings import ProcessSettings
from flash_driver.transports.handshake import Limits
from tests.support.driver import operations
from tests.support.haste import account_of, hasten
from tests.support.proxy import FaultProxy
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from flash_driver.client import FlashLightningClient
    from flash_driver.listener import FlashInvoiceListener
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

STATUS = "lnInvoicePaymentStatus"
COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
STEADY = Limits(ping_interval=3600.0, ping_timeout=3600.0)
"""Keeps a socket up on a machine that is busy with other things."""
SELDOM = Pace(quick=60.0, heard=60.0)
"""Asks so seldom that what is found in time was heard, or asked for a reason."""


def short_grace() -> ProcessSettings:
    """Return settings with a grace time that a test can wait for."""
    return ProcessSettings(journal_url=JournalUrl.parse("memory:"), invoice_budget=None, expiry_grace_seconds=1)


async def paid(listener: FlashInvoiceListener) -> str:
    """Wait for the next paid invoice."""
    async with asyncio.timeout(40):
        return (await listener.wait_invoice()).id


async def hearing(client: FlashLightningClient) -> None:
    """Wait until the client hears."""
    await until(lambda: client.health.listening is Listening.HEARING)


def asked(sandbox: Sandbox) -> int:
    """Return how often the server was asked how an invoice stands."""
    return sum(operations(sandbox, STATUS).values())


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


# --- hearing ----------------------------------------------------------------------------------------------------------


async def test_one_subscription_serves_all(bench: Bench) -> None:
    """However many invoices and listeners there are, there is one subscription, and one question per settlement."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
    listeners = [await client.listen() for _ in range(3)]
    await hearing(client)
    invoices = [await client.create_invoice(COFFEE) for _ in range(10)]
    for invoice in invoices:
        sandbox.pay(invoice.bolt11)
    for listener in listeners:
        assert {await paid(listener) for _ in invoices} == {invoice.id for invoice in invoices}
    assert operations(sandbox, "myUpdates") == {"websocket": 1}
    assert asked(sandbox) == 10
    assert client.health.pending == 0


@pytest.mark.parametrize("fault", ["reset", "close", "garbage"])
async def test_what_was_paid_while_the_socket_was_down(bench: Bench, fault: str) -> None:
    """A payment that lands just as the socket breaks is found on the next connection."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    sandbox.arm(fault, when="now")
    assert await paid(listener) == invoice.id
    assert client.health.reconnects == 1


async def test_what_was_paid_while_the_network_was_half_open(
    proxy: tuple[Sandbox, FaultProxy, str], bench: Bench
) -> None:
    """A peer that falls silent with TCP up is found by its missing pong, and the gap is closed."""
    sandbox, between, text = proxy
    client = hasten(await bench.client(text), pace=SELDOM)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    between.freeze()
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert (client.health.listening, client.health.reconnects) == (Listening.HEARING, 1)


async def test_a_silent_server_is_found(bench: Bench) -> None:
    """A server that answers nothing any more, pings included, is left within the keep-alive's time."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("silent", when="now")
    await asyncio.sleep(0)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


async def test_the_client_answers_pings(bench: Bench) -> None:
    """The server drops a client that misses a ping; this one stays, with pings of its own off."""
    sandbox = await bench.sandbox(ping_seconds=0.05)
    client = hasten(await bench.client(sandbox), limits=Limits(ping_interval=3600, ping_timeout=3600))
    listener = await client.listen()
    await hearing(client)
    await asyncio.sleep(0.5)
    assert client.health.reconnects == 0
    await listener.aclose()


async def test_a_dropped_event_is_found_by_asking(bench: Bench) -> None:
    """When the server forgets to tell, the invoice is found paid by the questions asked while hearing."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), limits=STEADY)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert client.health.reconnects == 0


async def test_reconnections_do_not_multiply_questions(bench: Bench) -> None:
    """After each reconnection every unpaid invoice is asked about once, and never more are under way."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
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
            lambda: client.health.lag == timedelta(0) and account_of(client).watcher._asking._agenda.next_due(0) != 0
        )
    # Eight are under way at most when a connection is lost, and asked again.
    assert asked(sandbox) <= (15 + 8) * 4
    assert account_of(client).watcher._asking._agenda.scheduled <= 3 * 15 + 64
    await listener.aclose()


async def test_reconnects_for_as_long_as_it_takes(proxy: tuple[Sandbox, FaultProxy, str], bench: Bench) -> None:
    """A server that is away for long is tried again and again, the host can see it, and nothing is lost."""
    sandbox, between, text = proxy
    client = hasten(await bench.client(text))
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
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


# --- believing --------------------------------------------------------------------------------------------------------


async def test_an_announcement_is_checked(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A settlement that the query does not confirm is none, however often it is announced; it is told once."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    lied, true = await client.create_invoices([COFFEE] * 2)
    with caplog.at_level(logging.WARNING, "flash_driver"):
        for _ in range(5):
            sandbox.announce(lied.payment_hash)
            sandbox.announce("ab" * 32, wallet_id="00000000-0000-4000-8000-000000000000")
        await until(lambda: asked(sandbox) > 0)
        sandbox.pay(true.bolt11)
        assert await paid(listener) == true.id
    found = await client.get_invoice(lied.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.UNPAID
    told = [record.getMessage() for record in caplog.records]
    assert len([line for line in told if "the query says that it is unpaid" in line]) == 1
    assert len([line for line in told if "did not make" in line]) == 1


async def test_paid_is_for_good(bench: Bench) -> None:
    """Announcements after the settlement, EXPIRED among them, change nothing and are not delivered again."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM, limits=STEADY)
    listener = await client.listen()
    await hearing(client)
    first, second = await client.create_invoices([COFFEE] * 2)
    sandbox.pay(first.bolt11)
    assert await paid(listener) == first.id
    for status in ("PAID", "EXPIRED", "PENDING"):
        sandbox.announce(first.payment_hash, status=status)
    sandbox.pay(second.bolt11)
    assert await paid(listener) == second.id
    found = await client.get_invoice(first.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.PAID


async def test_a_settlement_of_another_wallet_of_the_account(bench: Bench) -> None:
    """The wallet that an event names is not asked for: after a move it is another one (flash-api.md 3.2)."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox), pace=SELDOM)
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    sandbox.announce(invoice.payment_hash, wallet_id="00000000-0000-4000-8000-000000000000")
    assert await paid(listener) == invoice.id


async def test_expired_is_said_after_the_grace_time_only(bench: Bench) -> None:
    """A payment that lands in the grace time is PAID, one that never comes is EXPIRED, and then nothing is asked."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2)
    client = hasten(await bench.client(sandbox, process=short_grace()))
    listener = await client.listen()
    await hearing(client)
    late, never = await client.create_invoices([COFFEE] * 2)
    await until(lambda: datetime.now(UTC) > late.expires_at)
    found = await client.get_invoice(never.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.UNPAID
    sandbox.arm("drop_settlement")
    sandbox.pay(late.bolt11, force=True)
    assert await paid(listener) == late.id
    await until(lambda: client.health.pending == 0)
    found = await client.get_invoice(never.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.EXPIRED


async def test_paid_after_expired_still_wins(bench: Bench) -> None:
    """Should the custodian take a payment after all, it is delivered."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=2)
    client = hasten(await bench.client(sandbox, process=short_grace()))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    await until(lambda: client.health.pending == 0)
    sandbox.announce(invoice.payment_hash)
    await until(lambda: client.health.pending == 0)
    sandbox.pay(invoice.bolt11, force=True)
    assert await paid(listener) == invoice.id


@pytest.mark.parametrize("days", [-1, 1])
async def test_clock_jumps(bench: Bench, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that is a day off loses nothing and invents nothing: pauses are measured on a steady clock."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    before = await client.create_invoice(COFFEE)
    for part in (account_of(client).watcher._asking, account_of(client).invoices):
        monkeypatch.setattr(part, "_clock", lambda: datetime.now(UTC) + timedelta(days=days))
    after = await client.create_invoice(COFFEE)
    for invoice in (after, before):
        sandbox.arm("drop_settlement")
        sandbox.pay(invoice.bolt11)
        assert await paid(listener) == invoice.id


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transports", ["http", "graphql"])
async def test_without_a_socket_it_polls(bench: Bench, transports: str) -> None:
    """Where no socket can be had, invoices are asked about, and that ends with them."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox, transports=transports))
    listener = await client.listen()
    await until(lambda: client.health.listening is Listening.POLLING)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert (client.health.pending, account_of(client).watcher._asking._agenda.next_due(0)) == (0, None)


async def test_an_api_key_polls_below_its_limit(bench: Bench) -> None:
    """An API key opens no subscription; its questions keep below 120 a minute (flash-api.md 1.4)."""
    sandbox = await bench.sandbox()
    text = f"type=flash;server={sandbox.server};token={sandbox.api_key};allowinsecure=true"
    client = await bench.client(text)
    listener = await client.listen()
    assert account_of(client).watcher._asking._poll_spacing >= timedelta(seconds=0.5)
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "http_status", "status": 429}, id="rate limit"),
        pytest.param({"kind": "http_status", "status": 503}, id="server away"),
        pytest.param({"kind": "http_status", "status": 401}, id="token refused for a moment"),
        pytest.param({"kind": "error", "code": "IBEX_ERROR", "channel": "top"}, id="custodian away"),
    ],
)
async def test_trouble_with_asking_passes(bench: Bench, fault: dict[str, object]) -> None:
    """Questions that fail are asked again, with pauses, and the payment is found when the trouble is over."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox, transports="http"))
    listener = await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    details = {name: value for name, value in fault.items() if name != "kind"}
    sandbox.arm(str(fault["kind"]), operation=STATUS, count=3, **details)
    assert await paid(listener) == invoice.id
    assert client.health.reason == "this token opens no WebSocket"


async def test_trouble_is_told_in_health(bench: Bench) -> None:
    """While asking fails although the socket is up, health says why."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("error", operation=STATUS, count=1000, code="IBEX_ERROR", channel="top")
    sandbox.pay(invoice.bolt11)
    await until(lambda: "asking about an invoice failed" in str(client.health.reason))
    sandbox.clear_faults()
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.reason is None)


async def test_an_unknown_status_is_asked_about_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that nobody knows is no verdict: the invoice stays unpaid until there is one."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    from flash_driver.replies import InvoiceStatus, read_invoice_status  # noqa: PLC0415 - for this test alone

    words = [InvoiceStatus.UNKNOWN] * 3

    def read(data: dict[str, object]) -> InvoiceStatus:
        return words.pop() if words else read_invoice_status(data)

    monkeypatch.setattr("flash_driver.invoices.read_invoice_status", read)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    assert words == []


async def test_invoices_of_other_processes_are_watched(bench: Bench) -> None:
    """What another process made, which may have died, is taken up from the journal."""
    sandbox = await bench.sandbox()
    pool = Pool()
    client = hasten(await bench.client(sandbox, pool))
    other = hasten(await bench.client(sandbox, pool, transports="http"))
    listener = await client.listen()
    await hearing(client)
    heard, dropped = await other.create_invoices([COFFEE] * 2)
    sandbox.pay(heard.bolt11)
    assert await paid(listener) == heard.id
    sandbox.arm("drop_settlement")
    sandbox.pay(dropped.bolt11)
    assert await paid(listener) == dropped.id


async def test_what_another_process_settled_is_let_go(bench: Bench) -> None:
    """An invoice that the journal knows as paid is not asked about any more."""
    sandbox = await bench.sandbox()
    pool = Pool()
    client = hasten(await bench.client(sandbox, pool))
    other = hasten(await bench.client(sandbox, pool, transports="http"))
    listener = await client.listen()
    await hearing(client)
    invoice = await client.create_invoice(COFFEE)
    sandbox.arm("drop_settlement")
    sandbox.pay(invoice.bolt11)
    await other.get_invoice(invoice.id)
    assert await paid(listener) == invoice.id
    await until(lambda: client.health.pending == 0)


async def test_what_failed_half_way_is_watched(bench: Bench) -> None:
    """Of many invoices one fails: those that were made are watched all the same."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    listener = await client.listen()
    await hearing(client)
    await client.create_invoice(COFFEE)
    sandbox.arm("error", code="INVALID_INPUT")
    with pytest.raises(LightningError):
        await client.create_invoices([COFFEE, *[COFFEE] * 3])
    await until(lambda: client.health.pending == len(sandbox.ledger_snapshot()["invoices"]))
    await listener.aclose()


# --- the token --------------------------------------------------------------------------------------------------------


async def test_a_dead_token_is_told(bench: Bench) -> None:
    """When HTTP and several fresh sockets refuse the token, listeners raise; with a new session they hear again."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
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
    """NOT_AUTHENTICATED on the socket proves nothing (flash-api.md 1.3): a fresh socket sets it right."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    sandbox.arm("error", operation="myUpdates", code="NOT_AUTHENTICATED", channel="top", count=4)
    listener = await client.listen()
    await hearing(client)
    assert operations(sandbox, "myUpdates") == {"websocket": 5}
    await listener.aclose()


async def test_a_server_that_takes_the_token_on_sockets_alone(bench: Bench) -> None:
    """Where HTTP refuses the token anyway, one anonymous socket does not make it dead."""
    sandbox = await bench.sandbox(http_bearer="reject")
    client = hasten(await bench.client(sandbox))
    sandbox.arm("error", operation="myUpdates", code="NOT_AUTHENTICATED", channel="top", count=2)
    listener = await client.listen()
    await hearing(client)
    assert client.health.losses == 0
    await listener.aclose()


async def test_a_handshake_that_refuses_the_token(bench: Bench) -> None:
    """A gateway that answers the handshake with 401 is believed after several times, with HTTP's word."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    await client.warm_up()
    account = account_of(client)
    assert account.socket is not None
    await account.socket.aclose()
    sandbox.arm("refuse_handshake", status=401, count=1000)
    sandbox.arm("http_status", status=401, operation="*", count=1000)
    listener = await client.listen()
    with pytest.raises(CredentialRejected):
        await paid(listener)
    assert operations(sandbox, "me")["http"] >= 3


async def test_a_token_that_can_not_be_confirmed_now(bench: Bench) -> None:
    """While HTTP is away an anonymous socket is tried again for ever."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
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
    client = hasten(await bench.client(sandbox, transports="http"))
    listener = await client.listen()
    await client.create_invoice(COFFEE)
    sandbox.expire_session()
    with pytest.raises(CredentialRejected):
        await paid(listener)


# --- breaking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "breaking",
    [
        lambda account: (account.router, "learn_whether_socket_executes"),
        lambda account: (account.journal, "pending_invoices"),
        lambda account: (account.invoices, "refresh"),
    ],
)
async def test_a_watcher_that_breaks_says_so(
    bench: Bench, breaking: Callable[[object], tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener never looks healthy while nothing is heard: it raises, and listening again mends it."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    await client.create_invoice(COFFEE)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(*breaking(account_of(client)), broken)
        listener = await client.listen()
        with pytest.raises(LightningError, match=r"watching invoices broke \((RuntimeError|ExceptionGroup)\)"):
            await paid(listener)
    await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id


async def test_a_journal_that_hiccups_is_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that can't be read once is asked again; hearing goes on meanwhile."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    invoice = await client.create_invoice(COFFEE)
    journal, failed = account_of(client).journal, asyncio.Event()
    healthy = journal.pending_invoices

    def hiccup(*_: object, **__: object) -> None:
        monkeypatch.setattr(journal, "pending_invoices", healthy)
        failed.set()
        raise LightningError("the database is away for a moment")

    monkeypatch.setattr(watcher_module, "_LOAD_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(journal, "pending_invoices", hiccup)
    async with await client.listen() as listener:
        await failed.wait()
        sandbox.pay(invoice.bolt11)
        assert await paid(listener) == invoice.id


async def test_what_is_broken_does_not_look_healthy_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a part of the watcher has died, an event on the subscription does not make it healthy."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    account = account_of(client)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(account.journal, "pending_invoices", broken)
    async with await client.listen():
        await until(lambda: account.watcher.failure is not None and account.watcher._hearing.last_event_at is not None)
        assert client.health.listening is Listening.FAILED
        assert account.watcher.failure is not None


async def test_an_error_in_the_stream_is_a_reason_to_begin_anew(bench: Bench) -> None:
    """An event that the server failed to make may have been a settlement: it is asked for after resubscribing."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    sandbox.arm("error", operation="myUpdates", code="INTERNAL_SERVER_ERROR", channel="top", count=2)
    listener = await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    await hearing(client)


async def test_starting_and_stopping_twice(bench: Bench) -> None:
    """A second start or stop changes nothing, and what is not running watches nothing."""
    sandbox = await bench.sandbox()
    client = hasten(await bench.client(sandbox))
    watcher = account_of(client).watcher
    await watcher.stop()
    await client.create_invoice(COFFEE)
    assert (watcher.running, watcher.watched) == (False, 0)
    await watcher.start()
    await watcher.start()
    await until(lambda: watcher.watched == 1)
    assert watcher.running
    await watcher.stop()
    assert (watcher.watched, watcher.listening) == (0, Listening.OFF)
