from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from bolt11 import decode

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox
    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox


async def payable(sandbox: Sandbox, sat: int = 1000) -> str:
    """Wait until a command has an invoice over this amount, and return its BOLT11; earlier ones may teach the rate."""
    async with asyncio.timeout(20):
        while True:
            for invoice in sandbox.ledger_snapshot()["invoices"]:
                if invoice["msat"] == sat * 1000:
                    return str(invoice["payment_request"])
            await asyncio.sleep(0.01)


async def listening(sandbox: Sandbox) -> None:
    """Wait until a command has subscribed."""
    async with asyncio.timeout(20):
        while not sandbox.ledger_snapshot()["executed"].get("myUpdates"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_create_shows_what_a_payer_needs(cli: Commands, sandbox: StartSandbox) -> None:
    """The BOLT11 stands on a line of its own, with amount, expiry and id around it."""
    await sandbox()
    ended = await cli("invoice", "create", "1000", "--description", "two coffees")
    assert ended.status == 0
    bolt11, amount, id_ = ended.out.splitlines()
    found = decode(bolt11)
    assert found.description == "two coffees"
    assert 1_000_000 <= int(found.amount_msat or 0) <= 1_010_000
    assert amount.endswith("UTC")
    assert id_ == f"id {found.payment_hash}"


@pytest.mark.parametrize("amount", [["21000", "msat"], ["21000 msat"], ["21"], ["21sat"]])
async def test_create_takes_amounts_with_and_without_quotes(
    cli: Commands, sandbox: StartSandbox, amount: list[str]
) -> None:
    """An amount and its unit may be one word or two."""
    await sandbox()
    ended = await cli("invoice", "create", *amount, "--json")
    assert ended.status == 0
    assert 21_000 <= ended.json["amount_msat"] <= 21_210
    assert ended.json["status"] == "unpaid"
    assert ended.json["paid_at"] is None
    assert ended.json["expires_at"].endswith("Z")


async def test_create_without_an_amount(cli: Commands, sandbox: StartSandbox) -> None:
    """Zero makes an invoice whose payer chooses."""
    await sandbox()
    ended = await cli("invoice", "create", "0", "--json")
    assert ended.json["amount_msat"] is None


async def test_create_refused_by_the_server(cli: Commands, sandbox: StartSandbox) -> None:
    """What went wrong is one line with the server's words, or one document with its code."""
    server = await sandbox()
    server.arm("error", message="no \x1b[31minvoices", code="ODD", count=2)
    ended = await cli("invoice", "create", "1000")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: no ?[31minvoices (ODD)\n"
    told = await cli("invoice", "create", "1000", "--json")
    assert told.json == {"error": {"kind": "refused", "message": "no ?[31minvoices (ODD)", "code": "ODD"}}


async def test_create_with_everything_down(cli: Commands, sandbox: StartSandbox) -> None:
    """One error names each way and its reason, and says that nothing was carried out."""
    server = await sandbox()
    await server.aclose()
    ended = await cli("invoice", "create", "1000", "--json")
    assert ended.status == 1
    assert ended.json["error"]["kind"] == "unavailable"
    assert list(ended.json["error"]["reasons"]) == ["websocket", "http", "graphql", "public"]
    assert ended.json["error"]["executed"] is False


async def test_verbose_shows_the_log_beside_the_result(cli: Commands, sandbox: StartSandbox) -> None:
    """With --verbose the mission's log lines stand on standard error; the result is the same."""
    await sandbox()
    ended = await cli("invoice", "create", "1000", "--json", "--verbose")
    assert ended.json["status"] == "unpaid"
    events = [line for line in ended.err.splitlines() if line.startswith("info")]
    assert events[0].startswith("info    attempting WebSocket")
    assert events[-1].startswith("info    invoice created via WebSocket")


@pytest.mark.parametrize("as_json", [True, False])
async def test_create_and_wait_until_paid(cli: Commands, sandbox: StartSandbox, *, as_json: bool) -> None:
    """`--wait` shows the invoice at once, stays until it is paid, and then shows it as paid."""
    server = await sandbox()
    extra = ["--json"] if as_json else []
    command = asyncio.create_task(cli("invoice", "create", "1000", "--wait", *extra))
    server.pay(await payable(server))
    ended = await command
    assert ended.status == 0
    if as_json:
        created, paid = ended.documents
        assert (created["status"], paid["status"]) == ("unpaid", "paid")
        assert created["id"] == paid["id"]
        assert paid["amount_received_msat"] > 0
    else:
        assert ended.out.splitlines()[-1].startswith("paid: 1,00")


async def test_wait_looks_at_its_own_invoice_only(cli: Commands, sandbox: StartSandbox) -> None:
    """The payment of another invoice of the same account and journal does not end the wait."""
    server = await sandbox()
    command = asyncio.create_task(cli("invoice", "create", "1000", "--wait", "--json"))
    own = await payable(server)
    # Both commands write to one output here, so that the first may have told of its own invoice in between.
    told = (await cli("invoice", "create", "500", "--json")).documents
    (other,) = [each for each in told if each["bolt11"] != own]
    server.pay(other["bolt11"])
    server.pay(own)
    ended = await command
    assert {each["id"] for each in ended.documents} == {decode(own).payment_hash}


@pytest.mark.parametrize("as_json", [True, False])
async def test_wait_ends_with_the_invoice(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    """When the server says that it has expired, the wait is over: status 1."""
    await sandbox(invoice_expiry_seconds=1)
    monkeypatch.setenv("FLASH_EXPIRY_GRACE_SECONDS", "0")
    monkeypatch.setattr("flash_driver.cli.invoices._ASK_AGAIN_SECONDS", 0.1)
    ended = await cli("invoice", "create", "1000", "--wait", *(["--json"] if as_json else []))
    assert ended.status == 1
    if as_json:
        assert [each["status"] for each in ended.documents] == ["unpaid", "expired"]
    else:
        assert ended.out.splitlines()[-1] == "expired without a payment"


async def test_code_is_drawn_on_a_terminal(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person at a terminal can scan the invoice at once."""
    await sandbox()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    ended = await cli("invoice", "create", "1000")
    assert "█" in ended.out


async def test_get_shows_an_invoice_of_this_journal(cli: Commands, sandbox: StartSandbox) -> None:
    """An invoice that this process made can be looked up, before and after its payment."""
    server = await sandbox()
    made = (await cli("invoice", "create", "1000", "--json")).json
    ended = await cli("invoice", "get", made["id"])
    assert ended.status == 0
    assert ended.out.splitlines()[0].startswith("unpaid  1,00")
    assert f"bolt11     {made['bolt11']}" in ended.out
    server.pay(made["bolt11"])
    paid = await cli("invoice", "get", made["id"], "--json")
    assert paid.json["status"] == "paid"
    assert paid.json["preimage"] is None or len(paid.json["preimage"]) == 64
    assert "paid       1,00" in (await cli("invoice", "get", made["id"])).out


@pytest.mark.parametrize("invoice_id", ["0" * 64, "garbage"])
async def test_get_of_an_unknown_invoice_says_what_to_do(cli: Commands, sandbox: StartSandbox, invoice_id: str) -> None:
    """Not known to this journal is not the same as not existing: the error says whose journal counts."""
    await sandbox()
    ended = await cli("invoice", "get", invoice_id)
    assert ended.status == 1
    assert "this journal has no such invoice; FLASH_JOURNAL_URL is memory:" in ended.err
    told = await cli("invoice", "get", invoice_id, "--json")
    assert told.json["error"]["kind"] == "unknown-invoice"


async def test_list_shows_the_journal(cli: Commands, sandbox: StartSandbox) -> None:
    """All invoices, or those that may still be paid, oldest first."""
    server = await sandbox()
    first = (await cli("invoice", "create", "1000", "--json")).json
    second = (await cli("invoice", "create", "2000", "--json")).json
    server.pay(first["bolt11"])
    await cli("invoice", "get", first["id"])
    everything = (await cli("invoice", "list", "--json")).json["invoices"]
    assert [(row["id"], row["status"]) for row in everything] == [(first["id"], "paid"), (second["id"], "unpaid")]
    pending = (await cli("invoice", "list", "--pending", "--json")).json["invoices"]
    assert [row["id"] for row in pending] == [second["id"]]
    lines = (await cli("invoice", "list")).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.strip() for line in lines[1::2]] == [first["id"], second["id"]]
    shown = [line.replace(" sat", "").split()[:3:2] for line in lines[0::2]]
    assert shown == [["paid", "at"], ["unpaid", "until"]]


async def test_list_of_nothing_says_why(cli: Commands, sandbox: StartSandbox) -> None:
    """An empty list of a forgetful journal explains itself; a program gets an empty list."""
    await sandbox()
    ended = await cli("invoice", "list")
    assert ended.status == 0
    assert "no invoices; FLASH_JOURNAL_URL is memory:" in ended.out
    assert (await cli("invoice", "list", "--pending")).out.startswith("no pending invoices; ")
    assert (await cli("invoice", "list", "--json")).json == {"invoices": []}


async def test_watch_tells_each_paid_invoice_once(cli: Commands, sandbox: StartSandbox) -> None:
    """Each payment is a line with its cursor, from which a later watch goes on."""
    server = await sandbox()
    invoices = [(await cli("invoice", "create", str(sat), "--json")).json for sat in (1000, 2000, 3000)]
    command = asyncio.create_task(cli("invoice", "watch", "--count", "2", "--json"))
    await listening(server)
    server.pay(invoices[0]["bolt11"])
    server.pay(invoices[1]["bolt11"])
    ended = await command
    assert ended.status == 0
    first, second = map(json.loads, ended.out.splitlines())
    assert [first["invoice"]["id"], second["invoice"]["id"]] == [invoices[0]["id"], invoices[1]["id"]]
    assert second["invoice"]["status"] == "paid"
    again = await cli("invoice", "watch", "--after", first["cursor"], "--count", "1")
    assert invoices[1]["id"] in again.out
    assert again.out.startswith(f"watching from cursor {first['cursor']}")


async def test_watch_refuses_a_foreign_cursor(cli: Commands, sandbox: StartSandbox) -> None:
    """A cursor of another journal is a mistake of usage."""
    await sandbox()
    ended = await cli("invoice", "watch", "--after", "other:1", "--json")
    assert ended.status == 2
    assert ended.json["error"] | {"message": ""} == {"kind": "invalid-request", "message": "", "field": "after"}
