from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from aiohttp.test_utils import make_mocked_request

from flash_driver.cli.whole import app
from flash_driver.sandbox import Sandbox, SandboxOptions
from flash_driver.sandbox.control import control_routes
from flash_driver.sandbox.faults import KINDS
from flash_driver.sandbox.simulation import Simulation
from tests.flash_driver.sandbox.clients import ME

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import Clock, StartLab


async def test_paying_answers_the_preimage(lab: Lab) -> None:
    """It opens the hash, and the ledger knows of the payment."""
    invoice = await lab.invoice()
    status, answer = await lab.control("POST", "pay", {"payment_request": invoice["paymentRequest"]})
    assert (status, answer["payment_hash"]) == (200, invoice["paymentHash"])
    assert sha256(bytes.fromhex(answer["preimage"])).hexdigest() == invoice["paymentHash"]
    _, ledger = await lab.control("GET", "ledger")
    assert ledger["invoices"][0]["status"] == "PAID"


async def test_paying_twice_is_a_conflict(lab: Lab) -> None:
    """Nobody pays a paid invoice, not even by force."""
    payment_request = (await lab.invoice())["paymentRequest"]
    await lab.control("POST", "pay", {"payment_request": payment_request})
    for force in (False, True):
        body = {"payment_request": payment_request, "force": force}
        assert await lab.control("POST", "pay", body) == (409, {"error": "the invoice is paid already"})


async def test_paying_late_takes_force(start_lab: StartLab, clock: Clock) -> None:
    """An expired invoice is refused, unless the payment was in flight."""
    lab = await start_lab(clock=clock)
    payment_request = (await lab.invoice())["paymentRequest"]
    clock.advance(seconds=60)
    body = {"payment_request": payment_request}
    assert await lab.control("POST", "pay", body) == (409, {"error": "the invoice has expired"})
    status, _ = await lab.control("POST", "pay", {**body, "force": True})
    assert status == 200
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["status"] == "PAID"


async def test_an_amountless_invoice_is_paid_with_what_is_given(lab: Lab) -> None:
    """Without an amount it is a hundred satoshis."""
    for msat, received in ((5000, 5000), (None, 100_000)):
        body = {"payment_request": (await lab.invoice(0))["paymentRequest"], "msat": msat}
        assert (await lab.control("POST", "pay", body))[0] == 200
        assert lab.sandbox.ledger_snapshot()["invoices"][-1]["msat_received"] == received


async def test_a_foreign_invoice_cannot_be_paid_here(lab: Lab) -> None:
    """The sandbox settles its own invoices only."""
    _, foreign = await lab.control("POST", "foreign_invoice", {"msat": 1000, "description": "elsewhere"})
    answer = await lab.control("POST", "pay", {"payment_request": foreign["payment_request"]})
    assert answer == (404, {"error": "the sandbox did not issue this invoice"})


async def test_a_foreign_invoice_can_be_paid_from_a_wallet(lab: Lab) -> None:
    """CheckedInvoice by the control endpoint, paid by a mutation, found in the ledger under its hash."""
    _, foreign = await lab.control("POST", "foreign_invoice", {"expiry_seconds": 10, "msat": 1000})
    assert sha256(bytes.fromhex(foreign["preimage"])).hexdigest() == foreign["payment_hash"]
    assert (await lab.pay(foreign["payment_request"]))["status"] == "SUCCESS"
    _, ledger = await lab.control("GET", "ledger")
    assert [each["payment_hash"] for each in ledger["payments"]] == [foreign["payment_hash"]]


async def test_a_pending_payment_can_be_resolved(lab: Lab) -> None:
    """The answer says how many there were."""
    _, foreign = await lab.control("POST", "foreign_invoice", {"msat": 1000})
    await lab.control("POST", "fault", {"kind": "payment", "outcome": "PENDING"})
    await lab.pay(foreign["payment_request"])
    body = {"payment_hash": foreign["payment_hash"], "status": "SUCCESS"}
    assert await lab.control("POST", "resolve_payment", body) == (200, {"resolved": 1})
    assert await lab.control("POST", "resolve_payment", body) == (200, {"resolved": 0})


async def test_the_price_can_be_moved_exactly(lab: Lab) -> None:
    """Numbers may come as texts."""
    body = {"usd_per_btc": "123456.789", "spread": 0.01, "drift_percent_per_minute": 0}
    assert await lab.control("POST", "price", body) == (200, {})
    reply = await lab.http("{ realtimePrice { btcSatPrice { base } } }")
    assert reply.data["realtimePrice"]["btcSatPrice"]["base"] == 123_456_789_000


async def test_a_session_can_expire_and_begin_again(lab: Lab) -> None:
    """HTTP answers 401 meanwhile; the API key still works."""
    await lab.control("POST", "expire_session")
    assert (await lab.http(ME)).status == 401
    assert (await lab.http(ME, headers={"X-API-KEY": lab.sandbox.api_key})).status == 200
    await lab.control("POST", "expire_session", {"expired": False})
    assert (await lab.http(ME)).status == 200


async def test_the_account_can_log_in_again(lab: Lab) -> None:
    """A further token is another session of the same account, and the first one stays."""
    status, answer = await lab.control("POST", "log_in")
    assert status == 200
    own, other = await lab.http(ME), await lab.http(ME, headers={"Authorization": f"Bearer {answer['token']}"})
    assert own.body == other.body
    assert answer["token"].startswith("ory_st_")
    assert answer["token"] != lab.sandbox.token


async def test_an_event_can_be_announced(lab: Lab) -> None:
    """With and without a wallet."""
    for more in ({}, {"wallet_id": lab.sandbox.wallet_id, "status": "PENDING"}):
        assert await lab.control("POST", "announce", {"payment_hash": "ab" * 32, **more}) == (200, {})


async def test_faults_are_armed_and_cleared(lab: Lab) -> None:
    """The answer says how many strikes are to come."""
    assert await lab.control("POST", "fault", {"kind": "no_ack", "count": 3}) == (200, {"faults_armed": 3})
    assert await lab.control("DELETE", "fault") == (200, {"faults_armed": 0})
    await lab.control("POST", "fault", {"kind": "no_ack"})
    assert await lab.control("POST", "fault", {"kind": "clear"}) == (200, {"faults_armed": 0})


async def test_reset_forgets_what_happened(start_lab: StartLab) -> None:
    """Books, counts, faults and limits are as at the start; credentials and wallets stay."""
    lab = await start_lab(rate_limit="1/120", external_wallet=True)
    invoice = await lab.invoice()
    lab.sandbox.pay(invoice["paymentRequest"])
    lab.sandbox.expire_session()
    lab.sandbox.arm("no_ack")
    before = lab.sandbox.ready_line()
    assert await lab.control("POST", "reset") == (200, {})
    ledger = lab.sandbox.ledger_snapshot()
    assert (ledger["invoices"], ledger["operations"], ledger["faults_armed"]) == ([], {}, 0)
    assert ledger["wallets"][0]["balance"] == "1000000"
    assert lab.sandbox.ready_line() == before
    await lab.invoice()


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("pay", {}, "'payment_request' must be given, as a text"),
        ("pay", {"payment_request": "lol"}, "Invalid payment request"),
        ("pay", {"payment_request": "x", "color": 1}, "unknown field 'color'; there are payment_request, msat, force"),
        ("pay", {"payment_request": "x", "force": 1}, "'force' must be true or false"),
        ("pay", {"payment_request": "x", "msat": 0}, "'msat' must be a whole number above zero"),
        ("pay", [], "the body must be a JSON object"),
        ("foreign_invoice", {"msat": "1"}, "'msat' must be a whole number above zero"),
        ("foreign_invoice", {"description": 1}, "'description' must be given, as a text"),
        ("resolve_payment", {"payment_hash": "x", "status": "MAYBE"}, "'status' must be SUCCESS or FAILURE"),
        ("price", {"usd_per_btc": 0}, "'usd_per_btc' must be above zero"),
        ("price", {"usd_per_btc": "much"}, "'usd_per_btc' must be a number, or a text that reads as one"),
        ("price", {"usd_per_btc": "NaN"}, "'usd_per_btc' must be a number, or a text that reads as one"),
        ("price", {"usd_per_btc": True}, "'usd_per_btc' must be a number, or a text that reads as one"),
        ("price", {"spread": 1}, "'spread' must lie between -1 and 1"),
        ("announce", {"payment_hash": "x", "status": "MAYBE"}, "'status' must be PENDING, PAID or EXPIRED"),
        ("announce", {}, "'payment_hash' must be given, as a text"),
        ("expire_session", {"when": "now"}, "unknown field 'when'; there are expired"),
        ("reset", {"all": True}, "unknown field 'all'; there are none"),
        ("fault", {"kind": "clear", "now": True}, "unknown field 'now'; there are kind"),
        ("fault", {"kind": "no_ack", "self": 1}, "a fault of kind no_ack takes no 'self'; it takes count"),
    ],
)
async def test_a_request_that_makes_no_sense_is_told_so(lab: Lab, path: str, body: Any, complaint: str) -> None:
    """One sentence, and the status 400."""
    assert await lab.control("POST", path, body) == (400, {"error": complaint})


async def test_a_fault_without_a_kind_is_told_which_there_are(lab: Lab) -> None:
    """The sentence lists them."""
    status, answer = await lab.control("POST", "fault", {})
    assert status == 400
    assert answer["error"].startswith("unknown fault kind ''; there are clear, close, reset")


async def test_what_is_no_json_is_no_request(lab: Lab) -> None:
    """Nor is it a server error."""
    async with lab.session.post(f"{lab.sandbox.control}/pay", data="{") as response:
        assert response.status == 400


async def test_only_local_peers_control_a_local_sandbox() -> None:
    """Should a request from elsewhere ever arrive, it is turned away."""
    route = next(each for each in control_routes(Sandbox(SandboxOptions())) if each.path == "/control/ledger")
    request = make_mocked_request("GET", "/control/ledger").clone(remote="192.0.2.1")
    handler: Any = route.handler
    response = await handler(request)
    assert response.status == 403


def test_the_document_names_all_of_it() -> None:
    """Each command, fault and option of the command line stands in docs/sandbox.md."""
    text = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()
    commands: Any = typer.main.get_command(app)
    options = [option for each in commands.commands["sandbox"].params for option in each.opts if option != "-v"]
    routes = [f"`{each.method} {each.path}`" for each in control_routes(Simulation())]
    kinds = [f"| `{kind}` |" for kind in KINDS]
    expected = [*routes, *kinds, *(option for option in options if option not in {"--verbose", "--json", "--help"})]
    unnamed = {"--port", "--host", "--public-host", "--router", "--max-complexity"}
    assert [name for name in expected if name not in text and name not in unnamed] == []
