from __future__ import annotations

import asyncio
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bolt11 import decode

from lightning_host.web.public_network import is_public
from lightning_host.webhooks import sender
from lightning_host.webhooks.sender import pauses
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import KEY, open_checkout
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

WEBHOOKS = "/api/v1/stores/shop/webhooks"
OTHER = {"connection_string": "type=fake;node=other", "api_keys": ["key-of-the-bakery"]}
QUICK: dict[str, Any] = {"webhook_private_addresses": True, "webhook_first_pause": 0.05}
SPECIAL = """
0.0.0.0 10.1.2.3 100.127.255.255 127.0.0.1 169.254.169.254 172.31.0.1 192.0.0.9 192.0.2.1 192.88.99.1 192.168.0.1
198.19.0.1 198.51.100.1 203.0.113.1 239.1.1.1 255.255.255.255 :: ::1 ::7f00:1 ::a00:1 64:ff9b:1::1 100::1 2001::1
2001:2::1 2001:db8::1 3fff::1 5f00::1 4000::1 fec0::1 ff02::1 fd12::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:c0a8:1::
"""
"""One address of each range that is no part of the internet, also of those that tables of interpreters lack."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a server to send to."""
    async with Receiver.start() as started:
        yield started


async def register(host: RunningHost, url: str, **fields: Any) -> dict[str, Any]:
    """Register a webhook as a shop does."""
    status, webhook = await host.request("POST", WEBHOOKS, json={"url": url, **fields}, headers=KEY)
    assert status == 200, webhook
    assert isinstance(webhook, dict)
    return webhook


async def deliveries(host: RunningHost, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask what was or will be sent."""
    _, listed = await host.get(f"{WEBHOOKS}/{webhook['id']}/deliveries", headers=KEY)
    assert isinstance(listed, list)
    return listed


async def until_status(host: RunningHost, webhook: dict[str, Any], status: str) -> dict[str, Any]:
    """Wait until the one delivery has this status."""

    async def has() -> bool:
        return [each["state"] for each in await deliveries(host, webhook)] == [status]

    await eventually(has)
    return (await deliveries(host, webhook))[0]


async def test_settlement_is_told_with_a_signature(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """A payment is told once, with a body that the secret signs as BTCPay's does."""
    host = await hosts.host(node, **QUICK)
    webhook = await register(host, receiver.url, secret="a secret of the shop")
    checkout = await open_checkout(host, externalId="order 1")
    await node.pay(checkout["paymentHash"])
    (told,) = await receiver.until(1)
    mac = hmac.new(b"a secret of the shop", told.raw, hashlib.sha256).hexdigest()
    assert told.signature == f"sha256={mac}"
    assert told.body["type"] == "InvoiceSettled"
    assert (told.body["storeId"], told.body["invoiceId"]) == ("shop", checkout["id"])
    assert (told.body["amount"], told.body["externalId"]) == ("21000000", "order 1")
    assert (told.body["webhookId"], told.body["isRedelivery"]) == (webhook["id"], False)
    done = await until_status(host, webhook, "Delivered")
    assert (done["id"], done["attempts"], done["httpCode"]) == (told.body["deliveryId"], 1, 200)


async def test_payers_comment_is_told(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """What the payer of a Lightning address said reaches the merchant's server, also in BTCPay's metadata."""
    host = await hosts.host(node, public_url="https://shop.example", **QUICK)
    await register(host, receiver.url)
    path = "/lnurlp/shop/callback?amount=21000&comment=Thank%20you"
    await node.pay(decode((await host.get(path))[1]["pr"]).payment_hash)
    (told,) = await receiver.until(1)
    assert (told.body["comment"], told.body["metadata"]) == ("Thank you", {"comment": "Thank you"})


async def test_failures_are_tried_again(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """Hang-ups, errors and redirects are tried again with the same bytes; a redirect is not followed."""
    receiver.answers = [0, 500, 307]
    host = await hosts.host(node, **QUICK, database=hosts.sqlite())
    webhook = await register(host, receiver.url)
    await node.pay((await open_checkout(host))["paymentHash"])
    told = await receiver.until(4)
    assert len({each.raw for each in told}) == 1
    assert {each.path for each in told} == {"/hook"}
    assert (await until_status(host, webhook, "Delivered"))["attempts"] == 4


async def test_connections_are_kept(
    hosts: HostBench, node: FakeNode, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many payments are told over two connections; one that was closed meanwhile costs no attempt."""
    monkeypatch.setattr(sender, "_KEPT_SECONDS", 600.0)
    host = await hosts.host(node, **QUICK)
    webhook = await register(host, receiver.url)
    checkouts = [await open_checkout(host) for _ in range(11)]

    async def pay(paid: list[dict[str, Any]], count: int) -> None:
        for checkout in paid:
            await node.pay(checkout["paymentHash"])

        async def all_told() -> bool:
            return [(each["state"], each["attempts"]) for each in await deliveries(host, webhook)] == [
                ("Delivered", 1)
            ] * count

        await eventually(all_told)

    await pay(checkouts[:10], 10)
    assert len({each.peer for each in receiver.received}) <= 2
    receiver.answers = [0]  # it hangs up on what comes next, which comes over a kept connection
    await pay(checkouts[10:], 11)
    before, after = receiver.received[10:]
    assert (before.raw, before.signature) == (after.raw, after.signature)
    assert before.peer != after.peer


async def test_queue_outlives_the_host(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """What could not be told before a stop is told after the start, by whichever replica, under the same id."""
    receiver.answers = [503] * 2
    host = await hosts.host(node, webhook_private_addresses=True, webhook_first_pause=0.5)
    webhook = await register(host, receiver.url)
    await node.pay((await open_checkout(host))["paymentHash"])
    first = (await receiver.until(1))[0]

    async def noted() -> bool:
        return bool((await deliveries(host, webhook))[0]["attempts"])

    await eventually(noted)
    await host.stop()
    await hosts.host(node, **QUICK)
    told = await receiver.until(3)
    assert {each.body["deliveryId"] for each in told} == {first.body["deliveryId"]}


async def test_replicas_tell_once(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """Many replicas and repeated events, and each payment is told once."""
    replicas = [await hosts.host(node, **QUICK) for _ in range(3)]
    await register(replicas[0], receiver.url)
    checkouts = [await open_checkout(replicas[0]) for _ in range(5)]
    for checkout in checkouts:
        await node.pay(checkout["paymentHash"])
        node.settled.append(checkout["paymentHash"])
    await node.ring()
    told = await receiver.until(5)
    last = await open_checkout(replicas[1])
    await node.pay(last["paymentHash"])
    told = await receiver.until(6)
    expected = [checkout["id"] for checkout in (*checkouts, last)]
    assert sorted(each.body["invoiceId"] for each in told) == sorted(expected)


async def test_second_payment_is_told_as_such(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """A checkout that is paid once more is told as overpaid, under a type of its own; other invoices by their hash."""
    sign = node.signer.sign
    node.signer.sign = lambda **terms: sign(**{**terms, "expiry": timedelta(seconds=1)})  # type: ignore[method-assign]  # short-lived, for this test
    host = await hosts.host(node, **QUICK)
    await register(host, receiver.url)
    checkout = await open_checkout(host)

    async def renewed() -> bool:
        await host.get(f"/checkout/{checkout['id']}")
        return len(node.invoices) == 2

    await eventually(renewed)
    for payment_hash in [*node.invoices]:
        await node.pay(payment_hash)
    _, invoice = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    await node.pay(invoice["id"])
    told = {each.body["paymentHash"]: each.body for each in await receiver.until(3)}
    first, second, other = (told[payment_hash] for payment_hash in node.invoices)
    assert (first["type"], first["overPaid"], first["invoiceId"]) == ("InvoiceSettled", False, checkout["id"])
    assert (second["type"], second["overPaid"], second["invoiceId"]) == ("InvoicePaymentSettled", True, checkout["id"])
    assert (other["type"], other["purpose"], other["invoiceId"]) == ("InvoiceSettled", "greenfield", invoice["id"])


async def test_late_payments_are_told_as_such(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """`afterExpiration`, BTCPay's word, is true where the time of the order was over, or of an invoice without one."""
    host = await hosts.host(node, **QUICK)
    await register(host, receiver.url)
    expected: dict[str, bool] = {}
    for late in (False, True):
        at = datetime.now(UTC) + timedelta(days=2) if late else None
        checkout = await open_checkout(host)
        _, invoice = await host.greenfield("POST", "/invoices", {"amount": "1000"})
        for payment_hash in (checkout["paymentHash"], invoice["id"]):
            expected[payment_hash] = late
            await node.pay(payment_hash, at=at)
    told = await receiver.until(4)
    assert {each.body["paymentHash"]: each.body["afterExpiration"] for each in told} == expected


async def test_what_was_told_can_be_told_again(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """A delivery is shown and replayed through the API: a new id that names the original."""
    host = await hosts.host(node, **QUICK)
    webhook = await register(host, receiver.url)
    await node.pay((await open_checkout(host))["paymentHash"])
    (first,) = await receiver.until(1)
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries/{first.body['deliveryId']}"
    assert (await host.get(f"{path}/request", headers=KEY))[1] == first.body
    status, new_id = await host.request("POST", f"{path}/redeliver", headers=KEY)
    assert status == 200
    again = (await receiver.until(2))[1]
    assert again.body["deliveryId"] == new_id != first.body["deliveryId"]
    assert (again.body["originalDeliveryId"], again.body["isRedelivery"]) == (first.body["deliveryId"], True)
    assert (await host.get(path, headers=KEY))[1]["state"] == "Delivered"
    assert (await host.get(f"{WEBHOOKS}/{webhook['id']}/deliveries/none", headers=KEY))[0] == 404


async def test_receivers_do_not_wait_for_each_other(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """One that never answers holds up its own deliveries only, however many there are."""
    host = await hosts.host(node, **QUICK)
    async with Receiver.start() as mute:
        mute.never = asyncio.Event()
        silent = [await register(host, mute.url) for _ in range(3)]
        await register(host, receiver.url)
        for _ in range(30):
            await node.pay((await open_checkout(host))["paymentHash"])
        await receiver.until(30)
        assert len(mute.received) <= 2 * len(silent)
        mute.never.set()


async def test_no_automatic_redelivery_means_one_attempt(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """`automaticRedelivery: false` gives up after the first failure; the words are those that BTCPay's client reads."""
    receiver.answers = [500]
    host = await hosts.host(node, **QUICK)
    webhook = await register(host, receiver.url, automaticRedelivery=False)
    await node.pay((await open_checkout(host))["paymentHash"])
    last = await until_status(host, webhook, "GaveUp")
    assert (last["status"], last["httpCode"], last["attempts"]) == ("HttpError", 500, 1)
    assert last["deliveryTime"] > 0


async def test_official_client_manages_webhooks(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """It writes names with capitals at every depth, and reads, changes and deletes at an address without the store."""
    host = await hosts.host(node, **QUICK, stores={"bakery": OTHER})
    body = {"Url": receiver.url, "Secret": "x", "AuthorizedEvents": {"Everything": True, "SpecificEvents": []}}
    status, made = await host.request("POST", WEBHOOKS, json=body, headers=KEY)
    assert (status, made["authorizedEvents"]["everything"], made["secret"]) == (200, True, "x")
    path = f"/api/v1/webhooks/{made['id']}"
    assert (await host.get(path, headers=KEY))[1]["id"] == made["id"]
    specific = {"AuthorizedEvents": {"Everything": False, "SpecificEvents": ["InvoiceSettled", "PayoutCreated"]}}
    assert (await host.request("PUT", path, json=specific, headers=KEY))[0] == 200
    assert (await host.get(f"{path}/deliveries", headers=KEY)) == (200, [])
    strange = {"Authorization": "token key-of-the-bakery"}
    assert (await host.get(path, headers=strange))[0] == 404
    assert (await host.get(path))[0] == 401
    assert (await host.request("DELETE", path, headers=KEY))[0] == 200


async def test_dead_receiver_is_given_up(hosts: HostBench, node: FakeNode) -> None:
    """After the last attempt the delivery stays, as given up, and can be sent again."""
    host = await hosts.host(node, webhook_private_addresses=True, webhook_first_pause=0.000001)
    webhook = await register(host, "http://127.0.0.1:9/")
    await node.pay((await open_checkout(host))["paymentHash"])
    last = await until_status(host, webhook, "GaveUp")
    assert (last["attempts"], last["errorMessage"]) == (10, "can't be connected to")


@pytest.mark.parametrize("name", ["0x7f000001", "0x7f.0.0.0x1"])
async def test_names_that_lead_inwards(hosts: HostBench, node: FakeNode, receiver: Receiver, name: str) -> None:
    """A name that stands for a private address is refused when it is used: nothing is sent."""
    host = await hosts.host(node, webhook_first_pause=0.05)
    webhook = await register(host, receiver.url.replace("127.0.0.1", name))
    await node.pay((await open_checkout(host))["paymentHash"])

    async def failed() -> bool:
        return any(each["errorMessage"] for each in await deliveries(host, webhook))

    await eventually(failed)
    assert (await deliveries(host, webhook))[0]["errorMessage"] == "leads to a private address"
    assert receiver.received == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://0.0.0.0/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://user:pass@example.com/",
        "http://",
        "http://[bad/",
        "not a url",
        "http://example.com/\r\nX: y",
    ],
)
async def test_urls_that_are_refused(hosts: HostBench, node: FakeNode, url: str) -> None:
    """Private addresses and what is no plain web address can't be registered."""
    host = await hosts.host(node)
    status, problems = await host.request("POST", WEBHOOKS, json={"url": url}, headers=KEY)
    assert (status, problems[0]["path"]) == (422, "Url")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("2002:7f00:1::", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::101:101", True),
        ("2002:101:101::", True),
        ("2001:4860::8888", True),
        *((each, False) for each in SPECIAL.split()),
    ],
)
def test_public_addresses(address: str, *, public: bool) -> None:
    """Only addresses of the internet are public, also those in disguise."""
    assert is_public(address) is public


async def test_webhooks_are_managed(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """A webhook is listed without its secret, changed, switched off and removed; strangers see nothing of it."""
    host = await hosts.host(node, stores={"bakery": OTHER}, **QUICK)
    webhook = await register(host, receiver.url, authorizedEvents={"specificEvents": ["InvoicePaymentSettled"]})
    assert len(webhook.pop("secret")) >= 32
    assert (await host.get(WEBHOOKS, headers=KEY))[1] == [webhook]
    one = f"{WEBHOOKS}/{webhook['id']}"
    assert (await host.get(one, headers=KEY))[1] == webhook
    changes = {"enabled": False, "authorizedEvents": {"everything": True}, "secret": "another secret"}
    _, changed = await host.request("PUT", one, json=changes, headers=KEY)
    assert (changed["enabled"], changed["authorizedEvents"]["everything"]) == (False, True)
    bakery = {"Authorization": "token key-of-the-bakery"}
    assert (await host.get(one, headers=bakery))[0] == 403
    assert (await host.get(f"/api/v1/stores/bakery/webhooks/{webhook['id']}", headers=bakery))[0] == 404
    assert (await host.get(one))[0] == 401
    assert (await host.request("DELETE", one, headers=KEY))[0] == 200
    assert (await host.get(one, headers=KEY))[0] == 404


async def test_only_what_was_asked_for_is_told(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """Webhooks that are off, or want other events, are told nothing."""
    host = await hosts.host(node, **QUICK)
    off = await register(host, receiver.url, enabled=False)
    other = await register(host, receiver.url, authorizedEvents={"specificEvents": ["InvoicePaymentSettled"]})
    await register(host, f"{receiver.url}/all")
    await node.pay((await open_checkout(host))["paymentHash"])
    (told,) = await receiver.until(1)
    assert told.path == "/hook/all"
    assert await deliveries(host, off) == await deliveries(host, other) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"secret": ""}, "Secret"),
        ({"secret": 5}, "Secret"),
        ({"enabled": "maybe"}, "Enabled"),
        ({"authorizedEvents": []}, "AuthorizedEvents"),
        ({"authorizedEvents": {"specificEvents": ["Unknown"]}}, "AuthorizedEvents"),
        ({"authorizedEvents": {"specificEvents": "x"}}, "AuthorizedEvents"),
        ({"authorizedEvents": {}}, "AuthorizedEvents"),
        ({"authorisedEvents": {"everything": True}}, "AuthorisedEvents"),
    ],
)
async def test_fields_that_are_refused(hosts: HostBench, node: FakeNode, fields: dict[str, Any], field: str) -> None:
    """What is wrong with a webhook is named."""
    host = await hosts.host(node)
    body = {"url": "https://shop.example/hook", **fields}
    status, problems = await host.request("POST", WEBHOOKS, json=body, headers=KEY)
    assert (status, problems[0]["path"]) == (422, field)


async def test_number_of_webhooks_is_bounded(hosts: HostBench, node: FakeNode) -> None:
    """A store can't have webhooks without end."""
    host = await hosts.host(node)
    for number in range(20):
        await register(host, f"https://shop.example/{number}")
    status, problem = await host.request("POST", WEBHOOKS, json={"url": "https://shop.example/"}, headers=KEY)
    assert (status, problem["code"]) == (400, "too-many-webhooks")


def test_pauses_grow() -> None:
    """The pauses between attempts grow and stay within hours: a receiver may be away for a day."""
    assert pauses(10)[:4] == [10, 60, 360, 2160]
    assert max(pauses(10)) == 6 * 3600
    assert 24 * 3600 < sum(pauses(10)) < 48 * 3600
