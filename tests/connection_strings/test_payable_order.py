from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import BackendUnavailable, CreateInvoiceParams, LightMoney, LightningInvoiceStatus
from connection_strings.payable_order import PayableOrder

if TYPE_CHECKING:
    from tests.support.driver import Bench

PARAMS = CreateInvoiceParams(LightMoney.from_sat(1000), "coffee", timedelta(minutes=15))


class Later:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Tell the time."""
        return datetime.now(UTC) + self.ahead


async def test_the_same_invoice_is_shown_while_it_lives(bench: Bench) -> None:
    """All who look see one invoice, and many who look at once make no more than one."""
    sandbox = await bench.sandbox()
    order = PayableOrder(await bench.client(sandbox), PARAMS)
    shown = await asyncio.gather(*(order.payable_invoice() for _ in range(5)))
    assert {invoice.id for invoice in shown} == set(order.invoice_ids)
    assert len(order.invoice_ids) == 1


async def test_a_fresh_one_comes_before_the_old_one_dies(bench: Bench) -> None:
    """An invoice about to expire is followed by another; both belong to the order."""
    sandbox = await bench.sandbox()
    clock = Later()
    order = PayableOrder(await bench.client(sandbox), PARAMS, clock=clock)
    first = await order.payable_invoice()
    clock.ahead = timedelta(seconds=55)
    second = await order.payable_invoice()
    assert order.invoice_ids == (first.id, second.id)


async def test_a_paid_order_is_never_payable_again(bench: Bench) -> None:
    """A payment to an earlier invoice ends the order, also when it is taken up again after a restart."""
    sandbox = await bench.sandbox()
    client, clock = await bench.client(sandbox), Later()
    order = PayableOrder(client, PARAMS, clock=clock)
    first = await order.payable_invoice()
    clock.ahead = timedelta(seconds=55)
    await order.payable_invoice()
    sandbox.pay(first.bolt11)
    again = PayableOrder(client, PARAMS, order.invoice_ids, clock=clock)
    shown = await again.payable_invoice()
    assert (shown.id, shown.status) == (first.id, LightningInvoiceStatus.PAID)
    assert len(again.invoice_ids) == 2


async def test_no_second_code_while_the_first_can_t_be_asked_about(bench: Bench) -> None:
    """When it is not known whether the customer has paid, there is an error and no further invoice."""
    sandbox = await bench.sandbox()
    clock = Later()
    order = PayableOrder(await bench.client(sandbox), PARAMS, clock=clock)
    await order.payable_invoice()
    clock.ahead = timedelta(seconds=55)
    await sandbox.aclose()
    with pytest.raises(BackendUnavailable):
        await order.payable_invoice()
    assert len(order.invoice_ids) == 1
