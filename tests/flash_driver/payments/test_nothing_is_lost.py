"""What is known of a payment is never forgotten, and what was never sent is never UNKNOWN; the ledger is the judge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from connection_strings import (
    InvalidRequest,
    LightMoney,
    LightningError,
    ListPaymentsParams,
    PayInvoiceParams,
    PayResult,
)
from flash_driver.accounts.pool import Pool
from flash_driver.settings.process import ProcessSettings
from tests.support.payments import (
    COMPLETE,
    FAILED,
    PAY,
    PENDING,
    PROBE,
    QUICK,
    UNKNOWN,
    executed,
    held_back,
    left_open,
    requested,
    status_of,
)
from tests.support.serving import serving_streams
from tests.support.timing import SHORT, account_of
from tests.support.waiting import HELD, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

PAY_NO_AMOUNT = "lnNoAmountUsdInvoicePaymentSend"
AT_ONCE = replace(SHORT, last_calls_seconds=0.0)
AMOUNT = LightMoney.from_sat(1000)
CLOSES = int(os.environ.get("PAYMENT_CLOSES", "6"))
"""How many times two processes close at random; a soak sets more."""


def terms(msat: int | None, **changes: Any) -> PayInvoiceParams:
    """Return the terms for a BOLT11 with this amount, or with none."""
    return PayInvoiceParams(amount=AMOUNT if msat is None else None, **changes)


@contextlib.asynccontextmanager
async def locked(file: Path) -> AsyncIterator[None]:
    """Let another process hold a SQLite file, so that nobody can write to it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")


def known_to(sandbox: Sandbox) -> set[str]:
    """Return the payment hashes of all payments that ever reached the server."""
    return {row["payment_hash"] for row in sandbox.ledger_snapshot()["payments"]}


def in_file(tmp_path: Path) -> tuple[Path, ProcessSettings]:
    """Return a journal's file, and the settings of a process on it."""
    file = tmp_path / "journal.db"
    url = f"sqlite+aiosqlite:///{file}"
    return file, ProcessSettings.model_validate({"journal_url": url, "invoice_budget": None})


# --- this payment, and no other -------------------------------------------------------------------------------------


async def test_a_payment_is_this_payment(bench: Bench) -> None:
    """A hash that was paid with another amount or BOLT11 is refused with what was paid; an identical call says so."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    signed = sandbox.foreign_invoice()
    first = await client.pay(signed.payment_request, PayInvoiceParams(amount=AMOUNT))
    again = await client.pay(signed.payment_request, PayInvoiceParams(amount=AMOUNT))
    assert (first.result, first.paid_before, again.result, again.paid_before) == (
        PayResult.OK,
        False,
        PayResult.OK,
        True,
    )
    with pytest.raises(InvalidRequest, match="was paid before with 1000000 msat; nothing was sent"):
        await client.pay(signed.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(50_000)))
    record = left_open(sandbox, sandbox.foreign_invoice(5000), sender_ends=timedelta(0), status=COMPLETE)
    other = sandbox.foreign_invoice(70_000)
    await account_of(client).journal.begin_payment(replace(record, payment_hash=other.payment_hash))
    with pytest.raises(InvalidRequest, match="another BOLT11, over 5000 msat, which was paid before"):
        await client.pay(other.payment_request)
    assert executed(sandbox) == [1]


async def test_a_call_beside_another_is_about_the_same_payment(bench: Bench) -> None:
    """While an amountless BOLT11 is being paid, a call with another amount is refused, not told of the first."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice()
    paying = asyncio.create_task(client.pay(signed.payment_request, PayInvoiceParams(amount=AMOUNT)))
    await until(lambda: held_back(sandbox))
    with pytest.raises(InvalidRequest, match="is being paid with 1000000 msat"):
        await client.pay(signed.payment_request, PayInvoiceParams(amount=LightMoney.from_sat(2)))
    sandbox.clear_faults()
    assert (await paying).result is PayResult.OK


# --- in flight begins at the request --------------------------------------------------------------------------------


async def test_a_payment_is_in_flight_while_it_is_prepared(bench: Bench, tmp_path: Path) -> None:
    """From the request on every process says PENDING, also when an attempt before it has failed."""
    sandbox = await bench.sandbox()
    _, process = in_file(tmp_path)
    one = await bench.client(sandbox, Pool(), process)
    two = await bench.client(sandbox, Pool(), process)
    signed = sandbox.foreign_invoice(50_000_000)
    sandbox.arm("payment", outcome="FAILURE")
    assert (await one.pay(signed.payment_request)).result is PayResult.ERROR
    sandbox.arm("delay", operation=PROBE, seconds=HELD)
    paying = asyncio.create_task(one.pay(signed.payment_request, PayInvoiceParams(max_fee_percent=5)))
    await until(lambda: bool(sandbox.ledger_snapshot()["operations"].get(PROBE)))
    assert [await status_of(client, signed.payment_hash) for client in (one, two)] == [PENDING, PENDING]
    sandbox.clear_faults()
    assert (await paying).result is PayResult.OK


# --- a verdict that can't be written --------------------------------------------------------------------------------


@pytest.mark.parametrize("msat", [50_000, None])
async def test_a_verdict_outlives_a_locked_journal(bench: Bench, tmp_path: Path, msat: int | None) -> None:
    """With the journal locked when the answer comes, the end is told from memory and written as soon as that works."""
    sandbox = await bench.sandbox()
    file, process = in_file(tmp_path)
    client = await bench.client(sandbox, Pool(AT_ONCE), process)
    await client.warm_up()
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(msat)
    paying = asyncio.create_task(client.pay(signed.payment_request, terms(msat)))
    await until(lambda: held_back(sandbox))
    async with locked(file):
        sandbox.clear_faults()
        assert (await paying).result is PayResult.OK
        assert await status_of(client, signed.payment_hash) is COMPLETE
        assert (await client.pay(signed.payment_request, terms(msat))).paid_before
        await client.aclose()
    # The next client of the account knows what the one before could not write, and writes it.
    assert await status_of(client, signed.payment_hash) is COMPLETE
    await client.aclose()
    other = await bench.client(sandbox, Pool(), process)
    assert await status_of(other, signed.payment_hash) is COMPLETE
    assert (await other.pay(signed.payment_request, terms(msat))).paid_before
    assert executed(sandbox) == [1]


async def test_a_failure_that_is_not_kept_yet_is_not_paid_over(bench: Bench, tmp_path: Path) -> None:
    """A new attempt waits until the journal has the failure of the one before; then it is sent once."""
    sandbox = await bench.sandbox()
    file, process = in_file(tmp_path)
    client = await bench.client(sandbox, Pool(), process)
    await client.warm_up()
    sandbox.arm("payment", outcome="FAILURE", seconds=HELD)
    signed = sandbox.foreign_invoice(50_000)
    paying = asyncio.create_task(client.pay(signed.payment_request))
    await until(lambda: held_back(sandbox))
    async with locked(file):
        sandbox.clear_faults()
        assert (await paying).result is PayResult.ERROR
        with pytest.raises(LightningError):
            await client.pay(signed.payment_request, QUICK)
        assert requested(sandbox) == [1]

    async def paid() -> bool:
        with contextlib.suppress(LightningError):
            return (await client.pay(signed.payment_request)).result is PayResult.OK
        return False

    await until(paid)
    assert (requested(sandbox), executed(sandbox)) == ([2], [1])


@pytest.mark.parametrize("msat", [50_000, None])
async def test_a_beginning_that_can_not_be_kept_is_never_unknown(
    bench: Bench, tmp_path: Path, msat: int | None
) -> None:
    """With the journal locked as a payment begins nothing is sent, it is never UNKNOWN, and it can be paid."""
    sandbox = await bench.sandbox()
    file, process = in_file(tmp_path)
    client = await bench.client(sandbox, Pool(), process)
    await client.warm_up()
    signed = sandbox.foreign_invoice(msat)
    async with locked(file):
        with pytest.raises(LightningError):
            await client.pay(signed.payment_request, terms(msat))
    assert requested(sandbox) == []

    async def known() -> bool:
        return await status_of(client, signed.payment_hash) in (None, FAILED)

    await until(known)
    assert (await client.pay(signed.payment_request, terms(msat))).result is PayResult.OK
    assert executed(sandbox) == [1]


# --- a close, a key, a connection -----------------------------------------------------------------------------------


@pytest.mark.many_cases
@pytest.mark.parametrize("mutations", ["accept", "decline"])
@pytest.mark.parametrize("msat", [50_000, None])
async def test_a_close_at_every_moment(bench: Bench, mutations: str, msat: int | None) -> None:
    """Wherever a close comes, the money leaves once at most, and what never reached the server is never UNKNOWN."""
    sandbox = await bench.sandbox(ws_mutations=mutations)
    pool = Pool(AT_ONCE)
    seen = set()
    for step in range(40):
        client = await bench.client(sandbox, pool)
        signed = sandbox.foreign_invoice(msat)
        paying = asyncio.create_task(client.pay(signed.payment_request, terms(msat)))
        await asyncio.sleep(step * 0.0007)
        await client.aclose()
        (answer,) = await asyncio.gather(paying, return_exceptions=True)
        status = await status_of(client, signed.payment_hash)
        rows = [row for row in sandbox.ledger_snapshot()["payments"] if row["payment_hash"] == signed.payment_hash]
        if not rows and status is UNKNOWN:
            # What was written a moment ago may still be on its way through the loopback.
            async def arrived(payment_hash: str = signed.payment_hash) -> bool:
                return payment_hash in {row["payment_hash"] for row in sandbox.ledger_snapshot()["payments"]}

            await until(arrived)
        if not isinstance(answer, BaseException):
            assert (answer.result, status) != (PayResult.UNKNOWN, FAILED)
        assert (await client.pay(signed.payment_request, terms(msat, send_timeout=timedelta(seconds=3)))).result in (
            PayResult.OK,
            PayResult.UNKNOWN,
        )
        await client.aclose()
        seen.add(status)
    assert max(executed(sandbox)) == 1
    assert len(seen) >= 2


@pytest.mark.many_cases
@pytest.mark.parametrize("mutations", ["accept", "decline"])
@pytest.mark.parametrize("msat", [50_000, None])
async def test_two_processes_that_close_at_random(
    bench: Bench, tmp_path: Path, mutations: str, msat: int | None
) -> None:
    """Two processes with two connection strings of one account pay the same and close: the money leaves once at most.

    What never reached the server is never UNKNOWN, to neither of them nor to a third process that asks afterwards.
    """
    sandbox = await bench.sandbox(ws_mutations=mutations)
    _, process = in_file(tmp_path)
    dice = random.Random(f"{mutations} {msat}")  # noqa: S311 - a schedule, no secret
    pools = [Pool(AT_ONCE), Pool(AT_ONCE)]
    third = await bench.client(sandbox, Pool(AT_ONCE), process)

    async def pay_and_close(client: FlashLightningClient, bolt11: str) -> None:
        await asyncio.sleep(dice.random() * 0.01)
        paying = asyncio.create_task(client.pay(bolt11, terms(msat, send_timeout=timedelta(seconds=3))))
        await asyncio.sleep(dice.random() * 0.04)
        await client.aclose()
        await asyncio.gather(paying, return_exceptions=True)

    for _ in range(CLOSES):
        signed = sandbox.foreign_invoice(msat)
        one = await bench.client(sandbox, pools[0], process)
        two = await bench.client(sandbox, pools[1], process, transports="http,graphql")
        await asyncio.gather(*(pay_and_close(client, signed.payment_request) for client in (one, two)))
        if await status_of(third, signed.payment_hash) is UNKNOWN:
            # What was written a moment ago may still be on its way through the loopback.
            await until(lambda signed=signed: signed.payment_hash in known_to(sandbox))  # type: ignore[misc]  # bound now
        again = await third.pay(signed.payment_request, terms(msat, send_timeout=timedelta(seconds=3)))
        assert again.result in (PayResult.OK, PayResult.UNKNOWN)
    assert max(executed(sandbox)) == 1


async def test_a_key_that_was_given_up_stays_given_up(bench: Bench) -> None:
    """A server without idempotency keys is sent the payment without one, once, also when the client is closed then."""
    sandbox = await bench.sandbox(repeated_send="pay")
    client = await bench.client(sandbox, timing=AT_ONCE)
    words = 'Field "idempotencyKey" is not defined by type "LnInvoicePaymentSendInput".'
    sandbox.arm("error", operation=PAY, code="GRAPHQL_VALIDATION_FAILED", message=words, channel="top", count=3)
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(50_000)
    paying = asyncio.create_task(client.pay(signed.payment_request))
    await until(lambda: held_back(sandbox))
    await client.aclose()
    sandbox.clear_faults()
    assert (await paying).result is PayResult.UNKNOWN
    assert (await client.pay(signed.payment_request, QUICK)).result is PayResult.UNKNOWN
    assert await status_of(client, signed.payment_hash) is UNKNOWN
    (row,) = sandbox.ledger_snapshot()["payments"]
    assert (row["times_requested"], row["idempotency_keys"]) == (1, [])


@pytest.mark.parametrize("transport", ["websocket", "http", "graphql"])
@pytest.mark.parametrize("msat", [50_000, None])
async def test_a_payment_cut_while_the_server_has_it_is_unknown(bench: Bench, transport: str, msat: int | None) -> None:
    """Each transport notes before it writes: a payment that the server has is never called failed by a close."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, Pool(AT_ONCE), transports=transport)
    sandbox.arm("payment", outcome="SUCCESS", seconds=HELD)
    signed = sandbox.foreign_invoice(msat)
    paying = asyncio.create_task(client.pay(signed.payment_request, terms(msat)))
    await until(lambda: held_back(sandbox))
    await client.aclose()
    sandbox.clear_faults()
    assert (await paying).result is PayResult.UNKNOWN
    assert await status_of(client, signed.payment_hash) is UNKNOWN


@asynccontextmanager
async def drops_reused_connections(sandbox: Sandbox, dropped: list[bytes]) -> AsyncIterator[int]:
    """Run a gateway that closes a kept connection in the moment in which a payment arrives on it; yields the port."""
    target = urlsplit(sandbox.server)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, down = await asyncio.open_connection(target.hostname, target.port)

        async def answers() -> None:
            while data := await upstream.read(65536):
                writer.write(data)
                await writer.drain()

        answering, requests = asyncio.create_task(answers()), 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                requests += data.count(b"POST ")
                if requests > 1 and b"PaymentSend" in data:
                    dropped.append(data[:20])
                    break
                down.write(data)
                await down.drain()
        answering.cancel()
        down.close()

    async with serving_streams(serve) as port:
        yield port


@pytest.mark.parametrize("transport", ["http", "graphql"])
async def test_money_without_a_key_travels_on_a_fresh_connection(bench: Bench, transport: str) -> None:
    """With a gateway that closes idle connections no amountless payment is UNKNOWN though it was never sent."""
    sandbox = await bench.sandbox()
    dropped: list[bytes] = []
    async with drops_reused_connections(sandbox, dropped) as port:
        client = await bench.client(sandbox, server=f"http://127.0.0.1:{port}/graphql", transports=transport)
        for _ in range(10):
            signed = sandbox.foreign_invoice()
            assert (await client.pay(signed.payment_request, terms(None))).result is PayResult.OK
        assert (dropped, executed(sandbox)) == ([], [1] * 10)
        await client.aclose()


# --- resolved early -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [True, False])
async def test_a_lost_payment_is_resolved_early_where_the_host_allows_it(bench: Bench, early: bool) -> None:  # noqa: FBT001 - a case
    """Asked again under its key, a lost payment is found out; without the host's word it is left alone."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT, transports="http")
    await client.warm_up()
    sandbox.arm("http_status", status=502, when="after_execute", operation=PAY, count=99)
    signed = sandbox.foreign_invoice(5000, expiry_seconds=3600)
    answer = await client.pay(signed.payment_request, replace(QUICK, resolve_early=early))
    assert answer.result is PayResult.UNKNOWN
    sandbox.clear_faults()
    if early:

        async def complete() -> bool:
            return await status_of(client, signed.payment_hash) is COMPLETE

        await until(complete)
    else:
        payment = await client.get_payment(signed.payment_hash)
        assert payment is not None
        assert (payment.status, "settle it by hand" in str(payment.way_out)) == (UNKNOWN, True)
    assert executed(sandbox) == [1]


async def test_another_process_resolves_what_a_dead_sender_left(bench: Bench) -> None:
    """A look at a payment whose sender was killed asks at once, and a first execution is the payment waited for."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.list_payments()
    signed = sandbox.foreign_invoice(5000, expiry_seconds=3600)
    ago = datetime.now(UTC) - timedelta(seconds=2)
    record = left_open(
        sandbox, signed, sender_ends=-timedelta(seconds=1), created_at=ago, sent_at=ago, resolve_early=True
    )
    await account_of(client).journal.begin_payment(record)
    assert await status_of(client, signed.payment_hash) is COMPLETE
    assert executed(sandbox) == [1]


async def test_early_questions_end(bench: Bench) -> None:
    """After their time nothing is asked before the expiry any more: a host has given the payment up by then."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.list_payments()
    signed = sandbox.foreign_invoice(5000, expiry_seconds=3600)
    ago = datetime.now(UTC) - timedelta(minutes=11)
    record = left_open(
        sandbox, signed, sender_ends=-timedelta(minutes=10), created_at=ago, sent_at=ago, resolve_early=True
    )
    await account_of(client).journal.begin_payment(record)
    assert await status_of(client, signed.payment_hash) is UNKNOWN
    assert requested(sandbox) == []


async def test_what_another_process_prepared_and_never_sent_has_failed(bench: Bench) -> None:
    """A process that was killed while it prepared a payment has sent nothing: FAILED, and the next call pays."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, timing=SHORT)
    await client.list_payments()
    signed = sandbox.foreign_invoice(5000)
    ago = datetime.now(UTC) - timedelta(minutes=1)
    record = left_open(sandbox, signed, sender_ends=-timedelta(seconds=30), created_at=ago, sent_at=None)
    await account_of(client).journal.begin_payment(replace(record, idempotency_key=None))
    assert await status_of(client, signed.payment_hash) is FAILED
    assert (await client.pay(signed.payment_request)).result is PayResult.OK
    assert executed(sandbox) == [1]


# --- by hand --------------------------------------------------------------------------------------------------------


async def stuck(sandbox: Sandbox, client: FlashLightningClient) -> Any:
    """Leave a payment UNKNOWN that nobody can ask about."""
    sandbox.arm("payment", outcome="ERROR", executed=True)
    signed = sandbox.foreign_invoice(5000)
    assert (await client.pay(signed.payment_request)).result is PayResult.UNKNOWN
    return signed


async def test_health_counts_what_stays_unknown(bench: Bench, tmp_path: Path) -> None:
    """A process that listens finds what another one has left, says how many and since when, until they are settled."""
    sandbox = await bench.sandbox()
    _, process = in_file(tmp_path)
    payer = await bench.client(sandbox, pool=Pool(), process=process)
    before = datetime.now(UTC)
    first, second = await stuck(sandbox, payer), await stuck(sandbox, payer)
    assert (await payer.pay(sandbox.foreign_invoice(5000).payment_request)).result is PayResult.OK
    watcher = await bench.client(sandbox, pool=Pool(SHORT), process=process)
    not_looked_yet = watcher.health
    assert not_looked_yet.unknown_payments is None
    async with await watcher.listen():
        await until(lambda: watcher.health.unknown_payments == 2)
        assert before <= (watcher.health.unknown_since or before) <= datetime.now(UTC)
        listed = await payer.list_payments(ListPaymentsParams(unknown_only=True))
        assert [each.payment_hash for each in listed] == [first.payment_hash, second.payment_hash]
        await payer.settle_payment(first.payment_hash, paid=True, reason="seen in the app")
        await until(lambda: watcher.health.unknown_payments == 1)
        await watcher.settle_payment(second.payment_hash, paid=False, reason="seen in the app")
        assert (watcher.health.unknown_payments, watcher.health.unknown_since) == (0, None)


@pytest.mark.parametrize("paid", [True, False])
async def test_an_operator_settles_what_is_stuck(bench: Bench, paid: bool) -> None:  # noqa: FBT001 - a case
    """What stays UNKNOWN says since when, why, and what would end it; an operator ends it with a written reason."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    signed = await stuck(sandbox, client)
    payment = await client.get_payment(signed.payment_hash)
    assert payment is not None
    assert (payment.sent_at is None, payment.failure) == (
        False,
        "An unexpected error occurred. Please try again later.",
    )
    assert "kept nothing that it could be asked about" in str(payment.way_out)
    with pytest.raises(InvalidRequest, match="reason"):
        await client.settle_payment(signed.payment_hash, paid=paid, reason=" ")
    settled = await client.settle_payment(signed.payment_hash, paid=paid, reason="seen in the app")
    assert (settled.status, settled.settled_by_hand, settled.way_out) == (
        COMPLETE if paid else FAILED,
        "seen in the app",
        None,
    )
    with pytest.raises(InvalidRequest, match="known to be"):
        await client.settle_payment(signed.payment_hash, paid=not paid, reason="changed my mind")
