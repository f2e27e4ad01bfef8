"""The first invoice of a process whose journal knows the server: what is believed, and how a wrong belief ends."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from connection_strings import CreateInvoiceParams, LightMoney
from connection_strings.errors import LightningError
from flash_driver.settings.process import ProcessSettings
from tests.flash_driver.test_round_trips import asked, since
from tests.support.driver import operations
from tests.support.timing import account_of

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

SAT = LightMoney.from_sat(1000)
CREATE = "lnUsdInvoiceCreate"
QUESTION = {"__typename", "globals", "me", "realtimePrice"}
"""What one question asks of the account."""


class Shop:
    """A journal in a file, and processes that use it one after the other.

    Args:
        bench: Makes clients.
        file: The journal.

    Attributes:
        far: Whether the journal says that the last handshake took long, whatever it took here.

    """

    def __init__(self, bench: Bench, file: Path) -> None:
        self.far = True
        self._bench = bench
        self._file = file
        self.process = ProcessSettings.model_validate(
            {"journal_url": f"sqlite+aiosqlite:///{file}", "invoice_budget": "off", "linger_seconds": "0"}
        )

    async def open(self, sandbox: Sandbox) -> FlashLightningClient:
        """Begin a process: it knows what the journal tells, and nothing else."""
        if self._file.exists():
            slow = "json_extract(learned, '$.at')" if self.far else "NULL"
            self.alter(f"UPDATE flash_logins SET learned = json_set(learned, '$.slow', {slow})")  # noqa: S608 - our own words
        return await self._bench.client(sandbox, process=self.process)

    async def sell(self, sandbox: Sandbox) -> None:
        """Make one invoice in a process of its own."""
        async with await self.open(sandbox) as client:
            await client.create_invoice(SAT)

    def alter(self, statement: str) -> None:
        """Change the journal by hand."""
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute(statement)


@pytest.fixture
def shop(bench: Bench, tmp_path: Path) -> Shop:
    """Give a shop without a history."""
    return Shop(bench, tmp_path / "journal.sqlite3")


async def wallet_of(client: FlashLightningClient, payment_hash: str) -> str:
    """Return the wallet that an invoice in the journal credits."""
    record = await account_of(client).journal.find_invoice(payment_hash)
    assert record is not None
    return record.wallet_id


async def replaced(bench: Bench, sandbox: Sandbox, **options: Any) -> Sandbox:
    """Let another server take the place of one, under the same address and with the same token."""
    port = urlsplit(sandbox.server).port
    await sandbox.aclose()
    return await bench.sandbox(invoice_unit="sat", port=port, token=sandbox.token, **options)


async def orphans(client: FlashLightningClient) -> int:
    """Return how many invoices were put aside."""
    return len(await account_of(client).journal.list_orphans())


@pytest.mark.parametrize("kind", ["accept", "decline", "close"])
async def test_the_first_invoice_of_the_next_process_is_one_request_by_http(
    bench: Bench, shop: Shop, kind: str
) -> None:
    """Invoice and question go out by HTTP, each at once: connection and request, 2 round trips; none by the socket."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations=kind)
    await shop.sell(sandbox)
    before = asked(sandbox)
    await shop.sell(sandbox)
    assert since(sandbox, before) == {field: {"http": 1} for field in QUESTION | {CREATE}}


async def test_on_a_short_way_the_invoice_is_the_first_message_of_the_socket(bench: Bench, shop: Shop) -> None:
    """A handshake that takes less than loading the library for HTTP is waited for."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    shop.far = False
    await shop.sell(sandbox)
    before = asked(sandbox)
    await shop.sell(sandbox)
    assert since(sandbox, before) == {field: {"websocket": 1} for field in QUESTION | {CREATE}}
    assert sandbox.ledger_snapshot()["connections"]["http_requests"] == 0


async def test_where_only_the_socket_takes_the_token_the_invoice_is_its_first_message(bench: Bench, shop: Shop) -> None:
    """HTTP is tried once, in one process; from then on there is nothing but the handshake and the invoice."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept", http_bearer="reject")
    await shop.sell(sandbox)
    await shop.sell(sandbox)
    before, refused = asked(sandbox), sandbox.ledger_snapshot()["connections"]["http_unauthorized"]
    await shop.sell(sandbox)
    assert since(sandbox, before) == {field: {"websocket": 1} for field in QUESTION | {CREATE}}
    assert sandbox.ledger_snapshot()["connections"]["http_unauthorized"] == refused > 0


async def test_the_next_requests_go_by_the_socket_again(bench: Bench, shop: Shop) -> None:
    """It shakes hands meanwhile, and takes over once it is connected."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    await shop.sell(sandbox)
    client = await shop.open(sandbox)
    await client.create_invoice(SAT)
    async with asyncio.timeout(40):
        await client.warm_up()
    before = asked(sandbox)
    await client.create_invoice(SAT)
    assert since(sandbox, before) == {CREATE: {"websocket": 1}}


async def test_nobody_gets_an_invoice_whose_wallet_is_not_confirmed(bench: Bench, shop: Shop) -> None:
    """It was asked for without waiting for the account; where the server names none it is put aside, once only."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    await shop.sell(sandbox)
    sandbox.arm("error", operation="me", code="IBEX_ERROR", channel="top", count=1000)
    client = await shop.open(sandbox)
    for _ in range(2):
        with pytest.raises(LightningError, match="IBEX_ERROR"):
            await client.create_invoice(SAT)
    assert len(sandbox.ledger_snapshot()["invoices"]) == 2
    assert (len(await client.list_invoices()), await orphans(client)) == (1, 1)
    sandbox.clear_faults()
    assert (await client.create_invoice(SAT)).id in {invoice.id for invoice in await client.list_invoices()}


@pytest.mark.parametrize("kind", ["accept", "decline"])
async def test_a_wallet_that_was_moved_is_found_in_the_same_call(bench: Bench, shop: Shop, kind: str) -> None:
    """The host gets an invoice for the present wallet; the one for the old wallet is put aside."""
    sandbox = await bench.sandbox(invoice_unit="sat", wallets=("USD", "USDT"), ws_mutations=kind)
    await shop.sell(sandbox)
    sandbox.set_cutover("COMPLETE")
    client = await shop.open(sandbox)
    invoice = await client.create_invoice(SAT)
    assert await wallet_of(client, invoice.id) == sandbox.wallet_ids["USDT"]
    assert await orphans(client) == 1
    before = asked(sandbox)
    await shop.sell(sandbox)
    assert since(sandbox, before)[CREATE] == {"http": 1}


@pytest.mark.parametrize("kind", ["accept", "decline"])
async def test_a_token_that_opens_another_account_sells_for_that_one(bench: Bench, shop: Shop, kind: str) -> None:
    """Flash refuses the wallet of the first account; the invoice is made, and kept, for the second."""
    first = await bench.sandbox(invoice_unit="sat", ws_mutations=kind)
    await shop.sell(first)
    second = await replaced(bench, first, username="another", ws_mutations=kind)
    assert second.wallet_id != first.wallet_id
    client = await shop.open(second)
    invoice = await client.create_invoice(SAT)
    assert [made["wallet_id"] for made in second.ledger_snapshot()["invoices"]] == [second.wallet_id]
    assert await wallet_of(client, invoice.id) == second.wallet_id
    assert [each.id for each in await client.list_invoices()] == [invoice.id]


@pytest.mark.parametrize("kind", ["decline", "close"])
async def test_a_socket_that_executes_no_more_hands_the_invoice_on(bench: Bench, shop: Shop, kind: str) -> None:
    """An earlier process saw it execute; now it does not, which costs a message and makes no invoice."""
    first = await bench.sandbox(invoice_unit="sat", ws_mutations="accept", http_bearer="reject")
    for _ in range(2):
        await shop.sell(first)
    second = await replaced(bench, first, ws_mutations=kind)
    await shop.sell(second)
    assert len(second.ledger_snapshot()["invoices"]) == 1
    before = asked(second)
    await shop.sell(second)
    assert since(second, before)[CREATE] == {"http": 1}


async def test_without_a_price_of_the_last_hour_the_server_is_asked_first(bench: Bench, shop: Shop) -> None:
    """No invoice is asked for at a price of yesterday."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    await shop.sell(sandbox)
    shop.alter("UPDATE flash_invoices SET created_at = datetime(created_at, '-2 hours')")
    sandbox.arm("error", operation="me", code="IBEX_ERROR", channel="top", count=2)
    client = await shop.open(sandbox)
    before = operations(sandbox, CREATE)
    with pytest.raises(LightningError, match="IBEX_ERROR"):
        await client.create_invoice(SAT)
    assert operations(sandbox, CREATE) == before
    await client.create_invoice(SAT)


async def test_what_was_learned_long_ago_is_not_believed(bench: Bench, shop: Shop) -> None:
    """After a day the account is asked for first, as by a process without a journal."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    await shop.sell(sandbox)
    shop.alter("UPDATE flash_logins SET learned = replace(learned, '202', '199')")
    before = asked(sandbox)
    await shop.sell(sandbox)
    assert since(sandbox, before) == {field: {"websocket": 1} for field in QUESTION | {CREATE}}


async def test_a_payment_waits_for_the_server_to_name_the_account(bench: Bench, shop: Shop) -> None:
    """Nothing is paid from a wallet that only the journal names."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    await shop.sell(sandbox)
    sandbox.arm("error", operation="me", code="IBEX_ERROR", channel="top", count=1000)
    client = await shop.open(sandbox)
    with pytest.raises(LightningError, match="IBEX_ERROR"):
        await client.pay(sandbox.foreign_invoice(5000).payment_request)
    assert sandbox.ledger_snapshot()["payments"] == []


async def test_an_invoice_with_a_description_hash_waits_for_the_account(bench: Bench, shop: Shop) -> None:
    """The mutation that takes the hash does not check whose wallet it is, so a remembered one is not named there."""
    sandbox = await bench.sandbox(invoice_unit="sat", ws_mutations="accept")
    await shop.sell(sandbox)
    sandbox.arm("error", operation="me", code="IBEX_ERROR", channel="top", count=1000)
    client = await shop.open(sandbox)
    with pytest.raises(LightningError, match="IBEX_ERROR"):
        await client.create_invoice(CreateInvoiceParams(SAT, "coffee", description_hash_only=True))
    assert len(sandbox.ledger_snapshot()["invoices"]) == 1
