from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from connection_strings import LightMoney, LightningPaymentStatus, PayDetails, PayResponse, PayResult
from flash_driver.client import FlashLightningClient
from flash_driver.sandbox.bank.signer import InvoiceSigner
from tests.support.serving import serving

if TYPE_CHECKING:
    from flash_driver.sandbox import Sandbox
    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox


def foreign(sandbox: Sandbox, msat: int | None = 50_000) -> str:
    """InvoiceSigner an invoice of another node."""
    return sandbox.foreign_invoice(msat, description="a \x1b[31mbook").payment_request


def executed(sandbox: Sandbox) -> list[int]:
    """Return how often each payment really left."""
    return [row["times_executed"] for row in sandbox.ledger_snapshot()["payments"]]


class Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


async def test_pays_once_when_told_to(cli: Commands, sandbox: StartSandbox) -> None:
    """`--yes` pays without asking; the payment can be looked up afterwards."""
    server = await sandbox()
    ended = await cli("pay", foreign(server), "--yes", "--json")
    assert ended.status == 0
    assert (ended.json["result"], ended.json["status"]) == ("ok", "complete")
    assert executed(server) == [1]
    known = await cli("payment", "get", ended.json["payment_hash"], "--json")
    assert (known.status, known.json["status"], known.json["amount_msat"]) == (0, "complete", 50_000)
    shown = await cli("payment", "get", ended.json["payment_hash"])
    assert shown.out.startswith("complete  50 sat")


async def test_says_what_was_paid(cli: Commands, sandbox: StartSandbox) -> None:
    """A person reads the amount and the hash."""
    server = await sandbox()
    ended = await cli("pay", foreign(server), "-y")
    assert ended.status == 0
    assert ended.out.startswith("paid\n")
    assert "hash       " in ended.out


async def test_invoice_without_amount(cli: Commands, sandbox: StartSandbox) -> None:
    """The payer's amount is taken from --amount, and asked for when it is missing."""
    server = await sandbox()
    bolt11 = foreign(server, None)
    missing = await cli("pay", bolt11, "--yes")
    assert (missing.status, missing.err.startswith("error: amount is needed")) == (2, True)
    assert (await cli("pay", bolt11, "--yes", "--amount", "70sat")).status == 0


async def test_nobody_to_ask_means_no_payment(cli: Commands, sandbox: StartSandbox) -> None:
    """Without a terminal and without --yes nothing is paid."""
    server = await sandbox()
    ended = await cli("pay", foreign(server))
    assert (ended.status, ended.err) == (2, "error: there is nobody to ask here: add --yes to pay without asking\n")
    assert executed(server) == []


@pytest.mark.parametrize(("answer", "status", "times"), [("y\n", 0, [1]), ("n\n", 1, []), ("", 130, [])])
async def test_person_is_asked_first(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch, *, answer: str, status: int, times: list[int]
) -> None:
    """At a terminal amount, description and expiry are shown, and only a yes pays."""
    server = await sandbox()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ended = await cli("pay", foreign(server))
    assert ended.status == status
    assert "amount       50 sat" in ended.err
    assert "description  a ?[31mbook" in ended.err
    assert executed(server) == times


async def test_unknown_outcome_has_its_own_status(cli: Commands, sandbox: StartSandbox) -> None:
    """A payment that may have been made ends with status 3 and the advice not to pay again."""
    server = await sandbox()
    server.arm("payment", outcome="PENDING", count=9)
    bolt11 = foreign(server)
    ended = await cli("pay", bolt11, "--yes", "--timeout", "1s")
    assert ended.status == 3
    assert "do not pay again" in ended.err
    assert ended.err.count("\n") == 1
    told = await cli("pay", bolt11, "--yes", "--json", "--timeout", "1s")
    assert told.status == 3
    assert told.json["error"]["kind"] == "payment-unknown"
    assert told.json["error"]["result"] == "unknown"
    known = await cli("payment", "get", told.json["error"]["payment_hash"], "--json")
    assert known.json["status"] in {"unknown", "pending"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("odd")])
async def test_torn_payment_is_unknown(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Ctrl-C or a bug while the payment is under way must not look like a payment that was not made."""
    server = await sandbox()

    async def tear(*_arguments: object) -> PayResponse:
        raise error

    monkeypatch.setattr(FlashLightningClient, "pay", tear)
    ended = await cli("pay", foreign(server), "--yes", "--json")
    assert ended.status == 3
    assert ended.json["error"]["kind"] == "payment-unknown"
    assert ended.json["error"]["message"].startswith(f"interrupted by {type(error).__name__}; it may have been paid")


async def test_refused_payment_was_not_made(cli: Commands, sandbox: StartSandbox) -> None:
    """A final refusal is status 1 and says that nothing was paid."""
    server = await sandbox()
    server.arm("payment", outcome="INSUFFICIENT_BALANCE")
    ended = await cli("pay", foreign(server), "--yes")
    assert ended.status == 1
    assert ended.err.startswith("error: nothing was paid: ")
    assert executed(server) in ([], [0])


async def test_fee_limits_are_kept(cli: Commands, sandbox: StartSandbox) -> None:
    """A fee above either limit keeps the money at home; within both it is paid."""
    server = await sandbox(send_fee_percent=1)
    for option, value in (("--max-fee-sat", "0.001"), ("--max-fee-percent", "0.01")):
        ended = await cli("pay", foreign(server, 10_000_000), "--yes", option, value, "--json")
        assert ended.status == 1
        assert ended.json["error"]["kind"] == "payment-failed"
    limits = ["--max-fee-sat", "1000", "--max-fee-percent", "5"]
    assert (await cli("pay", foreign(server, 10_000_000), "--yes", *limits)).status == 0


@pytest.mark.parametrize(
    "arguments", [["--max-fee-sat", "x"], ["--max-fee-sat", "0.00001"], ["--max-fee-percent", "-1"], ["--amount", "x"]]
)
async def test_odd_limits_are_refused(cli: Commands, sandbox: StartSandbox, arguments: list[str]) -> None:
    """A limit that is no number is a mistake of usage, and nothing is paid."""
    server = await sandbox()
    assert (await cli("pay", foreign(server), "--yes", *arguments)).status == 2
    assert executed(server) == []


async def test_nothing_sent_is_an_ordinary_error(cli: Commands, sandbox: StartSandbox) -> None:
    """With no way to the server before the payment it is status 1, not 3."""
    server = await sandbox()
    bolt11 = foreign(server)
    await server.aclose()
    ended = await cli("pay", bolt11, "--yes", "--json")
    assert ended.status == 1


async def test_unknown_payment_is_no_proof(cli: Commands, sandbox: StartSandbox) -> None:
    """A payment that this journal does not know may exist all the same: the error says so."""
    await sandbox()
    ended = await cli("payment", "get", "0" * 64)
    assert ended.status == 1
    assert "that is no proof that nothing was paid" in ended.err
    assert "memory:" in ended.err


async def test_fee_is_told_where_it_is_known(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server tells total and fee, so does the command."""
    server = await sandbox()
    details = PayDetails(
        payment_hash="0" * 64,
        status=LightningPaymentStatus.COMPLETE,
        total_amount=LightMoney.from_sat(51),
        fee_amount=LightMoney.from_sat(1),
    )

    async def pay(*_arguments: object) -> PayResponse:
        return PayResponse(result=PayResult.OK, details=details)

    monkeypatch.setattr(FlashLightningClient, "pay", pay)
    ended = await cli("pay", foreign(server), "--yes")
    assert ended.out.splitlines()[:3] == ["paid", "total      51 sat", "fee        1 sat"]


async def test_refusal_without_words(cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare verdict is told by its name, a bare success by its hash."""
    server = await sandbox()
    results = iter([PayResult.COULD_NOT_FIND_ROUTE, PayResult.OK])

    async def pay(*_arguments: object) -> PayResponse:
        return PayResponse(result=next(results))

    monkeypatch.setattr(FlashLightningClient, "pay", pay)
    ended = await cli("pay", foreign(server), "--yes")
    assert ended.err == "error: nothing was paid: could-not-find-route\n"
    assert "hash" in (await cli("pay", foreign(server), "--yes")).out


async def test_what_stays_unknown_is_settled_by_hand(cli: Commands, sandbox: StartSandbox) -> None:
    """`payment get` says why an end is unknown and what would tell it; `payment settle` keeps an operator's word."""
    server = await sandbox()
    server.arm("payment", outcome="ERROR", executed=True)
    signed = server.foreign_invoice(50_000)
    bolt11, payment_hash = signed.payment_request, signed.payment_hash
    assert (await cli("pay", bolt11, "--yes")).status == 3
    shown = await cli("payment", "get", payment_hash)
    assert "\nwhy        An unexpected error occurred" in shown.out
    assert "flash-driver payment settle" in shown.out
    assert (await cli("payment", "settle", payment_hash, "--paid")).status == 2
    settled = await cli("payment", "settle", payment_hash, "--paid", "--reason", "seen in the app")
    assert (settled.status, settled.out) == (0, "complete  50 sat  (settled by hand)\n")
    again = await cli("pay", bolt11, "--yes", "--json")
    assert (again.json["result"], again.json["paid_before"], executed(server)) == ("ok", True, [1])
    assert "\nby hand    seen in the app" in (await cli("payment", "get", payment_hash)).out


async def test_payments_are_listed(cli: Commands, sandbox: StartSandbox) -> None:
    """`payment list` shows each payment with its amount, since when and why; `--unknown` what needs a person."""
    server = await sandbox()
    assert (await cli("payment", "list", "--unknown")).out.startswith("no unknown payments; ")
    assert (await cli("pay", foreign(server), "--yes")).status == 0
    server.arm("payment", outcome="ERROR", executed=True)
    signed = server.foreign_invoice(70_000)
    assert (await cli("pay", signed.payment_request, "--yes")).status == 3
    listed = (await cli("payment", "list")).out.splitlines()
    assert [line.split()[:4] for line in listed if "sat" in line] == [
        ["complete", "50", "sat", "since"],
        ["unknown", "70", "sat", "since"],
    ]
    unknown = (await cli("payment", "list", "--unknown")).out
    assert (unknown.count("since"), "An unexpected error occurred" in unknown) == (1, True)
    (told,) = (await cli("payment", "list", "--unknown", "--json")).json["payments"]
    assert (told["payment_hash"], told["status"], told["amount_msat"]) == (signed.payment_hash, "unknown", 70_000)


async def test_pays_a_lightning_address(cli: Commands, sandbox: StartSandbox) -> None:
    """The payee is asked for an invoice over the amount; one that commits to something else is not paid."""
    server = await sandbox()
    made: list[str] = []

    async def terms(request: web.Request) -> web.Response:
        callback = str(request.url.with_path("/cb"))
        bounds = {"minSendable": 1000, "maxSendable": 100_000, "commentAllowed": 10}
        return web.json_response({"tag": "payRequest", "callback": callback, "metadata": "[]", **bounds})

    async def invoice(request: web.Request) -> web.Response:
        committed = "[]" if request.query.get("comment") == "for tea" else "of somebody else"
        signed = InvoiceSigner().sign(
            msat=int(request.query["amount"]),
            description="",
            now=datetime.now(UTC),
            expiry=timedelta(hours=1),
            description_hash=sha256(committed.encode()).hexdigest(),
        )
        made.append(signed.payment_request)
        return web.json_response({"pr": made[-1]})

    app = web.Application()
    app.router.add_get("/.well-known/lnurlp/ada", terms)
    app.router.add_get("/cb", invoice)
    async with serving(app) as port:
        address = f"ada@127.0.0.1:{port}"
        assert (await cli("pay", address, "--yes")).err.startswith("error: --amount is needed")
        assert "from 1000 to 100000 msat" in (await cli("pay", address, "--yes", "--amount", "500sat")).err
        refused = await cli("pay", address, "--yes", "--amount", "50sat")
        assert (refused.status, "it commits to other metadata" in refused.err) == (1, True)
        assert (len(made), executed(server)) == (1, [])
        done = await cli("pay", address, "--yes", "--amount", "50sat", "--comment", "for tea")
        assert (done.status, done.err) == (0, "")
        (row,) = server.ledger_snapshot()["payments"]
        assert (row["payment_request"], row["msat"], row["times_executed"]) == (made[1], 50_000, 1)
    assert "is a BIP21 link" in (await cli("pay", "bitcoin:bc1qxyz?amount=1", "--yes")).err
    assert (await cli("pay", f"bitcoin:bc1qxyz?lightning={foreign(server)}", "--yes")).status == 0
