from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import (
    ConnectionStringError,
    CreateInvoiceParams,
    KeysendParams,
    LightMoney,
    LightningClient,
    LightningError,
    LightningInvoiceStatus,
    ListInvoicesParams,
    NotSupported,
    TellsHealth,
    WarmsUp,
)
from connection_strings.errors import BackendUnavailable, CredentialRejected, InvalidRequest
from flash_driver.client import FlashLightningClient
from flash_driver.invoices import creation
from flash_driver.settlements.health import Listening
from tests.support.driver import operations
from tests.support.proxy import FaultProxy
from tests.support.timing import account_of
from tests.support.waiting import undisturbed, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.support.driver import Bench

COFFEE = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee")
BTCPAY_SECONDS = 5.0


@pytest.fixture
async def unreachable(bench: Bench) -> AsyncIterator[FlashLightningClient]:
    """Give a client whose server accepts connections and never answers."""
    sandbox = await bench.sandbox()
    async with FaultProxy(sandbox.server) as network:
        network.accept = "ignore"
        text = f"type=flash;server={network.url};token={sandbox.token};allowinsecure=true"
        yield await bench.client(text)


def test_the_contract_is_kept_whole() -> None:
    """Every method of the contract is there, with the parameters it names."""
    for name, method in inspect.getmembers(LightningClient, inspect.isfunction):
        if name.startswith("_") and name not in {"__aenter__", "__aexit__"}:
            continue
        theirs, ours = inspect.signature(method), inspect.signature(getattr(FlashLightningClient, name))
        assert list(ours.parameters) == list(theirs.parameters) or name == "create_invoice"
        assert inspect.iscoroutinefunction(getattr(FlashLightningClient, name)) or name == "create_invoice"


async def test_it_is_a_lightning_client(bench: Bench) -> None:
    """A host that asks finds a LightningClient, and what it can do beyond that."""
    client = await bench.client(await bench.sandbox())
    assert isinstance(client, LightningClient)
    assert isinstance(client, TellsHealth)
    assert isinstance(client, WarmsUp)


@pytest.mark.parametrize(
    "refuse",
    [
        lambda client: client.cancel_invoice("ab" * 32),
        lambda client: client.open_channel("node", LightMoney.from_sat(1)),
        lambda client: client.connect_to("node"),
        lambda client: client.get_deposit_address(),
        lambda client: client.list_channels(),
        lambda client: client.keysend("02" * 33, KeysendParams(amount=LightMoney.from_sat(1))),
    ],
)
async def test_what_a_custodian_can_not_do(
    bench: Bench, refuse: Callable[[FlashLightningClient], Coroutine[Any, Any, Any]]
) -> None:
    """BTCPay takes NotSupported, and nothing else, for "this backend can't"."""
    sandbox = await bench.sandbox()
    with pytest.raises(NotSupported):
        await refuse(await bench.client(sandbox))
    assert sandbox.ledger_snapshot()["operations"] == {}


async def test_its_repr_shows_no_secret(bench: Bench) -> None:
    """A client tells its server and not its token."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    assert repr(client) == f"<FlashLightningClient server={sandbox.server!r}>"
    assert sandbox.token not in repr(client) + str(client) + repr(client.health)


@pytest.mark.parametrize("garbage", ["lol", "", "00" * 32, "zz" * 32, "é" * 64, None, 7, b"00"])
async def test_garbage_ids_are_unknown(bench: Bench, garbage: Any) -> None:
    """What can't be an id, and a hash that was never ours, is None, for invoices and for payments."""
    client = await bench.client(await bench.sandbox())
    assert await client.get_invoice(garbage) is None
    assert await client.get_payment(garbage) is None


async def test_an_invoice_is_found_by_id_and_hash_in_any_case(bench: Bench) -> None:
    """Id and payment hash are one, and hosts write it as they like."""
    client = await bench.client(await bench.sandbox())
    made = await client.create_invoice(LightMoney.from_sat(1000), "coffee")
    assert made.id == made.payment_hash
    for text in (made.id, made.id.upper()):
        assert await client.get_invoice(text) == made
    assert await client.list_invoices(ListInvoicesParams(pending_only=True)) == [made]
    assert await client.list_invoices(ListInvoicesParams(offset_index=1)) == []


async def test_get_invoice_raises_when_it_can_not_know(bench: Bench) -> None:
    """A server that can't be asked is an error, never None (BTCPay would drop the invoice for good)."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    made = await client.create_invoice(COFFEE)
    sandbox.arm("error", operation="lnInvoicePaymentStatus", code="IBEX_ERROR", channel="top", count=9)
    with pytest.raises(LightningError):
        await client.get_invoice(made.id)
    sandbox.clear_faults()
    found = await client.get_invoice(made.id)
    assert found is not None
    assert found.status is LightningInvoiceStatus.UNPAID


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.create_invoice(COFFEE),
        lambda client: client.get_info(),
    ],
)
async def test_what_btcpay_limits_fails_in_time(
    unreachable: FlashLightningClient,
    ask: Callable[[FlashLightningClient], Coroutine[Any, Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Creating an invoice and get_info end within BTCPay's five seconds, whatever happens (flash-server.md 7.4)."""
    assert creation._SERVER_SECONDS < creation.CREATE_SECONDS < BTCPAY_SECONDS
    monkeypatch.setattr("flash_driver.invoices.creation._SERVER_SECONDS", 1.0)
    monkeypatch.setattr("flash_driver.client.CREATE_SECONDS", 1.0)

    async def attempt() -> set[str]:
        with pytest.raises(BackendUnavailable) as raised:
            await ask(unreachable)
        return set(raised.value.reasons)

    # A request that was written is waited for to the end: a third way would lead to the same silence.
    assert await undisturbed(attempt) == {"websocket", "http"}


async def test_get_info_proves_that_the_server_answers(bench: Bench) -> None:
    """It asks again each time, and invents neither height nor node."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    info = await client.get_info()
    assert (info.alias, info.block_height, tuple(info.node_uris)) == ("Flash", 0, ())
    sandbox.expire_session()
    sandbox.arm("reset", when="now")
    await until(lambda: not client.health.connected)
    with pytest.raises(CredentialRejected):
        await client.get_info()


async def test_validate_names_the_key_at_fault(bench: Bench) -> None:
    """A wallet or currency that the account does not have is an error of the connection string."""
    sandbox = await bench.sandbox()
    await (await bench.client(sandbox)).validate()
    with pytest.raises(ConnectionStringError) as raised:
        await (await bench.client(sandbox, currency="BTC")).validate()
    assert raised.value.key == "currency"
    with pytest.raises(ConnectionStringError) as raised:
        await (await bench.client(sandbox, wallet_id=sandbox.stranger_wallet_id)).validate()
    assert raised.value.key == "wallet-id"


async def test_warming_up_leaves_one_round_trip(bench: Bench) -> None:
    """After warm_up the first invoice costs one request on a socket that is open."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    client = await bench.client(sandbox)
    await client.warm_up()
    assert client.health.connected
    before = sandbox.ledger_snapshot()["operations"]
    await client.create_invoice(COFFEE)
    after = sandbox.ledger_snapshot()["operations"]
    assert {name: count for name, count in after.items() if count != before.get(name)} == {
        "lnUsdInvoiceCreate": {"websocket": 1, "http": 0}
    }


async def test_warming_up_connects_though_the_account_is_known(bench: Bench) -> None:
    """What is remembered of the account is no reason to leave the socket closed."""
    client = await bench.client(await bench.sandbox())
    await client.warm_up()
    socket = account_of(client).socket
    assert socket is not None
    await socket.aclose()
    await client.warm_up()
    assert client.health.connected


async def test_warming_up_without_a_socket_is_no_error(bench: Bench) -> None:
    """Where HTTP works, a WebSocket that can't be opened does not fail the warming up."""
    sandbox = await bench.sandbox()
    gone = await bench.sandbox()
    websocket = gone.server.replace("http:", "ws:")
    await gone.aclose()
    client = await bench.client(sandbox, websocket=websocket)
    await client.warm_up()
    assert not client.health.connected


async def test_a_closed_client_takes_up_its_work_again(bench: Bench) -> None:
    """Closing lets go of everything, twice if need be; the next call connects again and knows the journal."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    made = await client.create_invoice(COFFEE)
    await client.aclose()
    await client.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")]
    await until(lambda: sandbox.ledger_snapshot()["connections"]["open"] == 0)
    assert await client.get_invoice(made.id) == made


async def test_a_call_may_begin_while_the_client_closes(bench: Bench) -> None:
    """At whatever moment of the closing a call begins, the client works afterwards, and closes without a trace."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for turns in range(0, 24, 3):
        listener = await client.listen()
        closing = asyncio.ensure_future(client.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        between = asyncio.ensure_future(client.get_info())
        await asyncio.gather(closing, between, listener.aclose(), return_exceptions=True)
        made = await client.create_invoice(COFFEE)
        assert await client.get_invoice(made.id) == made
    await client.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")]


@pytest.mark.many_cases
async def test_cancelling_at_any_moment_leaves_nothing_half_done(bench: Bench) -> None:
    """Wherever a call is cancelled the next one works, and no task is left when the client is closed."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    calls: tuple[Callable[[], Coroutine[Any, Any, Any]], ...] = (
        lambda: client.create_invoice(COFFEE),
        client.get_info,
        client.get_balance,
        client.listen,
        lambda: client.pay(sandbox.foreign_invoice(5000).payment_request),
        client.aclose,
    )
    for turns in range(0, 60, 3):
        for call in calls:
            task = asyncio.ensure_future(call())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    made = await client.create_invoice(COFFEE)
    assert await client.get_invoice(made.id) == made
    await client.aclose()
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")])
    assert all(row["times_executed"] <= 1 for row in sandbox.ledger_snapshot()["payments"])


async def test_create_invoices_keeps_the_order(bench: Bench) -> None:
    """The answer has the order of the question, and none is answered with none."""
    client = await bench.client(await bench.sandbox())
    asked = [1000, 5000, 2000, 4000, 3000]
    made = await client.create_invoices([CreateInvoiceParams(LightMoney.from_sat(each)) for each in asked])
    amounts = [invoice.amount.msat // 1000 for invoice in made if invoice.amount is not None]
    assert [round(amount, -2) for amount in amounts] == asked
    assert await client.create_invoices([]) == []


async def test_health_is_that_of_the_account(bench: Bench) -> None:
    """Health needs no connection and opens none."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    assert client.health.connected is False
    assert operations(sandbox, "me") == {}
    assert client.health.listening is Listening.OFF


@pytest.mark.parametrize("amount", [None, 1000, "1000 sat"])
async def test_amount_of_another_type_is_refused(bench: Bench, amount: object) -> None:
    """What is no amount is refused by name, and never taken for an amountless invoice."""
    client = await bench.client(await bench.sandbox())
    with pytest.raises(InvalidRequest, match="amount: must be a LightMoney"):
        await client.create_invoice(amount)  # type: ignore[call-overload]  # that it is wrong is the point


async def test_bolt11_of_another_type_is_refused(bench: Bench) -> None:
    """Paying nothing is refused by name."""
    client = await bench.client(await bench.sandbox())
    with pytest.raises(InvalidRequest, match="bolt11: must be the text of a BOLT11, not NoneType"):
        await client.pay(None)  # type: ignore[arg-type]  # as above
