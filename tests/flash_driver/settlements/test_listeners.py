from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

import pytest

from connection_strings import (
    CreateInvoiceParams,
    InvalidRequest,
    LightMoney,
    LightningError,
    LightningInvoice,
)
from flash_driver.accounts.pool import Pool
from flash_driver.journal.errors import JournalError
from flash_driver.settlements.health import Listening
from flash_driver.settlements.listeners import parse_cursor
from tests.support.timing import SHORT, account_of, short
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.journal.records import InvoiceRecord
    from flash_driver.sandbox import Sandbox
    from flash_driver.settlements.listeners import FlashInvoiceListener
    from tests.support.driver import Bench

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")


async def settle(client: FlashLightningClient, sandbox: Sandbox, count: int) -> list[str]:
    """Make invoices, let them be paid, and return their ids in the order of settlement."""
    ids = []
    for _ in range(count):
        invoice = await client.create_invoice(COFFEE)
        sandbox.pay(invoice.bolt11)
        ids.append(invoice.id)
        await client.get_invoice(invoice.id)
    return ids


async def hear(listener: FlashInvoiceListener, count: int) -> list[str]:
    """Wait for that many paid invoices."""
    async with asyncio.timeout(40):
        return [(await listener.wait_invoice()).id for _ in range(count)]


@pytest.fixture
async def sandbox(bench: Bench) -> Sandbox:
    """Give a sandbox."""
    return await bench.sandbox()


@pytest.fixture
async def client(bench: Bench, sandbox: Sandbox) -> FlashLightningClient:
    """Give a client of it."""
    return await bench.client(sandbox, timing=SHORT)


async def test_each_listener_hears_each_invoice_once_and_in_order(
    client: FlashLightningClient, sandbox: Sandbox
) -> None:
    """Every listener gets all that is settled from its beginning on, in the order of settlement."""
    first = await client.listen()
    early = await settle(client, sandbox, 3)
    second = await client.listen()
    late = await settle(client, sandbox, 3)
    assert await hear(first, 6) == early + late
    assert await hear(second, 3) == late
    assert first.cursor == second.cursor


async def test_a_paid_invoice_tells_all_a_host_needs(client: FlashLightningClient, sandbox: Sandbox) -> None:
    """What is delivered has the amount received and the time, and no preimage that is none."""
    listener = await client.listen()
    invoice = await client.create_invoice(COFFEE)
    sandbox.pay(invoice.bolt11)
    async with asyncio.timeout(40):
        paid = await listener.wait_invoice()
    assert (paid.id, paid.bolt11, paid.amount_received, paid.preimage) == (
        invoice.id,
        invoice.bolt11,
        invoice.amount,
        None,
    )
    assert paid.paid_at is not None


async def test_a_cursor_goes_on_behind_what_was_given_out(
    client: FlashLightningClient, sandbox: Sandbox, bench: Bench
) -> None:
    """`listen(after=cursor)` delivers what was settled since, also when nobody listened, and nothing twice."""
    listener = await client.listen()
    cursors = [listener.cursor]
    ids = await settle(client, sandbox, 4)
    for _ in range(2):
        await hear(listener, 1)
        cursors.append(listener.cursor)
    await listener.aclose()
    for heard, cursor in enumerate(cursors):
        again = await client.listen(after=cursor)
        assert await hear(again, 4 - heard) == ids[heard:]
    other = await bench.client(sandbox, client._pool)
    assert await hear(await other.listen(after=cursors[0]), 4) == ids


@pytest.mark.parametrize(
    ("cursor", "why"),
    [
        ("", "is not a cursor"),
        ("lol", "is not a cursor"),
        (":1", "is not a cursor"),
        ("journal:", "is not a cursor"),
        ("journal:-1", "is not a cursor"),
        ("journal:1.5", "is not a cursor"),
        ("journal:²", "is not a cursor"),
        (f"journal:{'9' * 5000}", "is not a cursor"),
        (7, "is not a cursor"),
        ("other:1", "belongs to another journal"),
        ("journal:8", "points beyond the last settlement"),
    ],
)
def test_bad_cursors(cursor: object, why: str) -> None:
    """A cursor of another journal, from the future, or none at all is refused, and it is said why."""
    with pytest.raises(InvalidRequest, match=why):
        parse_cursor(cursor, "journal", 7)


def test_good_cursors() -> None:
    """A cursor may stand anywhere up to the last settlement, and a journal's id may have colons."""
    assert parse_cursor("journal:7", "journal", 7) == 7
    assert parse_cursor("a:b:0", "a:b", 0) == 0


async def test_a_bad_cursor_starts_nothing(client: FlashLightningClient) -> None:
    """A refused cursor leaves no watcher behind."""
    with pytest.raises(InvalidRequest):
        await client.listen(after="from another journal:0")
    assert client.health.listening is Listening.OFF


async def test_callers_that_wait_at_once_get_one_each(client: FlashLightningClient, sandbox: Sandbox) -> None:
    """Several waiting callers share what comes; none gets another's."""
    listener = await client.listen()
    waiting = [asyncio.create_task(listener.wait_invoice()) for _ in range(4)]
    ids = await settle(client, sandbox, 4)
    async with asyncio.timeout(40):
        assert {invoice.id for invoice in await asyncio.gather(*waiting)} == set(ids)


async def test_a_cancelled_caller_takes_nothing(client: FlashLightningClient, sandbox: Sandbox) -> None:
    """Whenever a waiting caller is cancelled, the invoice goes to the next one."""
    listener = await client.listen()
    heard: list[LightningInvoice] = []
    ids: list[str] = []
    for turns in range(12):
        waiting = asyncio.create_task(listener.wait_invoice())
        ids += await settle(client, sandbox, 1)
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        heard += [each for each in await asyncio.gather(waiting, return_exceptions=True) if _is_invoice(each)]  # type: ignore[misc]  # checked
    rest = await hear(listener, len(ids) - len(heard))
    assert [invoice.id for invoice in heard] + rest == ids


def _is_invoice(value: object) -> bool:
    return isinstance(value, LightningInvoice)


async def test_an_impatient_caller_loses_nothing(client: FlashLightningClient, sandbox: Sandbox) -> None:
    """A host that waits with short time-outs hears of everything once."""
    listener = await client.listen()
    ids = await settle(client, sandbox, 5)
    heard: list[str] = []

    async def try_once() -> bool:
        with contextlib.suppress(TimeoutError):
            heard.append((await asyncio.wait_for(listener.wait_invoice(), 0.0005)).id)
        return len(heard) == 5

    await until(try_once)
    assert heard == ids


async def test_closing_ends_the_waiting(client: FlashLightningClient) -> None:
    """A pending `wait_invoice` is cancelled when its listener is closed, and so is every later one."""
    listener = await client.listen()
    waiting = [asyncio.create_task(listener.wait_invoice()) for _ in range(2)]
    await asyncio.sleep(0)
    await listener.aclose()
    await listener.aclose()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
    with pytest.raises(asyncio.CancelledError, match="the listener was closed"):
        await listener.wait_invoice()


async def test_iterating_ends_with_the_listener(client: FlashLightningClient, sandbox: Sandbox) -> None:
    """`async for` yields what is paid, and ends in good order when the listener is closed."""
    heard: list[str] = []

    async def iterate(listener: FlashInvoiceListener) -> None:
        async for invoice in listener:
            heard.append(invoice.id)  # noqa: PERF401 - looked at while it grows

    async with await client.listen() as listener:
        task = asyncio.create_task(iterate(listener))
        ids = await settle(client, sandbox, 2)
        await until(lambda: len(heard) == 2)
    await task
    assert heard == ids


async def test_iterating_passes_a_cancellation_on(client: FlashLightningClient) -> None:
    """A task that is cancelled while it iterates ends as cancelled, also when the listener is closed by then."""
    listener = await client.listen()
    task = asyncio.create_task(anext(listener))
    await asyncio.sleep(0)
    task.cancel()
    await listener.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failure_is_told_after_what_is_ready(client: FlashLightningClient, sandbox: Sandbox) -> None:
    """What was settled before the watcher failed is still delivered, then the reason is raised."""
    listener = await client.listen()
    ids = await settle(client, sandbox, 2)
    account_of(client).listeners.watcher._state.fail(LightningError("no more news"))
    assert await hear(listener, 2) == ids
    for _ in range(2):
        with pytest.raises(LightningError, match="no more news"):
            await listener.wait_invoice()


async def test_the_watcher_works_while_somebody_listens(client: FlashLightningClient) -> None:
    """It starts with the first listener and ends with the last."""
    states = [client.health.listening]
    first, second = await client.listen(), await client.listen()
    for listener in (first, second):
        states.append(client.health.listening)
        await listener.aclose()
    states.append(client.health.listening)
    assert (states[0], states[-1]) == (Listening.OFF, Listening.OFF)
    assert Listening.OFF not in states[1:-1]


async def test_a_forgotten_listener_does_not_keep_the_watcher(client: FlashLightningClient) -> None:
    """A listener that is dropped without being closed leaves with the garbage."""
    listener = await client.listen()
    await until(lambda: client.health.listening is Listening.HEARING)
    del listener
    gc.collect()
    await until(lambda: client.health.listening is Listening.OFF)


async def test_a_forgotten_client_does_not_take_its_listener_along(bench: Bench, sandbox: Sandbox) -> None:
    """A listener in use outlives the client object that made it, also when other clients come and go."""
    pool = Pool(SHORT)
    keeper = await bench.client(sandbox, pool)
    string, process = keeper._settings, keeper._process
    maker = type(keeper)(string, process, pool)
    listener = await maker.listen()
    del maker
    await keeper.aclose()
    gc.collect()
    ids = await settle(keeper, sandbox, 1)
    await keeper.aclose()
    assert await hear(listener, 1) == ids
    await listener.aclose()


async def test_a_client_takes_its_own_listeners_along(bench: Bench, sandbox: Sandbox) -> None:
    """Closing a client closes its listeners and nobody else's; the last one leaves no task behind."""
    pool = Pool(SHORT)
    one, two = await bench.client(sandbox, pool), await bench.client(sandbox, pool)
    mine, theirs = await one.listen(), await two.listen()
    waiting = asyncio.create_task(mine.wait_invoice())
    await asyncio.sleep(0)
    await one.aclose()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
    ids = await settle(two, sandbox, 1)
    assert await hear(theirs, 1) == ids
    await two.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")]


async def test_closing_goes_on_when_it_is_cancelled(client: FlashLightningClient) -> None:
    """A caller that is cancelled while closing leaves no watcher behind."""
    listener = await client.listen()
    closing = asyncio.create_task(listener.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await until(lambda: client.health.listening is Listening.OFF)


async def test_closing_everything_closes_listeners(client: FlashLightningClient) -> None:
    """An account that ends closes the listeners that are still open."""
    listener = await client.listen()
    waiting = asyncio.create_task(listener.wait_invoice())
    await asyncio.sleep(0)
    await account_of(client).listeners.aclose()
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
    assert client.health.listening is Listening.OFF


# --- hardy ----------------------------------------------------------------------------------------------------------


async def test_a_journal_that_can_not_be_read_for_a_while(
    client: FlashLightningClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads that fail are tried again: listeners wait, health says why, and nothing is lost or told twice."""
    listeners = [await client.listen() for _ in range(20)]
    waiting = [asyncio.create_task(hear(listener, 3)) for listener in listeners]
    journal = account_of(client).journal
    healthy, failed = journal.settled_after, 0

    async def away(*_: object) -> list[InvoiceRecord]:
        nonlocal failed
        failed += 1
        raise JournalError("the journal", "did not answer within 5 s", "check its disk")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "settled_after", away)
        ids = await settle(client, sandbox, 3)
        await until(lambda: failed >= 3)
        assert "did not answer within 5 s" in str(client.health.reason)
    assert journal.settled_after == healthy
    assert await asyncio.gather(*waiting) == [ids] * 20
    await until(lambda: client.health.reason is None)


async def test_a_journal_that_stays_away_is_told(
    bench: Bench, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the journal can't be read for longer than its patience, listeners raise; listening again mends it."""
    client = await bench.client(sandbox, timing=short(journal_patience=0.2))
    listener = await client.listen()
    cursor, journal = listener.cursor, account_of(client).journal

    async def away(*_: object) -> list[InvoiceRecord]:
        raise JournalError("the journal", "is gone", "bring it back")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "settled_after", away)
        ids = await settle(client, sandbox, 1)
        with pytest.raises(JournalError, match="is gone"):
            await hear(listener, 1)
    assert await hear(await client.listen(after=cursor), 1) == ids


@pytest.mark.many_cases
async def test_thousands_of_listeners_share_one_reading(
    client: FlashLightningClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many listen, a settlement is read from the journal a few times, not once for each."""
    listeners = [await client.listen() for _ in range(2_000)]
    waiting = [asyncio.create_task(listener.wait_invoice()) for listener in listeners]
    journal = account_of(client).journal
    honest, reads = journal.settled_after, 0

    async def counted(after: int, limit: int = 100) -> list[InvoiceRecord]:
        nonlocal reads
        reads += 1
        return await honest(after, limit)

    monkeypatch.setattr(journal, "settled_after", counted)
    (paid,) = await settle(client, sandbox, 1)
    async with asyncio.timeout(60):
        assert {invoice.id for invoice in await asyncio.gather(*waiting)} == {paid}
    assert reads < 50


async def test_a_listener_far_behind_reads_on(
    client: FlashLightningClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that did not read for long gets everything once and in order, from the journal and from memory."""
    monkeypatch.setattr("flash_driver.settlements.listeners._KEPT", 3)
    slow, quick = await client.listen(), await client.listen()
    ids = await settle(client, sandbox, 12)
    assert await hear(quick, 12) == ids
    assert await hear(slow, 12) == ids
    more = await settle(client, sandbox, 2)
    assert await hear(slow, 2) == more
