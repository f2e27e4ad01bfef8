"""Health and metrics: what a load balancer and an operator see."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from connection_strings import CredentialRejected, LightningError, PayResult, RateLimited
from flash_driver.payments.sending import Sending
from lightning_host.database import Database
from lightning_host.flashcards.taps import taps_table
from lightning_host.settlements import wallet_listener
from lightning_host.settlements.settlements import Settlements
from tests.lightning_host.hosts import PASSWORD, eventually
from tests.support.checkouts import open_checkout, stream
from tests.support.proxy import FaultProxy

if TYPE_CHECKING:
    import pytest

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

ROOT = Path(__file__).parents[3]
TOKEN = "token-of-the-operator"


async def metrics(host: RunningHost, **headers: str) -> dict[tuple[str, ...], float]:
    """Read the metrics: name, and the values of its labels in the labels' own order, to value."""
    status, text = await host.get("/metrics", headers=headers)
    assert status == 200
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_health_follows_the_wallet(hosts: HostBench, node: FakeNode) -> None:
    """While a store is not heard the replica calls itself degraded, and alive all the same."""
    host = await hosts.host(node)
    assert await host.get("/health") == (
        200,
        {
            "status": "ok",
            "database": "ok",
            "stores": {"total": 1, "listening": 1, "blocked": 0},
            "byStore": {"shop": "listening"},
            "lastAnswerAt": {},
            "unknownPayments": {},
        },
    )
    node.broken = LightningError("away")
    await node.ring()

    async def degraded() -> bool:
        return await host.get("/health") == (
            503,
            {
                "status": "degraded",
                "database": "ok",
                "stores": {"total": 1, "listening": 0, "blocked": 0},
                "byStore": {"shop": "LightningError: away"},
                "lastAnswerAt": {},
                "unknownPayments": {},
            },
        )

    await eventually(degraded)
    assert await host.get("/live") == (200, {"status": "ok"})
    assert (await host.get("/ready"))[0] == 200
    status, told = await host.get("/health", headers={"X-Forwarded-For": "203.0.113.7"})
    assert (status, "byStore" in told) == (503, False)


async def test_health_follows_a_block_of_new_invoices(hosts: HostBench, node: FakeNode) -> None:
    """A store whose wallet makes no invoices for a while is in trouble, in the words that the shop is told."""
    host = await hosts.host(node)
    words = "the backend has blocked creating until 00:05:00 UTC, because too many were asked for"
    node.broken = RateLimited(words, retry_after=timedelta(minutes=5), blocked=True)
    status, refused = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    assert (status, refused["message"].partition(";")[0]) == (429, words)
    _, answer = await host.get("/lnurlp/shop/callback?amount=1000")
    assert re.search(r"has blocked creating until \d\d:\d\d:\d\d UTC, because more invoices", answer["reason"])
    status, told = await host.get("/health")
    assert (status, told["stores"]["blocked"], told["byStore"]) == (503, 1, {"shop": words})
    assert (await host.get("/ready"))[0] == 200
    node.broken = None
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    assert (await host.get("/health"))[0] == 200


async def test_budget_of_the_driver_is_no_trouble(hosts: HostBench, node: FakeNode) -> None:
    """A limit that the driver keeps by itself refuses a sale, and nobody has to look."""
    host = await hosts.host(node)
    node.broken = RateLimited("the budget is used up", retry_after=timedelta(minutes=2))
    assert (await host.greenfield("POST", "/invoices", {"amount": "1000"}))[0] == 429
    assert (await host.get("/health"))[0] == 200


async def test_health_does_not_flap(hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wallet that lets each listener begin and fails it a moment later stays in trouble in between."""
    monkeypatch.setattr(wallet_listener, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(wallet_listener, "_LONGEST_PAUSE", 0.01)
    host = await hosts.host(node)
    node.broken = CredentialRejected("the token is refused")
    await node.ring()

    async def degraded() -> bool:
        return (await host.get("/health"))[0] == 503

    await eventually(degraded)
    node.broken = None
    for _ in range(20):
        assert await degraded()


async def test_health_follows_the_database(hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica without its database says so."""

    async def unreachable(_: Settlements) -> None:
        raise OSError("the database is away")

    host = await hosts.host(node)
    monkeypatch.setattr(Settlements, "prove", unreachable)
    status, answer = await host.get("/health")
    assert (status, answer["database"]) == (503, "unreachable")


async def test_metrics_count_requests_and_settlements(hosts: HostBench, node: FakeNode) -> None:
    """Requests by group and status, settlements by store and purpose, who listens: each is there."""
    host = await hosts.host(node)
    _, invoice = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    await host.greenfield("GET", "/invoices/unknown")
    await host.request("DELETE", "/health")
    await host.get("/nothing")
    await node.pay(invoice["id"])

    async def counted() -> bool:
        return (await metrics(host)).get(("lightning_host_settlements_total", "greenfield", "shop")) == 1

    await eventually(counted)
    seen = await metrics(host)
    assert seen["lightning_host_requests_total", "greenfield", "POST", "200"] == 1
    assert seen["lightning_host_requests_total", "greenfield", "GET", "404"] == 1
    assert seen["lightning_host_requests_total", "health", "other", "405"] == 1
    assert seen["lightning_host_requests_total", "none", "other", "404"] == 1
    assert seen["lightning_host_request_seconds_count", "greenfield"] == 2
    assert seen["lightning_host_settled_msat_total", "greenfield", "shop"] == 1000
    assert seen["lightning_host_listening", "shop"] == 1
    assert seen["lightning_host_token_refused", "shop"] == 0


async def test_metrics_count_who_waits_for_settlements(hosts: HostBench, node: FakeNode) -> None:
    """Sockets and open pages are counted by kind, while they are there; what the host itself follows is not."""
    host = await hosts.host(node)

    async def waiting() -> tuple[float, float]:
        seen = await metrics(host)
        return seen["lightning_host_subscribers", "socket"], seen["lightning_host_subscribers", "page"]

    async def gone() -> bool:
        return await waiting() == (0, 0)

    assert await waiting() == (0, 0)
    checkout = await open_checkout(host)
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    async with (
        host.session.ws_connect(f"{host.url}/websocket", headers=auth),
        stream(host, checkout["id"]) as page,
    ):
        await page.state()
        assert await waiting() == (1, 1)
    await eventually(gone)


async def test_metrics_are_not_for_everybody(hosts: HostBench, node: FakeNode) -> None:
    """Without a token only this machine itself reads them; behind a proxy nobody does."""
    host = await hosts.host(node)
    assert (await host.get("/metrics"))[0] == 200
    assert (await host.get("/metrics", headers={"X-Forwarded-For": "203.0.113.7"}))[0] == 403


async def test_metrics_want_the_token_that_is_set(hosts: HostBench, node: FakeNode) -> None:
    """With a token set, nobody reads them without it."""
    host = await hosts.host(node, metrics_token=TOKEN)
    assert (await host.get("/metrics"))[0] == 401
    assert (await host.get("/metrics", headers={"Authorization": "Bearer wrong"}))[0] == 401
    assert await metrics(host, Authorization=f"Bearer {TOKEN}")


async def test_metrics_tell_of_trouble(hosts: HostBench, node: FakeNode) -> None:
    """Invoices that were not made are counted by store and purpose, beside those of the last two minutes."""
    host = await hosts.host(node)
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    node.broken = LightningError("away")
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    await host.get("/lnurlp/shop/callback?amount=1000")
    seen = await metrics(host)
    assert seen["lightning_host_invoices_failed_total", "greenfield", "shop"] == 1
    assert seen["lightning_host_invoices_failed_total", "lnurl", "shop"] == 1
    assert seen["lightning_host_invoices_recent", "shop"] == 1
    assert seen["lightning_host_renewals_postponed_total", "shop"] == 0


async def test_payments_that_stay_unknown_are_told(hosts: HostBench, node: FakeNode) -> None:
    """The operator sees how many there are and since when; they make nothing degraded, and nobody else sees them."""
    host = await hosts.host(node)
    assert (await metrics(host))["lightning_host_payments_unknown", "shop"] == 0
    node.pay_result = PayResult.UNKNOWN
    before = datetime.now(UTC)
    signed = node.signer.sign(msat=1000, description="", now=before, expiry=timedelta(hours=1))
    status, _ = await host.greenfield("POST", "/invoices/pay", {"BOLT11": signed.payment_request})
    assert status == 202
    seen = await metrics(host)
    assert seen["lightning_host_payments_unknown", "shop"] == 1
    since = datetime.fromtimestamp(seen["lightning_host_payments_unknown_since_seconds", "shop"], UTC)
    assert before <= since <= datetime.now(UTC)
    status, told = await host.get("/health")
    assert (status, told["unknownPayments"]["shop"]) == (200, {"count": 1, "since": since.isoformat()})
    _, told = await host.get("/health", headers={"X-Forwarded-For": "203.0.113.7"})
    assert "unknownPayments" not in told
    node.broken = LightningError("away")
    assert ("lightning_host_payments_unknown", "shop") not in await metrics(host)


async def test_payment_that_flash_called_pending_is_told(
    hosts: HostBench, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flash never says more of a payment that it first called pending: the operator sees it beside the unknown ones."""
    # A payment in flight is asked about until the caller's time is over, which nobody waits for here.
    monkeypatch.setattr(Sending, "_pause_before", lambda *_: None)
    sandbox = await bench.sandbox(ws_mutations="decline")
    host = await hosts.host(sandbox)
    sandbox.arm("payment", outcome="PENDING")
    wanted = {"BOLT11": sandbox.foreign_invoice(1000).payment_request}
    status, paid = await host.greenfield("POST", "/invoices/pay", wanted)
    assert (status, paid["status"]) == (202, "Pending")
    assert (await metrics(host))["lightning_host_payments_unknown", "shop"] == 1
    _, told = await host.get("/health")
    assert told["unknownPayments"]["shop"]["count"] == 1


async def test_documents_name_the_metrics_that_there_are(hosts: HostBench, node: FakeNode) -> None:
    """Each metric stands in docs/monitoring.md, which names no other."""
    host = await hosts.host(node)
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    _, text = await host.get("/metrics")
    there = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ") and "_created" not in line}
    documented = set(re.findall(r"`(lightning_host_\w+)`", (ROOT / "docs" / "monitoring.md").read_text()))
    assert documented == there


async def test_rules_and_dashboard_ask_for_what_there_is(hosts: HostBench, node: FakeNode, bench: Bench) -> None:
    """Each expression names metrics that a host in use serves, and labels and values that these have there."""
    with_flash = await hosts.host(await bench.sandbox(), database=hosts.sqlite("flash"))
    folder, host = ROOT / "docker" / "monitoring", await hosts.host(node)
    database = await Database.open(hosts.secret())
    row = {"store": "shop", "card": "a card", "chip": "a chip", "status": "paying", "expires_at": 0, "sender_until": 0}
    await database.add(taps_table, row | {"code_digest": "", "amount_msat": 1, "reserved_msat": 1, "look_at": 2**50})
    await database.aclose()
    node.pay_result = PayResult.UNKNOWN
    signed = node.signer.sign(msat=1000, description="", now=datetime.now(UTC), expiry=timedelta(hours=1))
    await host.greenfield("POST", "/invoices/pay", {"BOLT11": signed.payment_request})
    created = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    await node.pay(created[1]["paymentHash"])
    node.broken = LightningError("away")
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    node.broken = None

    async def served() -> bool:
        return any(name[0] == "lightning_host_settlements_total" for name in await metrics(host))

    await eventually(served)
    texts = [(await each.get("/metrics"))[1] for each in (host, with_flash)]
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    labels: dict[str, dict[str, set[str]]] = {}
    for sample in (sample for family in families for sample in family.samples):
        known = labels.setdefault(sample.name, {})
        for name, value in sample.labels.items():
            known.setdefault(name, set()).add(value)
    rules = yaml.safe_load((folder / "alerts.yaml").read_text())
    panels = json.loads((folder / "dashboard.json").read_text())["panels"]
    asked = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for expression in asked:
        assert all(expression.count(opening) == expression.count(closing) for opening, closing in ("()", "[]", "{}"))
        for term in re.split(r"\s(?:and|or|unless)\s|[<>]", expression):
            named = re.findall(r"(lightning_host_\w+)(?:\{(.*?)\})?", term)
            grouped = {name.strip() for group in re.findall(r"by \((.*?)\)", term) for name in group.split(",")}
            for metric, selected in named:
                assert metric in labels, expression
                assert grouped <= set(labels[metric]), expression
                for name, value in re.findall(r'(\w+)="(.*?)"', selected):
                    assert value in labels[metric][name], expression


async def test_health_tells_a_silent_backend(hosts: HostBench, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flash is away, though the store is listened to: /health is 503 and tells since when, until it answers again."""
    monkeypatch.setattr("flash_driver.transports.contact._OUTAGE_SECONDS", 1.0)
    sandbox = await bench.sandbox()
    async with FaultProxy(sandbox.server) as network:
        host = await hosts.host_of(f"type=flash;server={network.url};token={sandbox.token};allowinsecure=true")
        assert (await host.greenfield("POST", "/invoices", {"amount": "1000"}))[0] == 200
        status, well = await host.get("/health")
        assert (status, well["byStore"]) == (200, {"shop": "listening"})
        assert datetime.fromisoformat(well["lastAnswerAt"]["shop"]) <= datetime.now(UTC)
        network.accept = "refuse"
        network.reset()

        async def silent() -> bool:
            await host.greenfield("POST", "/invoices", {"amount": "1000"})
            status, told = await host.get("/health")
            return status == 503 and str(told["byStore"]["shop"]).startswith("the server has not answered for")

        await eventually(silent)
        assert (await metrics(host))["lightning_host_backend_up", "shop"] == 0
        assert (await host.get("/ready"))[0] == 200
        network.heal()

        async def answering() -> bool:
            return (await host.get("/health"))[0] == 200

        await eventually(answering)
        assert (await metrics(host))["lightning_host_backend_up", "shop"] == 1
