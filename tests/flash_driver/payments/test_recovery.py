"""Payments that are found out about later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import (
    PayInvoiceParams,
    PayResult,
)
from flash_driver.accounts.pool import Pool
from flash_driver.flash_api.outcomes import Unknown
from flash_driver.payments.attempt import Persistence
from tests.support.driver import operations
from tests.support.payments import (
    COMPLETE,
    PAY,
    PENDING,
    QUICK,
    UNKNOWN,
    Oracle,
    at,
    executed,
    left_open,
    requested,
    status_of,
)
from tests.support.timing import SHORT, account_of, short
from tests.support.waiting import HELD, until

if TYPE_CHECKING:
    from flash_driver.journal.records import PaymentRecord
    from tests.support.driver import Bench


async def test_a_late_answer_is_kept(bench: Bench) -> None:
    """The answer that comes on the socket after the host was told UNKNOWN settles the matter."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="websocket", timing=SHORT)
    await client.warm_up()
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(5000)
    answer = await client.pay(signed.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=2)))
    assert answer.result is PayResult.UNKNOWN
    sandbox.clear_faults()

    async def complete() -> bool:
        return await status_of(client, signed.payment_hash) is COMPLETE

    await until(complete)
    assert (await client.pay(signed.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


async def test_a_late_answer_that_tells_nothing_ends_the_asking(bench: Bench) -> None:
    """A late error means that nothing is kept under the key: it stays unknown and is not sent again."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="websocket", timing=SHORT)
    await client.warm_up()
    sandbox.arm("payment", outcome="ERROR", executed=True, seconds=HELD)
    signed = sandbox.foreign_invoice(5000)
    await client.pay(signed.payment_request, PayInvoiceParams(send_timeout=timedelta(seconds=2)))
    sandbox.clear_faults()

    async def key_given_up() -> bool:
        record = await account_of(client).journal.find_payment(signed.payment_hash)
        return record is not None and record.idempotency_key is None

    await until(key_given_up)
    assert (await client.pay(signed.payment_request, QUICK)).result is PayResult.UNKNOWN
    assert executed(sandbox) == [1]


@pytest.mark.parametrize("restarted", [False, True])
async def test_it_is_asked_once_more_when_nothing_can_be_executed(bench: Bench, restarted: bool) -> None:  # noqa: FBT001 - a case
    """After the BOLT11's expiry the server is asked what it has kept, by this client or by the next one."""
    sandbox = await bench.sandbox()
    pool = Pool(SHORT)
    client = await bench.client(sandbox, pool, transports="http")
    await bench.client(sandbox, pool)
    await client.warm_up()
    sandbox.arm("http_status", status=502, when="after_execute", operation=PAY, count=99)
    signed = sandbox.foreign_invoice(5000, expiry_seconds=9)
    assert (await client.pay(signed.payment_request, QUICK)).result is PayResult.UNKNOWN
    sandbox.clear_faults()
    if restarted:
        await client.aclose()

    async def complete() -> bool:
        return await status_of(client, signed.payment_hash) is COMPLETE

    await until(complete)
    assert executed(sandbox) == [1]


async def test_a_client_for_each_call_learns_how_it_ended(bench: Bench) -> None:
    """After the expiry a lookup waits for the question, so that a client which lives for one call resolves it."""
    sandbox = await bench.sandbox()
    pool = Pool(SHORT)
    client = await bench.client(sandbox, pool, transports="http")
    await client.warm_up()
    sandbox.arm("http_status", status=502, when="after_execute", operation=PAY, count=99)
    signed = sandbox.foreign_invoice(5000, expiry_seconds=60)
    assert (await client.pay(signed.payment_request, QUICK)).result is PayResult.UNKNOWN
    await client.aclose()
    sandbox.clear_faults()
    # The next client is as quick as any; only its clock is an hour on.
    client = await bench.client(sandbox, pool)
    at(client, datetime.now(UTC) + timedelta(hours=2))
    asked = sum(operations(sandbox, PAY).values())
    assert await status_of(client, signed.payment_hash) is COMPLETE
    assert sum(operations(sandbox, PAY).values()) == asked + 1
    assert executed(sandbox) == [1]


async def test_what_another_process_left_open_is_asked_about_once(bench: Bench) -> None:
    """A lookup asks also about what came into the journal later; many at once share the question and its answer."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(payments=Persistence(later=(0.2,))))
    await client.list_payments()
    signed = sandbox.foreign_invoice(5000, expiry_seconds=60)
    record = left_open(sandbox, signed, sender_ends=timedelta(seconds=30))
    payments = account_of(client).payments
    await account_of(client).journal.begin_payment(record)
    at(client, record.created_at + timedelta(seconds=20))
    assert await status_of(client, signed.payment_hash) is PENDING
    assert not payments._recovery._tasks
    at(client, record.created_at + timedelta(hours=1))
    oracle = Oracle(client, Unknown("busy", answered=True, kept=True))
    found = await asyncio.gather(*(status_of(client, signed.payment_hash) for _ in range(5)))
    assert found == [UNKNOWN] * 5
    assert await status_of(client, signed.payment_hash) is UNKNOWN
    assert oracle.keys == ["of another process"]


async def test_a_process_that_listens_asks_no_more_often(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for payments that stay unknown again and again, and asks about each at its own moments only."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=short(payments=Persistence(watch=0.02, later=(0.2,))))
    signed = sandbox.foreign_invoice(5000, expiry_seconds=60)
    record = left_open(sandbox, signed, sender_ends=timedelta(0), status=UNKNOWN)
    journal, looks = account_of(client).journal, []
    await journal.begin_payment(record)
    at(client, record.created_at + timedelta(hours=1))
    oracle = Oracle(client, Unknown("busy", answered=True, kept=True))
    unresolved = journal.unresolved_payments

    async def looked() -> list[PaymentRecord]:
        looks.append(found := await unresolved())
        return found

    monkeypatch.setattr(journal, "unresolved_payments", looked)
    async with await client.listen():
        await until(lambda: len(looks) >= 6)
    assert oracle.keys == ["of another process"]
    assert client.health.unknown_payments == 1


async def test_a_payment_that_never_arrived_is_not_made_behind_the_hosts_back(bench: Bench) -> None:
    """The question asked after the expiry can't execute anything: what never arrived stays unknown."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, transports="http", timing=SHORT)
    await client.warm_up()
    sandbox.arm("http_status", status=502, operation=PAY, count=99)
    signed = sandbox.foreign_invoice(5000, expiry_seconds=9)
    assert (await client.pay(signed.payment_request, QUICK)).result is PayResult.UNKNOWN
    sandbox.clear_faults()
    await until(lambda: bool(requested(sandbox)))
    await until(lambda: not account_of(client).payments._recovery._tasks)
    assert (executed(sandbox), await status_of(client, signed.payment_hash)) == ([0], UNKNOWN)


async def test_an_old_payment_is_not_asked_about(bench: Bench) -> None:
    """After a day the server has forgotten its keys, and a question would be a payment."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.warm_up()
    signed = sandbox.foreign_invoice(5000, expiry_seconds=1)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    record = left_open(sandbox, signed, sender_ends=-timedelta(days=1), created_at=yesterday, sent_at=yesterday)
    await account_of(client).journal.begin_payment(record)
    assert await status_of(client, signed.payment_hash) is UNKNOWN
    assert (await client.pay(signed.payment_request)).result is PayResult.UNKNOWN
    await until(lambda: not account_of(client).payments._recovery._tasks)
    assert requested(sandbox) == []


async def test_a_hash_that_was_never_paid_is_unknown(bench: Bench) -> None:
    """None is said only of what was never attempted; what is no hash at all was not, either."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for payment_hash in ("00" * 32, "lol", "", "zz" * 32):
        assert await client.get_payment(payment_hash) is None
