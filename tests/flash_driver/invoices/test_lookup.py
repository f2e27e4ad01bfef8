"""Looking invoices up by payment hash: paid, expired, unknown."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import (
    LightningInvoiceStatus,
    ListInvoicesParams,
)
from connection_strings.errors import (
    BackendUnavailable,
    LightningError,
)
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.replies import InvoiceStatus
from flash_driver.invoices.server_clock import ServerClock
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import operations
from tests.support.invoices import of_sat
from tests.support.logs import recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from connection_strings import LightningInvoice
    from flash_driver.client import FlashLightningClient
    from flash_driver.flash_api.documents import Operation
    from flash_driver.transports.delivery import Delivery
    from tests.support.driver import Bench


async def test_unknown_invoice_is_none(bench: Bench) -> None:
    """Garbage and a hash that was never made are certainly unknown; neither is asked of the server."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    assert await client.get_invoice("lol") is None
    assert await client.get_invoice("00" * 32) is None
    assert operations(sandbox, "lnInvoicePaymentStatus") == {}


async def test_paid_invoice_is_settled_once(bench: Bench) -> None:
    """After payment the look-up says PAID with the amount, in either case of the id, and asks no more afterwards."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    unpaid = await client.get_invoice(invoice.id)
    assert unpaid is not None
    assert unpaid.status is LightningInvoiceStatus.UNPAID
    sandbox.pay(invoice.bolt11)
    with recorded() as story:
        paid = await client.get_invoice(invoice.id.upper())
    assert paid is not None
    assert paid.status is LightningInvoiceStatus.PAID
    assert paid.amount_received == invoice.amount
    assert paid.paid_at is not None
    assert story.entry("invoice settled")["payment_hash"] == invoice.payment_hash
    assert await client.get_invoice(invoice.id) == paid
    assert operations(sandbox, "lnInvoicePaymentStatus") == {"websocket": 2}
    assert await client.list_invoices(ListInvoicesParams(pending_only=True)) == []


async def test_strange_status_is_no_verdict(bench: Bench) -> None:
    """A word that is not known is neither paid nor expired; an error is raised, not answered with None."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    sandbox.arm("error", operation="lnInvoicePaymentStatus", code="IBEX_ERROR", channel="top")
    with pytest.raises(BackendUnavailable, match="IBEX_ERROR"):
        await client.get_invoice(invoice.id)


async def status_of(client: FlashLightningClient, invoice: LightningInvoice) -> LightningInvoiceStatus:
    """Look an invoice up that there is."""
    found = await client.get_invoice(invoice.id)
    assert found is not None
    return found.status


def wall_and_steady(client: FlashLightningClient, wall: datetime) -> Callable[[int], None]:
    """Stop this machine's clocks; returns what moves the steady one to that many seconds from now."""
    lookup = client._account().lookup
    start = time.monotonic_ns()
    lookup._clock = lambda: wall

    def move(seconds: int) -> None:
        lookup._steady = lambda: start + seconds * 10**9

    move(0)
    return move


@pytest.mark.parametrize("fast", [timedelta(0), timedelta(hours=2), timedelta(days=400)])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        pytest.param([69], LightningInvoiceStatus.UNPAID, id="too early"),
        pytest.param([71], LightningInvoiceStatus.EXPIRED, id="late enough by what the server's clock says at least"),
        pytest.param([40, 69], LightningInvoiceStatus.UNPAID, id="not for long enough"),
        pytest.param([21, 32, 45], LightningInvoiceStatus.UNPAID, id="Flash's clock is ahead and says so for long"),
    ],
)
async def test_expired_is_said_after_the_grace_only(
    bench: Bench, asked: list[int], status: LightningInvoiceStatus, fast: timedelta
) -> None:
    """EXPIRED counts after the grace by the custodian's clock only: Flash's may be ahead, and this machine's fast."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(expiry_grace_seconds=10, invoice_budget=None))
    invoice = await client.create_invoice(of_sat(1000))
    sandbox._bank.clock = lambda: invoice.expires_at + timedelta(seconds=1)
    move = wall_and_steady(client, invoice.expires_at + fast)
    told = []
    for seconds in asked:
        move(seconds)
        told.append(await status_of(client, invoice))
    assert told == [*[LightningInvoiceStatus.UNPAID] * (len(asked) - 1), status]


async def test_a_payment_between_question_and_answer(bench: Bench) -> None:
    """An answer that says EXPIRED and comes late proves nothing about the time it took: a payment may have landed."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(expiry_grace_seconds=10, invoice_budget=None))
    invoice = await client.create_invoice(of_sat(1000))
    move = wall_and_steady(client, invoice.expires_at)
    move(61)
    sandbox._bank.clock = lambda: invoice.expires_at + timedelta(seconds=1)
    assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    router = client._account().router
    perform = router.perform

    async def slow(operation: Operation, *arguments: Any, **options: Any) -> Delivery:
        delivery = await perform(operation, *arguments, **options)
        sandbox.pay(invoice.bolt11, force=True)
        move(3600)
        return delivery

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(router, "perform", slow)
        assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    assert await status_of(client, invoice) is LightningInvoiceStatus.PAID


@pytest.mark.parametrize(
    ("late", "status"),
    [(9, LightningInvoiceStatus.UNPAID), (11, LightningInvoiceStatus.EXPIRED)],
)
async def test_who_makes_no_invoice_asks_for_the_time(
    bench: Bench, tmp_path: Path, late: int, status: LightningInvoiceStatus
) -> None:
    """A process that asks about an invoice a single time learns the server's time from its price, asked for once."""
    process = ProcessSettings.model_validate(
        {"journal_url": f"sqlite+aiosqlite:///{tmp_path}/journal.db", "invoice_budget": None}
    )
    sandbox = await bench.sandbox()
    async with await bench.client(sandbox, process=process) as first:
        invoice = await first.create_invoice(of_sat(1000))
    sandbox._bank.clock = sandbox._bank.custodian._clock = lambda: invoice.expires_at + timedelta(seconds=late)
    client = await bench.client(sandbox, process=process)
    wall_and_steady(client, invoice.expires_at + timedelta(days=1))
    before = operations(sandbox, "realtimePrice")
    for _ in range(2):
        assert await status_of(client, invoice) is status
    assert sum(operations(sandbox, "realtimePrice").values()) - sum(before.values()) == 1


async def test_a_server_that_tells_no_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any time of the server's, EXPIRED counts when it was said for the invoice's whole life and the grace."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(expiry_grace_seconds=10, invoice_budget=None))
    invoice = await client.create_invoice(of_sat(1000))
    lookup = client._account().lookup
    lookup._server_clock = ServerClock()
    monkeypatch.setattr("flash_driver.invoices.lookup.read_price_time", lambda _data: None)
    sandbox._bank.clock = lambda: invoice.expires_at + timedelta(days=1)
    move = wall_and_steady(client, invoice.expires_at + timedelta(days=1))
    assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    move(69)
    assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    move(71)
    assert await status_of(client, invoice) is LightningInvoiceStatus.EXPIRED


async def test_what_is_remembered_of_expiries_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many invoices expire, a fixed number of moments is kept at most, and none of what is settled."""
    monkeypatch.setattr("flash_driver.invoices.lookup._EXPIRED_REMEMBERED", 2)
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    made = [await client.create_invoice(of_sat(1000)) for _ in range(3)]
    sandbox._bank.clock = lambda: made[-1].expires_at + timedelta(seconds=1)
    lookup = client._account().lookup
    for invoice in made:
        await client.get_invoice(invoice.id)
    assert list(lookup._expired_since) == [invoice.id for invoice in made[1:]]
    wall_and_steady(client, made[-1].expires_at)(7200)
    await client.get_invoice(made[-1].id)
    assert list(lookup._expired_since) == [made[1].id]


async def test_unknown_word_is_kept_as_unpaid(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that this driver has never heard of is told to the log, once, and changes nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    monkeypatch.setattr("flash_driver.invoices.lookup.read_invoice_status", lambda _data: InvoiceStatus.UNKNOWN)
    with recorded() as story:
        for _ in range(3):
            assert await status_of(client, invoice) is LightningInvoiceStatus.UNPAID
    told = story.entry("the server answered with a status that is not known")
    assert (told["payment_hash"], told["status"]) == (invoice.id, "PENDING")


async def test_settling_twice_tells_once(bench: Bench) -> None:
    """Settling an invoice a second time changes nothing and tells nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    lookup, journal = client._account().lookup, client._account().journal
    unpaid = await journal.find_invoice(invoice.id)
    assert unpaid is not None
    first = await lookup.settle(unpaid, Deadline.after(40))
    with recorded() as story:
        again = await lookup.settle(first, Deadline.after(40))
    assert again == first
    assert story.entries == []


async def test_journal_that_forgets_is_an_error(bench: Bench) -> None:
    """An invoice that the journal has lost can't be called paid."""
    sandbox = await bench.sandbox()
    client, other = await bench.client(sandbox), await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000))
    unpaid = await client._account().journal.find_invoice(invoice.id)
    assert unpaid is not None
    with pytest.raises(LightningError, match="lost an invoice"):
        await other._account().lookup.settle(unpaid, Deadline.after(40))
