"""The watcher as a whole: it starts, stops, and says when it breaks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from connection_strings import LightningError
from flash_driver.common.deadline import Deadline
from flash_driver.journal.errors import KnownElsewhere
from flash_driver.settlements.health import Listening
from tests.support.driver import operations
from tests.support.timing import SHORT, STEADY, account_of, short, watched_of
from tests.support.waiting import until
from tests.support.watching import COFFEE, hearing, paid

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.driver import Bench


@pytest.mark.parametrize(
    "breaking",
    [
        lambda client: (watched_of(client).router, "learn_whether_socket_executes"),
        lambda client: (watched_of(client).journal, "pending_invoices"),
    ],
)
async def test_a_watcher_that_breaks_says_so(
    bench: Bench, breaking: Callable[[object], tuple[object, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener never looks healthy while nothing is heard: it raises, and listening again mends it."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.create_invoice(COFFEE)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(*breaking(client), broken)
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
    client = await bench.client(sandbox, timing=SHORT)
    invoice = await client.create_invoice(COFFEE)
    journal, failed = account_of(client).journal, asyncio.Event()
    healthy = journal.pending_invoices

    def hiccup(*_: object, **__: object) -> None:
        monkeypatch.setattr(journal, "pending_invoices", healthy)
        failed.set()
        raise LightningError("the database is away for a moment")

    monkeypatch.setattr(journal, "pending_invoices", hiccup)
    async with await client.listen() as listener:
        await failed.wait()
        sandbox.pay(invoice.bolt11)
        assert await paid(listener) == invoice.id


async def test_what_is_broken_does_not_look_healthy_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a part of the watcher has died, an event on the subscription does not make it healthy."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    account = account_of(client)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(account.journal, "pending_invoices", broken)
    async with await client.listen():
        await until(
            lambda: (
                client.health.listening is Listening.FAILED
                and account.listeners.watcher._feed.last_event_at is not None
            )
        )
        assert client.health.listening is Listening.FAILED


async def test_an_error_in_the_stream_is_a_reason_to_begin_anew(bench: Bench) -> None:
    """An event that the server failed to make may have been a settlement: it is asked for after resubscribing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    sandbox.arm("error", operation="myUpdates", code="INTERNAL_SERVER_ERROR", channel="top", count=2)
    listener = await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    assert await paid(listener) == invoice.id
    await hearing(client)


# --- whose account --------------------------------------------------------------------------------------------------


async def test_a_reconnection_costs_one_question_about_the_account(bench: Bench) -> None:
    """Listening begins with what is known of the account; each reconnection has it confirmed once, by one query."""
    sandbox = await bench.sandbox(ws_mutations="accept")
    client = await bench.client(sandbox, timing=short(connections=STEADY))
    await client.create_invoice(COFFEE)
    asked = [sum(operations(sandbox, "me").values())]
    async with await client.listen():
        await hearing(client)
        await until(lambda: not account_of(client).listeners.watcher._unsure)
        asked.append(sum(operations(sandbox, "me").values()))
        for reconnections in (1, 2):
            sandbox.arm("reset", when="now")
            await until(lambda expected=reconnections: client.health.reconnects == expected)  # type: ignore[misc]  # bound now
            await hearing(client)
            await until(lambda: not account_of(client).listeners.watcher._unsure)
            asked.append(sum(operations(sandbox, "me").values()))
    assert asked == [1, 1, 2, 3]


async def test_what_was_said_between_a_loss_and_the_reconnection_confirms_nothing(bench: Bench) -> None:
    """A server that ends may answer for a while after it has closed the socket: it is asked again on the next one."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(connections=STEADY))
    async with await client.listen():
        await hearing(client)
        await until(lambda: not account_of(client).listeners.watcher._unsure)
        sandbox.arm("refuse_handshake", status=503, count=10**6)
        sandbox.arm("reset", when="now")
        await until(lambda: client.health.losses > 1)
        await account_of(client).wallets.choose(Deadline.after(40), at_most_old=timedelta(0))
        before = sum(operations(sandbox, "me").values())
        sandbox.clear_faults()
        await hearing(client)
        await until(lambda: not account_of(client).listeners.watcher._unsure)
        assert sum(operations(sandbox, "me").values()) == before + 1


async def test_the_journal_follows_when_the_token_opens_another_account(bench: Bench) -> None:
    """When a restarted server gives the token another account, that one's settlements are heard from then on."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    listener = await client.listen()
    await hearing(client)
    old = await client.create_invoice(COFFEE)
    sandbox.pay(old.bolt11)
    assert await paid(listener) == old.id
    unpaid = await client.create_invoice(COFFEE)
    before = listener.cursor
    port = URL(sandbox.server).port
    await sandbox.aclose()
    replaced = await bench.sandbox(port=port, token=sandbox.token)
    waiting = asyncio.create_task(paid(listener))
    await until(lambda: listener.cursor.partition(":")[0] != before.partition(":")[0])
    assert await client.list_invoices() == []
    with pytest.raises(KnownElsewhere):
        await client.get_invoice(unpaid.id)
    new = await client.create_invoice(COFFEE)
    replaced.pay(new.bolt11)
    assert await waiting == new.id
    assert listener.cursor.partition(":")[2] == "1"
    await until(lambda: client.health.pending == 0)
    await listener.aclose()


async def test_an_account_that_can_not_be_confirmed_now(bench: Bench) -> None:
    """While the server does not tell whose account this is, settlements are heard, and it is asked again."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(connections=STEADY))
    async with await client.listen() as listener:
        await hearing(client)
        await until(lambda: not account_of(client).listeners.watcher._unsure)
        invoice = await client.create_invoice(COFFEE)
        sandbox.arm("error", operation="me", code="IBEX_ERROR", channel="top", count=1000)
        sandbox.arm("reset", when="now")
        await until(lambda: client.health.reconnects == 1)
        sandbox.pay(invoice.bolt11)
        assert await paid(listener) == invoice.id
        before = sum(operations(sandbox, "me").values())
        await until(lambda: sum(operations(sandbox, "me").values()) >= before + 4)
        assert account_of(client).listeners.watcher._unsure
        sandbox.clear_faults()
        await until(lambda: not account_of(client).listeners.watcher._unsure)
