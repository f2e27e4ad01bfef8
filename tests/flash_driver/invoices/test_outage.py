"""What is known of a wallet that has just failed to answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from connection_strings import BackendUnavailable, LightMoney, LightningInvoiceStatus
from connection_strings.errors import RequestRefused
from flash_driver.common.deadline import Deadline
from flash_driver.invoices.lookup import Outage
from tests.support.driver import operations
from tests.support.timing import SHORT, account_of

if TYPE_CHECKING:
    from tests.support.driver import Bench

STATUS = "lnInvoicePaymentStatus"
SECOND = 10**9
SILENCE = BackendUnavailable("asking", {"http": "no answer"})


def may_ask(outage: Outage, seconds: float) -> bool:
    """Return whether a question may be asked at that time."""
    try:
        outage.insist("looking up the invoice", int(seconds * SECOND))
    except BackendUnavailable as error:
        return (error.reasons, error.executed) != (SILENCE.reasons, False)
    return True


def test_after_a_failure_one_question_at_a_time_tries_again() -> None:
    """Questions fail at once for a second, then one of them tries; each failure doubles the pause, up to 8 s."""
    outage = Outage()
    assert may_ask(outage, 0)
    outage.failed(SILENCE, SECOND, 0)
    assert [may_ask(outage, seconds) for seconds in (0.1, 0.9, 1.0, 1.1, 9.0)] == [False, False, True, False, False]
    now = 11.0
    for pause in (2, 4, 8, 8):
        outage.failed(SILENCE, SECOND, int(now * SECOND))
        assert not may_ask(outage, now + pause - 0.1)
        now += pause
        assert may_ask(outage, now)
    outage.answered()
    assert may_ask(outage, now)
    assert may_ask(outage, now)


def test_an_answer_of_any_kind_is_no_outage() -> None:
    """A wallet that refuses a question is there."""
    outage = Outage()
    outage.failed(SILENCE, SECOND, 0)
    outage.failed(RequestRefused("no such invoice", code="INVALID_INPUT"), SECOND, 0)
    assert may_ask(outage, 0)


def test_what_fails_at_once_is_no_outage() -> None:
    """A connection that is refused, or a custodian that fails for one invoice, costs no time and says little."""
    outage = Outage()
    outage.failed(SILENCE, SECOND // 100, 0)
    assert may_ask(outage, 0)


async def test_while_the_wallet_is_silent_looks_fail_at_once(bench: Bench) -> None:
    """A host that looks at all its open invoices one after the other waits for one of them, not for each."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="http", timing=SHORT)
    invoices = [await client.create_invoice(LightMoney.from_sat(1000)) for _ in range(30)]
    sandbox.arm("silent", operation=STATUS, count=1000)
    lookup = account_of(client).lookup
    with pytest.raises(BackendUnavailable):
        await lookup.find(invoices[0].id, Deadline.after(0.3))
    for invoice in invoices:
        with pytest.raises(BackendUnavailable):
            await client.get_invoice(invoice.id)
    assert sum(operations(sandbox, STATUS).values()) <= 2
    sandbox.clear_faults()
    sandbox.pay(invoices[0].bolt11)
    async with asyncio.timeout(40):
        while True:
            try:
                found = await client.get_invoice(invoices[0].id)
            except BackendUnavailable:
                await asyncio.sleep(0.05)
                continue
            assert found is not None
            assert found.status is LightningInvoiceStatus.PAID
            break
