"""What clients share, and when it is closed."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pytest

from connection_strings import ConnectionString, LightMoney
from flash_driver.accounts.pool import Pool
from flash_driver.client import FlashLightningClient
from flash_driver.journal.sql.store import SqlStore
from flash_driver.sandbox import Sandbox, SandboxOptions
from flash_driver.settings.account import FlashSettings
from flash_driver.settings.process import ProcessSettings
from flash_driver.settlements.health import Listening
from tests.support.driver import operations
from tests.support.waiting import HELD, until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from tests.support.driver import Bench

pytestmark = pytest.mark.usefixtures("unhurried")

T = TypeVar("T")

SAT = LightMoney.from_sat(1000)


@pytest.fixture
def process(tmp_path: Path) -> ProcessSettings:
    """Give settings with a journal in a file."""
    return ProcessSettings.model_validate(
        {"journal_url": f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}", "invoice_budget": None}
    )


def stores_of(pool: Pool) -> list[SqlStore]:
    """Return the databases that are open on the running loop."""
    here = pool._loops.get(asyncio.get_running_loop())
    return [store for store in here.stores.values() if isinstance(store, SqlStore)] if here else []


def database_threads() -> set[threading.Thread]:
    """Return the threads that are not asyncio's own for looking up names."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")}


async def test_clients_of_one_string_share_an_account(bench: Bench, process: ProcessSettings) -> None:
    """A host may make a client for every call: all of them use one connection and one journal."""
    pool, sandbox = Pool(), await bench.sandbox()
    first = await bench.client(sandbox, pool, process)
    second = await bench.client(sandbox, pool, process)
    invoice = await first.create_invoice(SAT)
    assert [found.id for found in await second.list_invoices()] == [invoice.id]
    assert first._account() is second._account()
    assert len(stores_of(pool)) == 1


async def test_one_socket_serves_every_string_with_the_same_token(bench: Bench, process: ProcessSettings) -> None:
    """What else a connection string says is no reason for another socket; the last client closes it."""
    pool, sandbox = Pool(), await bench.sandbox()
    strings: tuple[dict[str, str], ...] = (
        {},
        {"currency": "USD"},
        {"amount_tolerance": "2"},
        {"transports": "websocket"},
    )
    clients = [await bench.client(sandbox, pool, process, None, **keys) for keys in strings]
    await asyncio.gather(*(client.create_invoice(SAT) for client in clients))
    assert len({id(client._account()) for client in clients}) == len(strings)
    assert sandbox.ledger_snapshot()["connections"]["opened"] == 1
    for client in clients[1:]:
        await client.aclose()
    await clients[0].create_invoice(SAT)
    assert sandbox.ledger_snapshot()["connections"]["opened"] == 1
    await clients[0].aclose()
    await until(lambda: sandbox.ledger_snapshot()["connections"]["open"] == 0)


async def test_new_token_takes_over_while_the_old_one_is_still_at_work(bench: Bench, process: ProcessSettings) -> None:
    """Calls under way when the client with the old token is closed come to their end; nothing is made twice or lost."""
    pool, sandbox = Pool(), await bench.sandbox(invoice_unit="sat")
    old = await bench.client(sandbox, pool, process)
    await old.create_invoice(SAT)
    listener = await old.listen()
    first = await old.create_invoice(SAT)
    sandbox.pay(first.bolt11)
    assert (await listener.wait_invoice()).id == first.id
    sandbox.arm("delay", operation="lnUsdInvoiceCreate", seconds=HELD, count=5)
    under_way = [asyncio.create_task(old.create_invoice(SAT)) for _ in range(5)]
    await until(lambda: sandbox.ledger_snapshot()["operations"]["lnUsdInvoiceCreate"]["websocket"] == 7)
    token = sandbox.log_in()
    new = await bench.client(sandbox, pool, process, token=token)
    cursor = listener.cursor
    async with await new.listen(after=cursor) as taking_over:
        closing = asyncio.create_task(old.aclose())
        await asyncio.sleep(0)
        sandbox.clear_faults()
        await closing
        made = await asyncio.gather(*under_way)
        sandbox.pay(made[0].bolt11)
        async with asyncio.timeout(20):
            assert (await taking_over.wait_invoice()).id == made[0].id
    assert len({invoice.id for invoice in made}) == 5
    assert sandbox.ledger_snapshot()["operations"]["lnUsdInvoiceCreate"]["websocket"] == 7
    assert {invoice.id for invoice in made} <= {invoice.id for invoice in await new.list_invoices()}


async def test_a_short_client_cuts_nobody_off_who_comes_to_his_end(bench: Bench, process: ProcessSettings) -> None:
    """While a closed client's last call goes on, another may come and go: the call keeps its socket and journal."""
    pool, sandbox = Pool(), await bench.sandbox(invoice_unit="sat")
    old = await bench.client(sandbox, pool, process)
    await old.create_invoice(SAT)
    sandbox.arm("delay", operation="lnUsdInvoiceCreate", seconds=HELD)
    under_way = asyncio.create_task(old.create_invoice(SAT))
    await until(lambda: sandbox.ledger_snapshot()["operations"]["lnUsdInvoiceCreate"]["websocket"] == 2)
    closing = asyncio.create_task(old.aclose())
    await asyncio.sleep(0)
    async with await bench.client(sandbox, pool, process) as short:
        assert len(await short.list_invoices()) == 1
    sandbox.clear_faults()
    made = await under_way
    await closing
    assert sandbox.ledger_snapshot()["operations"]["lnUsdInvoiceCreate"] == {"websocket": 2, "http": 0}
    assert stores_of(pool) == []
    assert made.id in {invoice.id for invoice in await old.list_invoices()}


async def test_the_last_client_closes_the_journal(bench: Bench, process: ProcessSettings) -> None:
    """The database is closed with its last client, not before, and opened again by the next."""
    pool, sandbox = Pool(), await bench.sandbox()
    threads = database_threads()
    first = await bench.client(sandbox, pool, process)
    second = await bench.client(sandbox, pool, process, currency="USD")
    invoice = await first.create_invoice(SAT)
    await second.get_info()
    await first.aclose()
    assert [found.id for found in await second.list_invoices()] == [invoice.id]
    await second.aclose()
    assert stores_of(pool) == []
    for thread in database_threads() - threads:
        thread.join(20)
        assert not thread.is_alive()
    assert [found.id for found in await first.list_invoices()] == [invoice.id]


async def test_closing_goes_on_when_the_host_is_cancelled(bench: Bench, process: ProcessSettings) -> None:
    """A host that is cancelled while it closes leaves nothing open."""
    pool, sandbox = Pool(), await bench.sandbox()
    client = await bench.client(sandbox, pool, process)
    await client.create_invoice(SAT)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    async with asyncio.timeout(20):
        while stores_of(pool):  # noqa: ASYNC110 - nobody is left to tell
            await asyncio.sleep(0.01)


async def test_a_client_that_comes_while_the_last_one_closes(bench: Bench, process: ProcessSettings) -> None:
    """A caller that comes while the journal is being closed gets one that works."""
    pool, sandbox = Pool(), await bench.sandbox()
    first = await bench.client(sandbox, pool, process)
    invoice = await first.create_invoice(SAT)
    for turns in range(12):
        closing = asyncio.create_task(first.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        second = await bench.client(sandbox, pool, process)
        assert [found.id for found in await second.list_invoices()] == [invoice.id]
        await closing
        assert [found.id for found in await second.list_invoices()] == [invoice.id]
        await second.aclose()
        await first.list_invoices()
    await first.aclose()
    assert stores_of(pool) == []


def test_one_event_loop_after_the_other(process: ProcessSettings) -> None:
    """A process may run one event loop after the other; the journal is there in each, and forgotten loops go."""
    pool, port = Pool(), 0

    async def use(*, close: bool) -> int:
        nonlocal port
        async with Sandbox(SandboxOptions(token="ory_st_the_same_each_time", port=port)) as sandbox:
            port = urlsplit(sandbox.server).port or 0
            string = ConnectionString.parse(sandbox.connection_string)
            client = FlashLightningClient(FlashSettings.from_connection_string(string), process, pool)
            await client.create_invoice(SAT)
            found = len(await client.list_invoices())
            if close:
                await client.aclose()
            return found

    assert asyncio.run(use(close=True)) == 1
    assert asyncio.run(use(close=True)) == 2
    assert [loop for loop in pool._loops if not loop.is_closed()] == []
    asyncio.run(use(close=True))
    assert len(pool._loops) <= 1
    gc.collect()


async def test_memory_outlives_clients(bench: Bench) -> None:
    """A journal in memory lasts as long as the process, not as long as a client."""
    pool, sandbox = Pool(), await bench.sandbox()
    client = await bench.client(sandbox, pool)
    invoice = await client.create_invoice(SAT)
    await client.aclose()
    assert [found.id for found in await client.list_invoices()] == [invoice.id]
    assert await (await bench.client(sandbox)).list_invoices() == []


class Thread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there, and wait for it here."""
        async with asyncio.timeout(20):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def end(self) -> None:
        """Stop the loop and close it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()


@pytest.fixture
def elsewhere() -> Iterator[Thread]:
    """Give an event loop in another thread."""
    thread = Thread()
    yield thread
    if not thread.loop.is_closed():
        thread.end()


async def test_a_client_on_two_event_loops_at_once(bench: Bench, elsewhere: Thread) -> None:
    """It holds an account on each; closing it on one closes both, each on its own loop, and it can go on on both."""
    pool, sandbox = Pool(), await bench.sandbox()
    client = await bench.client(sandbox, pool)
    await client.warm_up()
    mine = client._account()
    listener = await elsewhere.run(client.listen())
    theirs = next(account for account in pool._loops[elsewhere.loop].accounts.values())
    assert theirs is not mine
    assert mine.socket is not None
    assert theirs.socket is not None
    await client.warm_up()
    async with asyncio.timeout(20):
        await client.aclose()
    assert not mine.socket.connected
    assert not theirs.socket.connected
    assert theirs.health.listening is Listening.OFF
    assert [len(here.accounts) for here in pool._loops.values()] == [0, 0]
    with pytest.raises(asyncio.CancelledError):
        await elsewhere.run(listener.wait_invoice())
    invoice = await elsewhere.run(client.create_invoice(SAT))
    assert await client.get_invoice(invoice.id) == invoice
    await elsewhere.run(client.aclose())
    assert [len(here.accounts) for here in pool._loops.values()] == [0, 0]


async def test_one_loops_client_leaves_the_others_account_open(bench: Bench, elsewhere: Thread) -> None:
    """What another client uses on another loop stays open when a client that was on both is closed."""
    pool, sandbox = Pool(), await bench.sandbox()
    both, other = await bench.client(sandbox, pool), await bench.client(sandbox, pool)
    await both.warm_up()
    await elsewhere.run(both.warm_up())
    await elsewhere.run(other.warm_up())
    await both.aclose()
    (theirs,) = pool._loops[elsewhere.loop].accounts.values()
    assert theirs.socket is not None
    assert theirs.socket.connected
    await elsewhere.run(other.aclose())
    assert not theirs.socket.connected


async def test_an_account_is_never_closed_from_a_foreign_loop(bench: Bench, elsewhere: Thread) -> None:
    """Released from elsewhere, an account closes on its own event loop."""
    pool, sandbox = Pool(), await bench.sandbox()
    client = await bench.client(sandbox, pool)
    await elsewhere.run(client.warm_up())
    (theirs,) = pool._loops[elsewhere.loop].accounts.values()
    closed_on: list[object] = []
    close = theirs.aclose

    async def watched() -> None:
        closed_on.append(asyncio.get_running_loop())
        await close()

    theirs.aclose = watched  # type: ignore[method-assign]  # to see where it is called
    await pool.release(client, theirs)
    await until(lambda: closed_on == [elsewhere.loop])
    await until(lambda: not pool._closing)
    assert theirs.socket is not None
    assert not theirs.socket.connected


async def test_a_closed_loop_is_no_hindrance(bench: Bench, elsewhere: Thread) -> None:
    """A client forgets what it held on an event loop that is closed."""
    client = await bench.client(await bench.sandbox(), Pool())

    async def take_up() -> None:
        client._account()

    await elsewhere.run(take_up())
    elsewhere.end()
    await take_up()
    assert list(client._held) == [asyncio.get_running_loop()]


async def test_an_account_whose_clients_are_all_forgotten_is_closed(bench: Bench, process: ProcessSettings) -> None:
    """A host that drops its clients without closing them leaves neither connection nor database open."""
    pool, sandbox = Pool(), await bench.sandbox()
    settings = FlashSettings.from_connection_string(ConnectionString.parse(sandbox.connection_string))
    first, second = (FlashLightningClient(settings, process, pool) for _ in range(2))
    await first.create_invoice(SAT)
    await second.warm_up()
    account = first._account()
    assert account.socket is not None
    del first
    gc.collect()
    await asyncio.sleep(0)
    assert await second.list_invoices() != []
    assert second._account() is account
    del second
    gc.collect()
    await until(lambda: stores_of(pool) == [])
    await until(lambda: account.socket is not None and not account.socket.connected)


def lingering(process: ProcessSettings, seconds: float) -> ProcessSettings:
    """Return settings with which an account stays open for so long after its last client."""
    return process.model_copy(update={"linger_seconds": seconds})


def looked_up(sandbox: Sandbox) -> int:
    """Tell how often the server was asked whose account it is."""
    return sum(operations(sandbox, "me").values())


async def test_a_client_for_each_call_costs_what_one_client_does(bench: Bench, process: ProcessSettings) -> None:
    """Twenty calls, each by a client of its own, use one socket and one look-up of the account, and listen to nothing.

    Closing the pool closes what lingers, and nothing that is in use.
    """
    pool, sandbox = Pool(), await bench.sandbox()
    for _ in range(20):
        async with await bench.client(sandbox, pool, lingering(process, 60)) as client:
            await client.create_invoice(SAT)
    seen = sandbox.ledger_snapshot()
    assert (seen["connections"]["opened"], seen["connections"]["open"], looked_up(sandbox)) == (1, 1, 1)
    assert "myUpdates" not in seen["operations"]
    await client.warm_up()
    await pool.aclose()
    assert sandbox.ledger_snapshot()["connections"]["open"] == 1
    await client.aclose()
    await pool.aclose()
    assert stores_of(pool) == []
    assert pool._loops[asyncio.get_running_loop()].lingering == {}
    await until(lambda: sandbox.ledger_snapshot()["connections"]["open"] == 0)


async def test_what_lingers_is_closed_in_time(bench: Bench, process: ProcessSettings) -> None:
    """An account that nobody comes back to is closed, and the next client opens it again."""
    pool, sandbox = Pool(), await bench.sandbox()
    for opened in (1, 2):
        async with await bench.client(sandbox, pool, lingering(process, 0.1)) as client:
            await client.create_invoice(SAT)
        await until(lambda: sandbox.ledger_snapshot()["connections"]["open"] == 0)
        await until(lambda: stores_of(pool) == [])
        assert sandbox.ledger_snapshot()["connections"]["opened"] == opened


ONE_CALL = """
import asyncio, sys
from connection_strings import LightMoney, LightningClientFactory
from tests.support.unhurried import unhurry

unhurry()

async def main():
    async with LightningClientFactory().create(sys.argv[1]) as client:
        await client.create_invoice(LightMoney.from_sat(1000))
        async with await client.listen():
            pass

asyncio.run(main())
asyncio.run(main())
"""


@pytest.mark.parametrize("journal", ["sqlite", "postgresql"])
async def test_the_end_of_the_event_loop_closes_what_lingers(
    bench: Bench, request: pytest.FixtureRequest, tmp_path: Path, journal: str
) -> None:
    """A process that runs its event loop to the end says nothing, waits for nothing and leaves no connection."""
    sandbox = await bench.sandbox()
    url = (
        f"sqlite:///{tmp_path / 'j.db'}" if journal == "sqlite" else request.getfixturevalue("postgres").new_database()
    )
    script = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "always::ResourceWarning", "-c", ONE_CALL, sandbox.connection_string),
        env={**os.environ, "FLASH_LINGER_SECONDS": "3600", "FLASH_JOURNAL_URL": url},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(50):
        _, complaints = await script.communicate()
    assert complaints.decode() == ""
    assert script.returncode == 0
    await until(lambda: sandbox.ledger_snapshot()["connections"]["open"] == 0)


async def test_replaced_tokens_are_forgotten(bench: Bench) -> None:
    """Of tokens that nobody uses any more only the last ones are remembered."""
    pool, sandbox = Pool(), await bench.sandbox()
    for number in range(100):
        string = sandbox.connection_string.replace(sandbox.token, f"ory_st_{number:04}")
        async with await bench.client(string, pool) as client:
            client._account()
    assert len(pool._memories) == 64
