"""BTCPay's official .NET client of the Greenfield API, method by method, against the host on the sandbox."""

from __future__ import annotations

import importlib.util
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from bolt11 import decode

from tests.btcpay.greenfield_client import GreenfieldClient
from tests.btcpay.kit import KIT, unpack_kit
from tests.lightning_host.hosts import API_KEY, HostBench
from tests.support.receiver import Receiver
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from flash_driver.sandbox import Sandbox
    from tests.lightning_host.hosts import RunningHost
    from tests.support.driver import Bench

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (KIT / "btcpay").exists(), reason="the BTCPay kit is not there; BTCPAY_KIT names its folder"
    ),
    pytest.mark.skipif(importlib.util.find_spec("pythonnet") is None, reason="pythonnet is not installed"),
]

NODE: Final = ("shop", "BTC")
PENDING_TOO: Final = (True, 0)
"""`pendingOnly` or `includePending`, and `offsetIndex`."""


class Shop(NamedTuple):
    """A client, the host that it talks to, and what stands behind."""

    client: GreenfieldClient
    host: RunningHost
    sandbox: Sandbox


@dataclass
class Openings:
    """Opens shops; all are closed with the test."""

    bench: Bench
    kit: Path
    folder: Path
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def shop(self, **settings: Any) -> Shop:
        """Start a sandbox, a host and the client."""
        sandbox = await self.bench.sandbox()
        host = await HostBench(self.stack, self.folder).host(sandbox, webhook_private_addresses=True, **settings)
        client = GreenfieldClient(self.kit, host.url, API_KEY)
        return Shop(await self.stack.enter_async_context(client), host, sandbox)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder with the client and the .NET runtime."""
    return unpack_kit(tmp_path_factory.mktemp("kit"))


@pytest.fixture
async def openings(bench: Bench, kit: Path, tmp_path: Path) -> AsyncIterator[Openings]:
    """Give what opens shops."""
    made = Openings(bench, kit, tmp_path)
    async with made.stack:
        yield made


async def test_client_checks_server_and_key(openings: Openings) -> None:
    """What a shop asks at its start is answered in the client's own types."""
    client = (await openings.shop()).client
    assert (await client.ok("GetHealth"))["Synchronized"] is True
    assert (await client.ok("GetServerInfo"))["SupportedPaymentMethods"] == ["BTC-LN"]
    assert "btcpay.store.canuselightningnode:shop" in (await client.ok("GetCurrentAPIKeyInfo"))["Permissions"]


async def test_client_reads_the_node(openings: Openings) -> None:
    """Information and balance are read; what a custodial wallet has not is refused with a code."""
    client = (await openings.shop()).client
    assert (await client.ok("GetLightningNodeInfo", *NODE))["nodeURIs"] == []
    assert int((await client.ok("GetLightningNodeBalance", *NODE))["offchain"]["Local"]) > 0
    histogram = await client.ask("GetLightningNodeHistogram", *NODE, None)
    assert (histogram["status"], histogram["code"]) == (404, "histogram-not-found")
    node = f"{'02' * 33}@127.0.0.1:9735"
    for method, request in (
        ("ConnectToLightningNode", [{"nodeURI": node}]),
        ("OpenLightningChannel", [{"nodeURI": node, "channelAmount": "20000", "feeRate": 1}]),
        ("GetLightningNodeChannels", []),
        ("GetLightningDepositAddress", []),
    ):
        told = await client.ask(method, *NODE, *request)
        assert (told["status"], told["code"]) == (400, "not-supported"), method


async def test_client_sells(openings: Openings) -> None:
    """An invoice is made, found, listed and seen paid; each value is the BOLT11's."""
    client, _, sandbox = await openings.shop()
    made = await client.ok("CreateLightningInvoice", *NODE, {"amount": "1000000", "description": "tea", "expiry": 900})
    bolt11 = decode(made["BOLT11"])
    assert (bolt11.payment_hash, bolt11.description) == (made["Id"], "tea")
    assert (str(bolt11.amount_msat), bolt11.date + (bolt11.expiry or 0)) == (made["Amount"], made["ExpiresAt"])
    assert (await client.ok("GetLightningInvoice", *NODE, made["Id"]))["Status"] == "Unpaid"
    sandbox.pay(made["BOLT11"])
    (listed,) = await client.ok("GetLightningInvoices", *NODE, None, None)
    paid = await client.ok("GetLightningInvoice", *NODE, made["Id"])
    assert (paid["Status"], paid["AmountReceived"]) == ("Paid", made["Amount"])
    assert paid["PaidAt"] <= made["ExpiresAt"]
    assert listed == paid
    assert await client.ok("GetLightningInvoices", *NODE, *PENDING_TOO) == []
    unknown = await client.ask("GetLightningInvoice", *NODE, "00" * 32)
    assert (unknown["status"], unknown["code"]) == (404, "invoice-not-found")


async def test_client_pays(openings: Openings) -> None:
    """A payment is made once, found and listed; one that is under way is Pending and not an error."""
    client, _, sandbox = await openings.shop()
    foreign = sandbox.foreign_invoice(msat=500_000)
    order = {"BOLT11": foreign.payment_request, "maxFeePercent": "5", "maxFeeFlat": "100", "sendTimeout": 30}
    paid = await client.ok("PayLightningInvoice", *NODE, order)
    assert (paid["Status"], paid["PaymentHash"]) == ("Complete", foreign.payment_hash)
    assert (paid["TotalAmount"], paid["FeeAmount"]) == (None, None), "Flash does not tell the fee"
    assert (await client.ok("PayLightningInvoice", *NODE, order))["Status"] == "Complete"
    assert [payment["times_executed"] for payment in sandbox.ledger_snapshot()["payments"]] == [1]
    assert await client.ok("GetLightningPayment", *NODE, foreign.payment_hash) == paid
    assert await client.ok("GetLightningPayments", *NODE, None, None) == [paid]
    sandbox.arm("payment", outcome="PENDING")
    under_way = sandbox.foreign_invoice(msat=400_000)
    pending = await client.ok("PayLightningInvoice", *NODE, {"BOLT11": under_way.payment_request, "sendTimeout": 5})
    assert pending["Status"] == "Pending"
    assert [each["Status"] for each in await client.ok("GetLightningPayments", *NODE, *PENDING_TOO)] == [
        "Complete",
        "Pending",
    ]


async def test_client_is_told_what_is_wrong(openings: Openings) -> None:
    """Wrong fields come all at once under the names that the client's types have."""
    client = (await openings.shop()).client
    made = await client.ask(
        "CreateLightningInvoice", *NODE, {"amount": "-1", "expiry": -1, "descriptionHashOnly": True}
    )
    assert made["error"] == "GreenfieldValidationException"
    assert sorted(made["fields"]) == ["Amount", "Description", "Expiry"]
    assert (await client.ask("PayLightningInvoice", *NODE, {"BOLT11": "lnbc1"}))["fields"] == ["BOLT11"]
    stranger = await client.ask("GetLightningNodeInfo", "bakery", "BTC")
    assert (stranger["status"], stranger["code"]) == (403, "missing-permission")


async def test_client_keeps_one_webhook(openings: Openings) -> None:
    """A shop that gets its webhook or makes it has one after many starts, and is told of a payment once."""
    async with Receiver.start() as receiver:
        client, host, sandbox = await openings.shop()
        for _ in range(3):
            known = await client.ok("GetWebhooks", "shop")
            if not any(each["Url"] == receiver.url for each in known):
                await client.ok("CreateWebhook", "shop", {"url": receiver.url, "secret": "x"})
        (webhook,) = await client.ok("GetWebhooks", "shop")
        assert (await client.ok("GetWebhook", webhook["Id"])) == webhook
        _, made = await host.greenfield("POST", "/invoices", {"amount": "1000000"})
        sandbox.pay(made["BOLT11"])
        (told,) = await receiver.until(1)
        assert (told.body["type"], told.body["invoiceId"]) == ("InvoiceSettled", made["id"])

        async def delivered() -> bool:
            return [each["Status"] for each in await client.ok("GetWebhookDeliveries", webhook["Id"])] == [
                "HttpSuccess"
            ]

        await until(delivered)
        one = (webhook["Id"], told.body["deliveryId"])
        assert (await client.ok("GetWebhookDelivery", *one))["HttpCode"] == 200
        assert (await client.ok("GetWebhookDeliveryRequest", *one))["DeliveryId"] == one[1]
        again = await client.ok("RedeliverWebhook", *one)
        assert (await receiver.until(2))[1].body["deliveryId"] == again
        changed = {"url": receiver.url, "authorizedEvents": {"everything": False, "specificEvents": ["InvoiceSettled"]}}
        told_events = (await client.ok("UpdateWebhook", webhook["Id"], changed))["AuthorizedEvents"]
        assert told_events["SpecificEvents"] == ["InvoiceSettled"]
        await client.ok("DeleteWebhook", webhook["Id"])
        assert await client.ok("GetWebhooks", "shop") == []
