"""Payments as a whole: callers, interruptions and the close."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import (
    BackendUnavailable,
    LightMoney,
    ListPaymentsParams,
    PayInvoiceParams,
    PayResult,
)
from flash_driver.accounts.timing import Timing
from flash_driver.flash_api.outcomes import Unknown
from tests.support.driver import operations
from tests.support.payments import (
    FAILED,
    PENDING,
    PROBE,
    QUICK,
    UNKNOWN,
    Oracle,
    executed,
    held_back,
    requested,
    status_of,
)
from tests.support.timing import SHORT, account_of
from tests.support.waiting import HELD, until

if TYPE_CHECKING:
    from tests.support.driver import Bench


async def test_a_payment_under_way_is_pending(bench: Bench) -> None:
    """It is in the journal before the server has it, and get_payment never says None or FAILED of it."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(5000)
    paying = asyncio.create_task(client.pay(signed.payment_request))
    await until(lambda: held_back(sandbox))
    assert await status_of(client, signed.payment_hash.upper()) is PENDING
    assert await client.list_payments() == []
    assert len(await client.list_payments(ListPaymentsParams(include_pending=True))) == 1
    sandbox.clear_faults()
    assert (await paying).result is PayResult.OK
    assert len(await client.list_payments()) == 1


async def test_a_cancelled_caller_leaves_a_payment_that_goes_on(bench: Bench) -> None:
    """Once it is journalled a payment is followed to its end; the next call hears of it and sends nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(5000)
    paying = asyncio.create_task(client.pay(signed.payment_request))
    await until(lambda: held_back(sandbox))
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    sandbox.clear_faults()
    assert (await client.pay(signed.payment_request)).result is PayResult.OK
    assert (requested(sandbox), executed(sandbox)) == ([1], [1])


async def test_a_caller_cancelled_early_has_paid_nothing(bench: Bench) -> None:
    """While it is being prepared nothing is sent, and it says so; the next call pays."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("delay", operation="lnUsdInvoiceFeeProbe", seconds=HELD)
    signed = sandbox.foreign_invoice(5000)
    limited = PayInvoiceParams(max_fee_flat=LightMoney.from_sat(1))
    paying = asyncio.create_task(client.pay(signed.payment_request, limited))
    await until(lambda: operations(sandbox, "lnUsdInvoiceFeeProbe") != {})
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    sandbox.clear_faults()

    async def failed() -> bool:
        return await status_of(client, signed.payment_hash) is FAILED

    await until(failed)
    assert (await client.pay(signed.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_closing_the_client_in_the_middle(bench: Bench) -> None:
    """A payment too slow to wait for is told UNKNOWN, no task stays, and the next call finds out how it ended."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=Timing(last_calls_seconds=0.0))
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(5000)
    paying = asyncio.create_task(client.pay(signed.payment_request))
    await until(lambda: held_back(sandbox))
    await client.aclose()
    assert (await paying).result is PayResult.UNKNOWN
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("flash-driver")]
    assert await status_of(client, signed.payment_hash) is UNKNOWN
    sandbox.clear_faults()
    assert (await client.pay(signed.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_nothing_leaves_after_the_close(bench: Bench) -> None:
    """A client closed while a payment is being prepared never sends it, and the caller is told that."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    payments = account_of(client).payments
    sandbox.arm("delay", seconds=HELD, operation=PROBE)
    signed = sandbox.foreign_invoice(50_000)
    paying = asyncio.create_task(client.pay(signed.payment_request, PayInvoiceParams(max_fee_percent=5.0)))
    await until(lambda: bool(operations(sandbox, PROBE)))
    # Only the payments are closed: a server that can still be reached is the worst case.
    await payments.aclose()
    answer = await paying
    assert (answer.result, "interrupted while it was being prepared" in str(answer.error_detail)) == (
        PayResult.ERROR,
        True,
    )
    with pytest.raises(BackendUnavailable, match="it was closed"):
        await payments.pay(signed.payment_request, QUICK)
    assert (requested(sandbox), await status_of(client, signed.payment_hash)) == ([], FAILED)


async def test_no_caller_waits_longer_than_it_said_for_another_one_that_prepares(bench: Bench) -> None:
    """A second caller with little time is told UNKNOWN at its own deadline: the first goes on and pays."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.warm_up()
    sandbox.arm("delay", seconds=HELD, operation=PROBE)
    signed = sandbox.foreign_invoice(50_000)
    limited = PayInvoiceParams(max_fee_percent=5.0, send_timeout=timedelta(seconds=30))
    patient = asyncio.create_task(client.pay(signed.payment_request, limited))
    await until(lambda: bool(operations(sandbox, PROBE)))
    hasty = await client.pay(signed.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=0.05)))
    assert (hasty.result, patient.done()) == (PayResult.UNKNOWN, False)
    sandbox.clear_faults()
    assert (await patient).result is PayResult.OK


async def test_no_caller_waits_longer_than_it_said_for_another_one_that_sends(bench: Bench) -> None:
    """A second caller with little time gets UNKNOWN at its own deadline, while the first goes on."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(50_000)
    patient = asyncio.create_task(client.pay(signed.payment_request))
    await until(lambda: held_back(sandbox))
    hasty = await client.pay(signed.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=0.05)))
    assert (hasty.result, patient.done()) == (PayResult.UNKNOWN, False)
    sandbox.clear_faults()
    assert (await patient).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_a_breakdown_of_ours_is_no_failure_of_the_payment(bench: Bench) -> None:
    """Whatever breaks while a payment is being sent, the journal does not call it failed."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    Oracle(client, RuntimeError("a bug"), Unknown("dropped", answered=True))
    signed = sandbox.foreign_invoice(5000)
    with pytest.raises(RuntimeError):
        await client.pay(signed.payment_request)
    assert await status_of(client, signed.payment_hash) is UNKNOWN
