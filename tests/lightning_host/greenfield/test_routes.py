"""The Greenfield Lightning API: a client that nobody here wrote, and a table of what BTCPay would answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bolt11 import decode

from connection_strings import (
    BackendUnavailable,
    CredentialRejected,
    LightMoney,
    LightningError,
    NotSupported,
    PayResponse,
    PayResult,
    RateLimited,
    RequestRefused,
)
from flash_driver.sandbox.bank.signer import InvoiceSigner
from tests.lightning_host.fake_driver import FakeClient
from tests.lightning_host.hosts import API_KEY
from tests.lightning_host.needs import missing, need_program
from tests.support.proxy import FaultProxy

if TYPE_CHECKING:
    from connection_strings import LightningInvoice
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

pytestmark = pytest.mark.timeout(500)  # the first of them installs packages

CLIENT = Path(__file__).parent / "greenfield_client"
SERVICE = "LightningStoreService"
_HOUR = timedelta(hours=1)
SOMEBODYS = InvoiceSigner().sign(msat=1_000, description="", now=datetime.now(UTC), expiry=_HOUR).payment_request


@pytest.fixture(scope="session")
def node_client() -> str:
    """Give the path of node, with the npm package installed next to the script that calls it."""
    node = need_program("node")
    if not (CLIENT / "node_modules" / "btcpay-greenfield-node-client").is_dir():
        npm = need_program("npm")
        command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund"]
        if subprocess.run(command, cwd=CLIENT, capture_output=True, check=False, timeout=400).returncode != 0:
            missing("the npm package btcpay-greenfield-node-client")
    return node


async def call(node: str, host: RunningHost, *calls: tuple[str, Any], token: str = API_KEY) -> list[dict[str, Any]]:
    """Have the npm client call methods of its LightningStoreService for store `shop`."""
    wanted = [
        [SERVICE, f"storeLightningNodeApi{name}", {"cryptoCode": "BTC", "storeId": "shop", **arguments}]
        for name, arguments in calls
    ]
    asked = json.dumps({"base": host.url, "token": token, "calls": wanted}).encode()
    process = await asyncio.create_subprocess_exec(
        node, "call.js", cwd=CLIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate(asked)
    answers: list[dict[str, Any]] = json.loads(output)
    return answers


# --- a client that nobody here wrote --------------------------------------------------------------------------------


async def test_npm_client_creates_an_invoice_and_sees_it_paid(bench: Bench, hosts: HostBench, node_client: str) -> None:
    """From the npm client through host and driver to the sandbox: a real invoice, then its payment."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox)
    asked = {"requestBody": {"amount": "1000000", "description": "coffee", "expiry": 900}}
    info, created = await call(node_client, host, ("GetInfo", {}), ("CreateInvoice", asked))
    assert info["ok"]["nodeURIs"] == []
    assert info["ok"]["blockHeight"] == 0
    invoice = created["ok"]
    bolt11 = decode(invoice["BOLT11"])
    assert (bolt11.payment_hash, bolt11.description) == (invoice["id"], "coffee")
    assert str(bolt11.amount_msat) == invoice["amount"]
    assert 1_000_000 <= int(invoice["amount"]) <= 1_010_000
    assert invoice["expiresAt"] == bolt11.date + (bolt11.expiry or 0)
    assert (invoice["status"], invoice["paidAt"], invoice["amountReceived"]) == ("Unpaid", None, None)
    sandbox.pay(invoice["BOLT11"])
    (paid,) = await call(node_client, host, ("GetInvoice", {"id": invoice["id"]}))
    assert paid["ok"]["status"] == "Paid"
    assert paid["ok"]["amountReceived"] == invoice["amount"]
    assert isinstance(paid["ok"]["paidAt"], int)


async def test_npm_client_pays_an_invoice(bench: Bench, hosts: HostBench, node_client: str) -> None:
    """The npm client pays a BOLT11 of somebody else; paying it again sends nothing twice."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox)
    foreign = sandbox.foreign_invoice(msat=500_000)
    paying = ("PayInvoice", {"requestBody": {"BOLT11": foreign.payment_request}})
    first, again = await call(node_client, host, paying, paying)
    assert first["ok"]["status"] == again["ok"]["status"] == "Complete"
    assert first["ok"]["paymentHash"] == foreign.payment_hash
    assert [payment["times_executed"] for payment in sandbox.ledger_snapshot()["payments"]] == [1]


async def test_npm_client_is_told_what_is_wrong(hosts: HostBench, node: FakeNode, node_client: str) -> None:
    """The npm client's error type gets status, code and message as from BTCPay."""
    host = await hosts.host(node)
    nothing: dict[str, Any] = {"requestBody": {}}
    unknown, invalid, connect = await call(
        node_client,
        host,
        ("GetInvoice", {"id": "00" * 32}),
        ("PayInvoice", nothing),
        ("ConnectToNode", {"requestBody": {"nodeURI": "02aa@127.0.0.1"}}),
    )
    assert unknown["error"]["status"] == 404
    assert unknown["error"]["body"]["code"] == "invoice-not-found"
    assert invalid["error"] == {"status": 422, "body": [{"path": "BOLT11", "message": "is missing"}]}
    assert (connect["error"]["status"], connect["error"]["body"]["code"]) == (400, "not-supported")
    (refused,) = await call(node_client, host, ("GetInfo", {}), token="some-other-key")
    assert (refused["error"]["status"], refused["error"]["body"]["code"]) == (401, "unauthenticated")


# --- shapes ---------------------------------------------------------------------------------------------------------


async def test_balance_is_told_in_msat_texts(hosts: HostBench, node: FakeNode) -> None:
    """GET /balance has what the wallet tells, and null for the rest."""
    host = await hosts.host(node)
    assert await host.greenfield("GET", "/balance") == (
        200,
        {"onchain": None, "offchain": {"opening": None, "local": "21000000", "remote": None, "closing": None}},
    )


async def test_terms_reach_the_wallet_as_given(hosts: HostBench, node: FakeNode) -> None:
    """Amount, description, hash, expiry and route hints arrive, whether written as number or as text."""
    host = await hosts.host(node)
    body = {
        "amount": 10_001,
        "description": "a long story",
        "descriptionHashOnly": True,
        "expiry": "120",
        "privateRouteHints": True,
    }
    status, invoice = await host.greenfield("POST", "/invoices", body)
    (asked,) = node.created
    assert status == 200
    assert (asked.amount, asked.description) == (LightMoney.from_msat(10_001), "a long story")
    assert (asked.description_hash_only, asked.private_route_hints) == (True, True)
    assert asked.expiry.total_seconds() == 120
    assert invoice["amount"] == "10001"
    assert invoice["expiresAt"] - datetime.now(UTC).timestamp() <= 120


@pytest.mark.parametrize("body", [{"amount": "0"}, {"Amount": 0}, {"amount": None}])
async def test_no_amount_makes_an_amountless_invoice(hosts: HostBench, node: FakeNode, body: dict[str, Any]) -> None:
    """Zero or null lets the payer choose; what was received is told."""
    host = await hosts.host(node)
    status, invoice = await host.greenfield("POST", "/invoices", body)
    assert (status, invoice["amount"]) == (200, "0")
    await node.pay(invoice["id"], LightMoney.from_sat(7))
    _, paid = await host.greenfield("GET", f"/invoices/{invoice['id'].upper()}")
    assert (paid["amountReceived"], paid["preimage"]) == ("7000", node.preimages[invoice["id"]])


async def test_invoices_are_listed(hosts: HostBench, node: FakeNode) -> None:
    """GET /invoices lists all or the pending ones, from an offset on."""
    host = await hosts.host(node)
    made = [(await host.greenfield("POST", "/invoices", {"amount": "1000"}))[1]["id"] for _ in range(3)]
    await node.pay(made[0])

    async def listed(query: str) -> list[str]:
        return [invoice["id"] for invoice in (await host.greenfield("GET", f"/invoices{query}"))[1]]

    assert await listed("") == made
    assert await listed("?pendingOnly=true") == made[1:]
    assert await listed("?offsetIndex=2") == made[2:]
    status, answer = await host.greenfield("GET", "/invoices?pending=true")
    assert (status, answer) == (422, [{"path": "Pending", "message": "is not known here; did you mean pendingOnly?"}])


@pytest.mark.parametrize(
    ("result", "status", "answer"),
    [
        (PayResult.OK, 200, {"status": "Complete", "totalAmount": "501500", "feeAmount": "1500"}),
        (PayResult.UNKNOWN, 202, {"status": "Unknown", "totalAmount": None, "feeAmount": None}),
        (PayResult.COULD_NOT_FIND_ROUTE, 400, {"code": "could-not-find-route", "message": "no luck"}),
        (PayResult.ERROR, 400, {"code": "generic-error", "message": "no luck"}),
    ],
)
async def test_each_outcome_of_a_payment_has_its_status(
    hosts: HostBench, node: FakeNode, result: PayResult, status: int, answer: dict[str, Any]
) -> None:
    """Paid is 200, unknown is 202 and never an error, what certainly failed is 400 with BTCPay's code."""
    host = await hosts.host(node)
    node.pay_result = result
    signed = node.signer.sign(msat=500_000, description="", now=datetime.now(UTC), expiry=_HOUR)
    got, body = await host.greenfield("POST", "/invoices/pay", {"BOLT11": signed.payment_request})
    assert got == status
    assert {name: body[name] for name in answer} == answer
    got, payment = await host.greenfield("GET", f"/payments/{signed.payment_hash}")
    assert (got, payment["paymentHash"]) == (200, signed.payment_hash)


async def test_payment_that_could_not_be_sent_does_not_exist(bench: Bench, hosts: HostBench) -> None:
    """While Flash can't be reached, a payment is 503 (it may be tried again), and afterwards there is none."""
    sandbox = await bench.sandbox()
    foreign = sandbox.foreign_invoice(msat=500_000)
    async with FaultProxy(sandbox.server) as between:
        host = await hosts.host_of(sandbox.connection_string.replace(sandbox.server, between.url))
        await between.aclose()
        order = {"BOLT11": foreign.payment_request, "sendTimeout": 5}
        status, answer = await host.greenfield("POST", "/invoices/pay", order)
        assert (status, answer["code"]) == (503, "lightning-node-unavailable")
        assert await host.greenfield("GET", "/payments?includePending=true") == (200, [])
        status, answer = await host.greenfield("GET", f"/payments/{foreign.payment_hash}")
        assert (status, answer["code"]) == (404, "payment-not-found")
    assert sandbox.ledger_snapshot()["payments"] == []


async def test_limits_of_a_payment_reach_the_wallet(hosts: HostBench, node: FakeNode) -> None:
    """Amount in msat, fees in percent and satoshi, time-out in seconds: each arrives in its unit."""
    host = await hosts.host(node)
    signed = node.signer.sign(msat=None, description="", now=datetime.now(UTC), expiry=_HOUR)
    body = {
        "BOLT11": signed.payment_request,
        "amount": "5000",
        "maxFeePercent": "6.15",
        "maxFeeFlat": "21",
        "sendTimeout": 5,
    }
    assert (await host.greenfield("POST", "/invoices/pay", body))[0] == 200
    (params,) = node.paid_with
    assert params.amount == LightMoney.from_msat(5000)
    assert str(params.max_fee_percent) == "6.15"
    assert params.max_fee_flat == LightMoney.from_sat(21)
    assert params.send_timeout.total_seconds() == 5


async def test_payments_are_listed(hosts: HostBench, node: FakeNode) -> None:
    """GET /payments lists finished payments; those under way only when asked for."""
    host = await hosts.host(node)
    for result in (PayResult.OK, PayResult.UNKNOWN):
        node.pay_result = result
        signed = node.signer.sign(msat=1000, description="", now=datetime.now(UTC), expiry=_HOUR)
        await host.greenfield("POST", "/invoices/pay", {"BOLT11": signed.payment_request})
    assert len((await host.greenfield("GET", "/payments"))[1]) == 1
    assert len((await host.greenfield("GET", "/payments?includePending=true"))[1]) == 2


async def test_hanging_up_does_not_stop_a_payment(hosts: HostBench, node: FakeNode) -> None:
    """A client that goes away while its payment is under way leaves it to end in the wallet."""
    host = await hosts.host(node)
    going, go = asyncio.Event(), asyncio.Event()
    node.before_paying = (going, go)
    signed = node.signer.sign(msat=1000, description="", now=datetime.now(UTC), expiry=_HOUR)
    asking = asyncio.create_task(host.greenfield("POST", "/invoices/pay", {"BOLT11": signed.payment_request}))
    async with asyncio.timeout(20):
        await going.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        go.set()
        await host.stop()
    assert list(node.payments) == [signed.payment_hash]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "store", "crypto_code", "answer"),
    [
        (None, "shop", "BTC", (401, "unauthenticated")),
        ("", "shop", "BTC", (401, "unauthenticated")),
        ("token", "shop", "BTC", (401, "unauthenticated")),
        ("token nonsense", "shop", "BTC", (401, "unauthenticated")),
        (f"Bearer {API_KEY}", "shop", "BTC", (401, "unauthenticated")),
        (f"token {API_KEY}x", "shop", "BTC", (401, "unauthenticated")),
        (f"token {API_KEY[:-1]}", "shop", "BTC", (401, "unauthenticated")),
        (f"token {API_KEY}", "bakery", "BTC", (403, "missing-permission")),
        (f"token {API_KEY}", "..%2fshop", "BTC", (403, "missing-permission")),
        (f"token {API_KEY}", "shop", "DOGE", (404, "unknown-cryptocode")),
        (f"token {API_KEY}", "shop", "btc-ln", (200, None)),
    ],
)
async def test_only_a_key_of_the_store_opens_it(  # noqa: PLR0917 - pytest passes them by name
    hosts: HostBench,
    node: FakeNode,
    authorization: str | None,
    store: str,
    crypto_code: str,
    answer: tuple[int, str | None],
) -> None:
    """No key, a wrong one or one of another store is refused in BTCPay's words; nothing tells which stores exist."""
    host = await hosts.host(node)
    headers = {} if authorization is None else {"Authorization": authorization}
    path = f"/api/v1/stores/{store}/lightning/{crypto_code}/info"
    got, body = await host.get(path, headers=headers)
    assert (got, body.get("code")) == answer


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"amount": "lots"}, "Amount"),
        ({"amount": -1}, "Amount"),
        ({"amount": "-1"}, "Amount"),
        ({"amount": 1.5}, "Amount"),
        ({"amount": "1e3"}, "Amount"),
        ({"amount": True}, "Amount"),
        ({"amount": [1]}, "Amount"),
        ({"amount": "٣"}, "Amount"),
        ({"amount": "9" * 29}, "Amount"),
        ({"amount": 2_100_000_000_000_000_001}, "Amount"),
        ({"amount": "1000", "expiry": 0}, "Expiry"),
        ({"amount": "1000", "expiry": "soon"}, "Expiry"),
        ({"amount": "1000", "expiry": 10**12}, "Expiry"),
        ({"amount": "1000", "description": 7}, "Description"),
        ({"amount": "1000", "description": "x" * 9000}, "Description"),
        ({"amount": "1000", "description": "nul\x00"}, "Description"),
        ({"amount": "1000", "description": "\ud800"}, "Description"),
        ({"amount": "1000", "descriptionHashOnly": True}, "Description"),
        ({"amount": "1000", "descriptionHashOnly": "maybe"}, "DescriptionHashOnly"),
        ({}, "Amount"),
        ({"amount": "1000", "expriy": 60}, "Expriy"),
    ],
)
async def test_bad_field_is_named(hosts: HostBench, node: FakeNode, body: dict[str, Any], path: str) -> None:
    """A field that makes no sense is 422 with its name; nothing reaches the wallet."""
    host = await hosts.host(node)
    status, answer = await host.greenfield("POST", "/invoices", body)
    assert (status, [field["path"] for field in answer]) == (422, [path])
    assert node.created == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "BOLT11"),
        ({"BOLT11": 7}, "BOLT11"),
        ({"BOLT11": "x" * 5000}, "BOLT11"),
        ({"BOLT11": SOMEBODYS, "maxFeePercent": "NaN"}, "MaxFeePercent"),
        ({"BOLT11": SOMEBODYS, "maxFeePercent": "-1"}, "MaxFeePercent"),
        ({"BOLT11": SOMEBODYS, "maxFeePercent": 1e300}, "MaxFeePercent"),
        ({"BOLT11": SOMEBODYS, "maxFeeFlat": "some"}, "MaxFeeFlat"),
        ({"BOLT11": SOMEBODYS, "amount": "0.5"}, "Amount"),
        ({"BOLT11": SOMEBODYS, "amount": "0"}, "Amount"),
        ({"BOLT11": SOMEBODYS, "sendTimeout": 0}, "SendTimeout"),
    ],
)
async def test_bad_field_of_a_payment_is_named(
    hosts: HostBench, node: FakeNode, body: dict[str, Any], path: str
) -> None:
    """A payment whose terms make no sense is 422 with the field's name; nothing is paid."""
    host = await hosts.host(node)
    status, answer = await host.greenfield("POST", "/invoices/pay", body)
    assert (status, [field["path"] for field in answer]) == (422, [path])
    assert node.paid_with == []


async def test_all_that_is_wrong_is_told_at_once(hosts: HostBench, node: FakeNode) -> None:
    """Each wrong field is in the answer, by BTCPay's name and with words of its own; a misspelt one with a guess."""
    host = await hosts.host(node)
    body = {"amuont": "1", "Amount": "-1", "EXPIRY": 0, "descriptionHashOnly": True}
    status, answer = await host.greenfield("POST", "/invoices", body)
    told = {field["path"]: field["message"] for field in answer}
    assert (status, sorted(told)) == (422, ["Amount", "Amuont", "Description", "Expiry"])
    assert told["Amount"] == "must not be negative"
    assert told["Amuont"] == "is not known here; did you mean amount?"
    status, answer = await host.greenfield("POST", "/invoices/pay", {"BOLT11": "lnbc1", "amount": -1})
    assert (status, sorted(field["path"] for field in answer)) == (422, ["Amount", "BOLT11"])
    assert (node.created, node.paid_with) == ([], [])


async def test_bolt11_that_the_wallet_refuses_is_a_bad_field(bench: Bench, hosts: HostBench) -> None:
    """A BOLT11 of another network is found out by the driver, and told with BTCPay's name of the field."""
    host = await hosts.host(await bench.sandbox())
    now = datetime.now(UTC)
    signed = InvoiceSigner().sign(msat=1_000, description="", now=now, expiry=_HOUR, network="bc")
    status, answer = await host.greenfield("POST", "/invoices/pay", {"BOLT11": signed.payment_request})
    assert (status, [field["path"] for field in answer]) == (422, ["BOLT11"])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '"text"', "null", '{"amount": NaN}', '{"amount": ' + "9" * 99 + "}", "[" * 60_000]
)
async def test_body_that_is_no_object_is_refused(hosts: HostBench, node: FakeNode, text: str) -> None:
    """A body that is not a JSON object is 400 bad-request."""
    host = await hosts.host(node)
    headers = {"Authorization": f"token {API_KEY}", "Content-Type": "application/json"}
    path = "/api/v1/stores/shop/lightning/BTC/invoices"
    status, answer = await host.request("POST", path, data=text, headers=headers)
    assert (status, answer["code"]) == (400, "bad-request")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BackendUnavailable("creating", {"websocket": "refused"}), 503, "lightning-node-unavailable"),
        (CredentialRejected("the token is dead"), 503, "lightning-node-unavailable"),
        (NotSupported("not here"), 400, "not-supported"),
        (RequestRefused("no"), 400, "generic-error"),
        (LightningError("odd"), 503, "lightning-node-unavailable"),
    ],
)
async def test_trouble_of_the_wallet_has_status_and_code(
    hosts: HostBench, node: FakeNode, error: LightningError, status: int, code: str
) -> None:
    """What the wallet raises is told in BTCPay's codes, with its words, which hold no secret."""
    host = await hosts.host(node)
    node.broken = error
    got, body = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    assert (got, body) == (status, {"code": code, "message": str(error)})


async def test_rate_limit_says_when_to_come_back(hosts: HostBench, node: FakeNode) -> None:
    """A wallet at its limit is 429 with Retry-After in whole seconds."""
    host = await hosts.host(node)
    node.broken = RateLimited("too many", retry_after=timedelta(seconds=2.5))
    headers = {"Authorization": f"token {API_KEY}"}
    url = f"{host.url}/api/v1/stores/shop/lightning/BTC/info"
    async with host.session.get(url, headers=headers) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "3")
        assert (await response.json())["code"] == "rate-limited"


@pytest.mark.parametrize("path", ["/invoices/nonsense", f"/invoices/{'0' * 64}", "/invoices/..%2f..%2finfo"])
async def test_unknown_invoice_is_not_found(hosts: HostBench, node: FakeNode, path: str) -> None:
    """An id that was never given out is 404."""
    host = await hosts.host(node)
    status, body = await host.greenfield("GET", path)
    assert (status, body["code"]) == (404, "invoice-not-found")


async def test_unknown_payment_path_and_method(hosts: HostBench, node: FakeNode) -> None:
    """A payment never made, a path and a method that do not exist: each is told in the same shape."""
    host = await hosts.host(node)
    assert (await host.greenfield("GET", f"/payments/{'0' * 64}"))[1]["code"] == "payment-not-found"
    assert (await host.greenfield("GET", "/histogram"))[1]["code"] == "histogram-not-found"
    assert (await host.greenfield("DELETE", "/invoices"))[1]["code"] == "method-not-allowed"


async def test_client_asks_what_its_key_may_do(hosts: HostBench, node: FakeNode) -> None:
    """Official clients check server and key at their start; the key itself is not told."""
    host = await hosts.host(node)
    headers = {"Authorization": f"token {API_KEY}"}
    assert await host.get("/api/v1/health") == (200, {"synchronized": True})
    _, key = await host.get("/api/v1/api-keys/current", headers=headers)
    assert "btcpay.store.canuselightningnode:shop" in key["permissions"]
    assert API_KEY not in str(key)
    assert (await host.get("/api/v1/server/info", headers=headers))[1]["supportedPaymentMethods"] == ["BTC-LN"]
    assert (await host.get("/api/v1/api-keys/current"))[1]["code"] == "unauthenticated"


async def test_list_knows_what_was_just_paid(hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of invoices asks about young ones as the question about one does: a wallet's list may be old."""
    host = await hosts.host(node)
    _, made = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    old = node.invoices[made["id"]]

    async def list_invoices(*_: object) -> list[LightningInvoice]:
        return [old]

    monkeypatch.setattr(FakeClient, "list_invoices", list_invoices)
    await node.pay(made["id"], heard=False)
    _, (listed,) = await host.greenfield("GET", "/invoices")
    assert (listed["id"], listed["status"]) == (made["id"], "Paid")
    assert made["id"] in node.asked


async def test_too_little_balance_is_no_route(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BTCPay has no code of its own for too little balance: it is could-not-find-route."""
    host = await hosts.host(node)

    async def pay(*_: object) -> PayResponse:
        return PayResponse(result=PayResult.ERROR, error_detail="Insufficient balance")

    monkeypatch.setattr(FakeClient, "pay", pay)
    status, answer = await host.greenfield("POST", "/invoices/pay", {"BOLT11": SOMEBODYS})
    assert (status, answer["code"]) == (400, "could-not-find-route")
