"""A custodian that is slow: its answer is used while the caller waits, and known afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from connection_strings import BackendUnavailable
from flash_driver.sandbox.bank.bank import Bank
from tests.support.invoices import created, of_sat, orphans
from tests.support.logs import recorded
from tests.support.timing import SHORT
from tests.support.waiting import until

if TYPE_CHECKING:
    from flash_driver.client import FlashLightningClient
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

WAYS = pytest.mark.parametrize(
    ("mutations", "bearer"),
    [("accept", "accept"), ("decline", "accept"), ("decline", "reject")],
    ids=["websocket", "http", "public"],
)


class Held:
    """A custodian that does not answer before it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self._answering = asyncio.Event()
        monkeypatch.setattr(Bank, "wait_for_custodian", self._wait)

    async def _wait(self) -> None:
        self.asked += 1
        await self._answering.wait()

    def answer(self) -> None:
        """Answer whatever was asked and will be."""
        self._answering.set()


async def slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, mutations: str = "decline", bearer: str = "accept"
) -> tuple[Sandbox, FlashLightningClient, Held]:
    """Start a server whose custodian is held up, and a client that knows its account and which way works."""
    sandbox = await bench.sandbox(ws_mutations=mutations, http_bearer=bearer)
    client = await bench.client(sandbox, timing=SHORT)
    await client.create_invoice(of_sat(1000))
    return sandbox, client, Held(monkeypatch)


@WAYS
@pytest.mark.parametrize("leaving", ["time", "cancelled"])
async def test_an_answer_after_its_caller_is_gone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, mutations: str, bearer: str, leaving: str
) -> None:
    """What the server makes for a caller that is gone is listed as an orphan, and nobody else is given it."""
    sandbox, client, custodian = await slow(bench, monkeypatch, mutations, bearer)
    before = {orphan.payment_hash for orphan in await orphans(client)}
    if leaving == "time":
        for seconds in (0.3, 1.0, 4.0, 16.0):  # a busy machine may not even have written it in the first of them
            monkeypatch.setattr("flash_driver.invoices.creation._SERVER_SECONDS", seconds)
            with pytest.raises(BackendUnavailable):
                await client.create_invoice(of_sat(2000))
            if custodian.asked:
                break
        monkeypatch.setattr("flash_driver.invoices.creation._SERVER_SECONDS", 40.0)
    else:
        creating = asyncio.create_task(client.create_invoice(of_sat(2000)))
        await until(lambda: custodian.asked > 0)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
    with recorded() as story:
        custodian.answer()

        async def is_known() -> bool:
            made = {invoice["payment_hash"] for invoice in sandbox.ledger_snapshot()["invoices"]}
            listed = {invoice.id for invoice in await client.list_invoices()}
            known = listed | {orphan.payment_hash for orphan in await orphans(client)}
            return made == known and len(known) > len(before) + custodian.asked

        await until(is_known)
    late = [orphan for orphan in await orphans(client) if orphan.payment_hash not in before]
    assert {orphan.description for orphan in late} == {"coffee"}
    assert story.entry("an invoice is put aside")["why"] == "nobody waits for it any more"
    fresh = await client.create_invoice(of_sat(2000))
    listed = {invoice.id for invoice in await client.list_invoices()}
    assert fresh.id in listed
    assert not listed & {orphan.payment_hash for orphan in late}
    assert await client.get_invoice(late[0].payment_hash) is None
    assert await is_known()


async def test_an_invoice_that_will_do_is_known_when_its_caller_leaves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that leaves while a better amount is asked for leaves two orphans behind, and nothing unknown."""
    sandbox = await bench.sandbox(ws_mutations="decline")
    client = await bench.client(sandbox, timing=SHORT)
    await client.warm_up()
    real = Bank.wait_for_custodian
    asked, answering = 0, asyncio.Event()

    async def hold_the_second(bank: Bank) -> None:
        nonlocal asked
        asked += 1
        await (real(bank) if asked == 1 else answering.wait())

    monkeypatch.setattr(Bank, "wait_for_custodian", hold_the_second)
    monkeypatch.setattr("flash_driver.invoices.creation.CREATE_SECONDS", 41.0)
    monkeypatch.setattr("flash_driver.invoices.creation._SERVER_SECONDS", 40.0)
    creating = asyncio.create_task(client.create_invoice(of_sat(1000)))
    await until(lambda: asked == 2)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    answering.set()

    async def are_kept() -> bool:
        return len(await orphans(client)) == 2

    await until(are_kept)
    assert await client.list_invoices() == []
    assert created(sandbox) == 2


async def test_a_better_amount_is_not_asked_for_in_vain(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where less time is left than the first invoice took, it is handed out: another would cost a point for nothing."""
    sandbox = await bench.sandbox(ws_mutations="decline")
    client = await bench.client(sandbox)
    await client.warm_up()
    for scale in (1, 2, 4, 16):  # a machine that pauses gets none in time at first
        sandbox.set_custodian_seconds(0.6 * scale)
        monkeypatch.setattr("flash_driver.invoices.creation.CREATE_SECONDS", 40.0)
        monkeypatch.setattr("flash_driver.invoices.creation._SERVER_SECONDS", 1.1 * scale)
        before = created(sandbox)
        try:
            invoice = await client.create_invoice(of_sat(1000))
        except BackendUnavailable:
            continue
        break
    assert created(sandbox) == before + 1
    assert [each.id for each in await client.list_invoices()] == [invoice.id]
