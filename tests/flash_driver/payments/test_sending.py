"""From the first byte of a payment on: sent once, and believed only as far as an answer proves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import (
    LightningPaymentStatus,
    PayInvoiceParams,
    PayResult,
)
from flash_driver.accounts.pool import Pool
from flash_driver.flash_api.outcomes import Cause, Completed, NotExecuted, Outcome, Refused, Unknown
from tests.support.payments import (
    COMPLETE,
    FAILED,
    QUICK,
    UNKNOWN,
    Oracle,
    at,
    executed,
    left_open,
    requested,
    status_of,
)
from tests.support.timing import SHORT, account_of

if TYPE_CHECKING:
    from tests.support.driver import Bench


async def test_many_calls_at_once_send_once(bench: Bench) -> None:
    """However many callers pay the same BOLT11, upper case or not, it is sent once and all hear the same."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    text = sandbox.foreign_invoice(5000).payment_request
    answers = await asyncio.gather(*(client.pay(each) for each in (text, text.upper(), text, text)))
    assert {answer.result for answer in answers} == {PayResult.OK}
    assert (requested(sandbox), executed(sandbox)) == ([1], [1])
    assert (await client.pay(text)).result is PayResult.OK
    assert requested(sandbox) == [1]


@pytest.mark.parametrize("outcome", ["SUCCESS", "ERROR"])
async def test_two_processes_send_once(bench: Bench, outcome: str) -> None:
    """A process that finds another one's attempt under way waits for what comes of it and sends nothing."""
    sandbox = await bench.sandbox()
    pool = Pool(SHORT)
    one = await bench.client(sandbox, pool)
    two = await bench.client(sandbox, pool, transports="http,graphql")
    assert account_of(one) is not account_of(two)
    await asyncio.gather(one.warm_up(), two.warm_up())
    sandbox.arm("payment", outcome=outcome, seconds=0.4, executed=outcome == "ERROR")
    text = sandbox.foreign_invoice(5000).payment_request
    params = PayInvoiceParams(send_timeout=timedelta(seconds=30))
    answers = await asyncio.gather(one.pay(text, params), two.pay(text, params))
    expected = PayResult.OK if outcome == "SUCCESS" else PayResult.UNKNOWN
    assert [answer.result for answer in answers] == [expected, expected]
    assert (requested(sandbox), executed(sandbox)) == ([1], [1])


async def test_an_attempt_of_a_live_process_is_left_alone(bench: Bench) -> None:
    """An attempt that is pending and young belongs to its sender: another process says UNKNOWN and sends nothing."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    signed = sandbox.foreign_invoice(5000)
    await client.warm_up()
    await account_of(client).journal.begin_payment(left_open(sandbox, signed, sender_ends=timedelta(seconds=30)))
    answer = await client.pay(signed.payment_request, QUICK)
    assert (answer.result, requested(sandbox)) == (PayResult.UNKNOWN, [])
    at(client, datetime.now(UTC) + timedelta(seconds=60))
    answer = await client.pay(signed.payment_request)
    assert (answer.result, executed(sandbox)) == (PayResult.OK, [1])
    assert sandbox.ledger_snapshot()["payments"][0]["idempotency_keys"] == ["of another process"]


async def test_a_definite_failure_allows_a_new_attempt(bench: Bench) -> None:
    """After a failure the host may pay again, under a new key, because the old one would repeat the failure."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    signed = sandbox.foreign_invoice(5000)
    sandbox.arm("payment", outcome="FAILURE")
    results = [(await client.pay(signed.payment_request)).result for _ in range(3)]
    assert results == [PayResult.ERROR, PayResult.OK, PayResult.OK]
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert (len(set(row["idempotency_keys"])), row["times_requested"], row["times_executed"]) == (2, 2, 1)
    assert await status_of(client, signed.payment_hash) is COMPLETE


async def test_an_error_that_tells_nothing_is_never_repeated(bench: Bench) -> None:
    """The server keeps no errors under the key: even the worst custodian is not told to pay twice."""
    sandbox = await bench.sandbox(repeated_send="pay")
    client = await bench.client(sandbox, timing=SHORT)
    signed = sandbox.foreign_invoice(5000)
    sandbox.arm("payment", outcome="ERROR", executed=True)
    results = [(await client.pay(signed.payment_request)).result for _ in range(3)]
    assert (results, requested(sandbox), executed(sandbox)) == ([PayResult.UNKNOWN] * 3, [1], [1])
    assert await status_of(client, signed.payment_hash) is UNKNOWN


@pytest.mark.parametrize(
    ("answer", "status", "asked"),
    [
        pytest.param(Refused("no", "INSUFFICIENT_BALANCE"), UNKNOWN, 5, id="the lost one may have taken the balance"),
        pytest.param(Refused("slow", retry_after=timedelta(1)), UNKNOWN, 5, id="a rate limit says nothing of it"),
        pytest.param(NotExecuted("no way"), UNKNOWN, 5, id="nor does a server that can't be asked"),
        pytest.param(Refused("the payment failed", definite=True), FAILED, 2, id="its own failure does"),
        pytest.param(Completed({}), COMPLETE, 2, id="and its success"),
        pytest.param(Unknown("an error", answered=True), UNKNOWN, 2, id="an error ends the asking"),
    ],
)
async def test_what_is_believed_of_a_lost_payment(
    bench: Bench, answer: Outcome, status: LightningPaymentStatus, asked: int
) -> None:
    """After a sending that was lost only the payment's own end is believed, and asking ends after a few times."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    oracle = Oracle(client, Unknown("dropped"), *[answer] * 5)
    signed = sandbox.foreign_invoice(5000)
    await client.pay(signed.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=5)))
    assert await status_of(client, signed.payment_hash) is status
    assert (len(oracle.keys), len(set(oracle.keys))) == (asked, 1)


async def test_a_server_without_keys_is_paid_with_none(bench: Bench) -> None:
    """An older server refuses the request for its key; it is sent without, and then never again."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    oracle = Oracle(client, NotExecuted("bad field", Cause.INVALID), Unknown("dropped"))
    signed = sandbox.foreign_invoice(5000)
    for _ in range(2):
        assert (await client.pay(signed.payment_request, QUICK)).result is PayResult.UNKNOWN
    assert [key is not None for key in oracle.keys] == [True, False]
