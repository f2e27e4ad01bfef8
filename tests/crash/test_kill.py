"""Kill -9 between every two steps of create, settle and pay; then start again and compare with the server's ledger.

Each loop counts the steps by itself: it kills at the first, at the second, and so on until a run gets through. On
PostgreSQL the suite kills at each kind of step once, and `make thorough` at every step: it is the same code, and what
is in a transaction that was not committed is gone in both databases.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightMoney
from flash_driver.accounts.pool import Pool
from flash_driver.settings.process import ProcessSettings
from tests.support.thorough import THOROUGH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.driver import Bench
    from tests.support.processes import Driver

pytestmark = pytest.mark.timeout(400)

FEWEST = 8
"""Fewer steps than this would mean that the mines were not laid."""

CREATING = {"before COMMIT", "before perform", "after perform", "before add_invoice", "after add_invoice"}
SETTLING = {"before COMMIT", "before settle_invoice", "after settle_invoice", "after hearing"}
PAYING = {"before COMMIT", "before begin_payment", "after begin_payment", "before perform", "after perform"}


def fates(died_at: list[str | None], by_name: set[str], journal: str) -> Iterator[int | str | None]:
    """Say where to die next: at each step by its number, then at those that timing may have hidden, by name."""
    if THOROUGH or journal.startswith("sqlite"):
        for step in itertools.count(1):
            yield step
            if died_at[-1] is None:
                break
        assert len(died_at) > FEWEST
    yield from sorted(by_name - set(died_at))
    assert by_name <= set(died_at)
    if None not in died_at:
        yield None


def settings(journal: str) -> ProcessSettings:
    """Return the settings of a process on this journal."""
    return ProcessSettings.model_validate({"journal_url": journal, "invoice_budget": None})


async def test_create(bench: Bench, driver: Driver, journal: str) -> None:
    """No invoice that the host was given is missing from the journal, wherever the process died."""
    sandbox = await bench.sandbox()
    handed_out: list[str] = []
    died_at: list[str | None] = []
    for fate in fates(died_at, CREATING, journal):
        run = await driver.run(flow="create", string=sandbox.connection_string, journal=journal, die_at=fate)
        handed_out += [event["id"] for event in run.all("handed out")]
        died_at.append(run.died_at)
    client = await bench.client(sandbox, Pool(), settings(journal))
    known = {invoice.id for invoice in await client.list_invoices()}
    made = {invoice["payment_hash"] for invoice in sandbox.ledger_snapshot()["invoices"]}
    assert set(handed_out) <= known <= made
    assert handed_out != []


async def test_settle(bench: Bench, driver: Driver, journal: str) -> None:
    """Each payment is heard of exactly once by a host that goes on at its cursor, wherever the process died."""
    sandbox = await bench.sandbox()
    merchant = await bench.client(sandbox, Pool(), settings(journal))
    async with await merchant.listen() as listener:
        cursor = listener.cursor
    paid: list[str] = []
    heard: list[str] = []
    died_at: list[str | None] = []

    def on_event(event: dict[str, Any]) -> None:
        nonlocal cursor
        if event["event"] == "listening" and invoice.id not in paid:
            paid.append(invoice.id)
            sandbox.pay(invoice.bolt11)
        elif event["event"] == "heard":
            heard.append(event["id"])
            cursor = event["cursor"]

    order = {"flow": "listen", "string": sandbox.connection_string, "journal": journal}
    for fate in fates(died_at, SETTLING, journal):
        invoice = await merchant.create_invoice(LightMoney.from_sat(1000))
        run = await driver.run(on_event, **order, after=cursor, count=1, die_at=fate)
        died_at.append(run.died_at)
        if len(heard) < len(paid):
            await driver.run(on_event, **order, after=cursor, count=1)
    assert heard == paid
    ledger = sandbox.ledger_snapshot()["invoices"]
    assert {entry["payment_hash"] for entry in ledger if entry["status"] == "PAID"} == set(paid)
    assert cursor.rpartition(":")[2] == str(len(paid))


async def test_pay(bench: Bench, driver: Driver, journal: str) -> None:
    """No payment leaves twice, and each gets through under its one key, wherever the process died."""
    await kill_while_paying(bench, driver, journal, None)


async def test_pay_without_key(bench: Bench, driver: Driver, sqlite_journal: str) -> None:
    """An amountless BOLT11 is paid by a mutation without a key (flash-server.md 3.7): sent once, or left unknown."""
    await kill_while_paying(bench, driver, sqlite_journal, 1_000_000)


async def kill_while_paying(bench: Bench, driver: Driver, journal: str, msat: int | None) -> None:
    """Kill at each step of paying, start again, pay again, and compare with the ledger."""
    sandbox = await bench.sandbox()
    died_at: list[str | None] = []
    for fate in fates(died_at, PAYING, journal):
        signed = sandbox.foreign_invoice(1_000_000 if msat is None else None)
        order: dict[str, Any] = {
            "flow": "pay",
            "string": sandbox.connection_string,
            "journal": journal,
            "bolt11": signed.payment_request,
            "payment_hash": signed.payment_hash,
            "msat": msat,
        }
        run = await driver.run(**order, die_at=fate)
        died_at.append(run.died_at)
        again = await driver.run(**order)
        (answer,), (known,) = again.all("paid"), again.all("known")
        requests = [row for row in sandbox.ledger_snapshot()["payments"] if row["payment_hash"] == signed.payment_hash]
        executed = sum(row["times_executed"] for row in requests)
        asked = sum(row["times_requested"] for row in requests)
        assert executed <= 1, run.died_at
        if msat is None:
            assert (answer["result"], known["status"], executed) == ("ok", "complete", 1), run.died_at
            assert len({key for row in requests for key in row["idempotency_keys"]}) == 1
        else:
            assert asked <= 1, run.died_at
            assert (answer["result"], known["status"]) in {
                ("ok", "complete"),
                ("unknown", "unknown"),
                ("unknown", "pending"),
            }
            assert answer["result"] != "ok" or executed == 1
