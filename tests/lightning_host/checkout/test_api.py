from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import BackendUnavailable
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import CHECKOUTS, KEY, open_checkout

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

OTHER = {"connection_string": "type=fake;node=other", "api_keys": ["key-of-the-bakery"]}


async def test_checkout_is_opened_found_and_listed(hosts: HostBench, node: FakeNode) -> None:
    """What is opened is told the same when it is looked up or listed, newest first."""
    host = await hosts.host(node)
    first = await open_checkout(host, "1000", description="one", externalId="order 1")
    second = await open_checkout(host, "2500", expirySeconds=60)
    assert first["amount"] == "1000"
    assert (first["status"], first["externalId"], first["invoices"]) == ("New", "order 1", 1)
    assert second["expiresAt"] - second["createdAt"] == 60
    status, found = await host.get(f"{CHECKOUTS}/{first['id']}", headers=KEY)
    assert (status, found) == (200, first)
    _, listed = await host.get(CHECKOUTS, headers=KEY)
    assert {each["id"] for each in listed} == {first["id"], second["id"]}
    _, page = await host.get(f"{CHECKOUTS}?skip=1&take=1", headers=KEY)
    assert page == listed[1:]
    assert node.invoices[first["paymentHash"]].bolt11 == first["BOLT11"]


async def test_settled_checkout_tells_what_came(hosts: HostBench, node: FakeNode) -> None:
    """Once paid it says so, with amount, time and payment hash; nothing of it was late or too much."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    await node.pay(checkout["paymentHash"])

    async def settled() -> bool:
        return bool((await host.get(f"{CHECKOUTS}/{checkout['id']}", headers=KEY))[1]["status"] == "Settled")

    await eventually(settled)
    _, told = await host.get(f"{CHECKOUTS}/{checkout['id']}", headers=KEY)
    assert (told["amountReceived"], told["overpaid"], told["paidLate"]) == ("21000000", "0", False)
    assert told["paymentHash"] == checkout["paymentHash"]
    assert told["paidAt"] is not None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"amount": "1e9"}, "amount"),
        ({"amount": "९"}, "amount"),
        ({"amount": "9" * 25}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": ["1"]}, "amount"),
        ({"amount": "1000", "expirySeconds": 0}, "expirySeconds"),
        ({"amount": "1000", "expirySeconds": 10**9}, "expirySeconds"),
        ({"amount": "1000", "description": "x" * 501}, "description"),
        ({"amount": "1000", "description": "\ud800"}, "description"),
        ({"amount": "1000", "description": 5}, "description"),
        ({"amount": "1000", "redirectUrl": "javascript:alert(1)"}, "redirectUrl"),
        ({"amount": "1000", "redirectUrl": "data:text/html,x"}, "redirectUrl"),
        ({"amount": "1000", "redirectUrl": "https://"}, "redirectUrl"),
        ({"amount": "1000", "redirectUrl": "https://user@shop.example/"}, "redirectUrl"),
        ({"amount": "1000", "redirectUrl": "//shop.example"}, "redirectUrl"),
        ({"amount": "1000", "redirectUrl": "https://shop.example/\r\nSet-Cookie: x=1"}, "redirectUrl"),
        ({"amount": "1000", "redirectUrl": "http://[::1"}, "redirectUrl"),
        ({"amount": "1000", "expirySecond": 60}, "expirySecond"),
    ],
)
async def test_bad_fields_are_named(hosts: HostBench, node: FakeNode, body: Any, field: str) -> None:
    """Whatever is wrong with a field, the answer is 422 and names it; nothing is opened."""
    host = await hosts.host(node)
    status, problems = await host.request("POST", CHECKOUTS, json=body, headers=KEY)
    assert status == 422, problems
    assert [problem["path"] for problem in problems] == [field]
    assert node.created == []


async def test_bad_bodies(hosts: HostBench, node: FakeNode) -> None:
    """What is no JSON object is refused, and so is a body that is too large."""
    host = await hosts.host(node)
    for body, expected in (("no json", 400), ("[]", 400), ("[" * 60_000, 400), ("x" * 100_000, 413)):
        status, problem = await host.request("POST", CHECKOUTS, data=body, headers=KEY)
        assert status == expected
        assert "Traceback" not in str(problem)


async def test_only_keys_of_the_store_open_it(hosts: HostBench, node: FakeNode) -> None:
    """Without a key 401, with another store's 403; another store's checkout is unknown."""
    host = await hosts.host(node, stores={"bakery": OTHER})
    checkout = await open_checkout(host)
    bakery = {"Authorization": "token key-of-the-bakery"}
    for headers, expected in (
        ({}, 401),
        ({"Authorization": "token no"}, 401),
        ({"Authorization": "x"}, 401),
        (bakery, 403),
    ):
        assert (await host.get(CHECKOUTS, headers=headers))[0] == expected
        assert (await host.get(f"{CHECKOUTS}/{checkout['id']}", headers=headers))[0] == expected
        assert (await host.request("POST", CHECKOUTS, json={"amount": "1"}, headers=headers))[0] == expected
    assert (await host.get(f"/api/v1/stores/bakery/checkouts/{checkout['id']}", headers=bakery))[0] == 404
    assert (await host.get(f"{CHECKOUTS}/unknown", headers=KEY))[0] == 404


@pytest.mark.parametrize("query", ["skip=-1", "take=101", "take=x", "skip=९", f"skip={'9' * 30}"])
async def test_bad_pages(hosts: HostBench, node: FakeNode, query: str) -> None:
    """A page of a list that can't be is refused."""
    host = await hosts.host(node)
    assert (await host.get(f"{CHECKOUTS}?{query}", headers=KEY))[0] == 422


async def test_wallet_that_makes_no_invoice(hosts: HostBench, node: FakeNode) -> None:
    """A wallet that can't be reached is told as 503 when the checkout is opened, not later to the customer."""
    host = await hosts.host(node)
    node.broken = BackendUnavailable("creating", {"http": "down"})
    status, problem = await host.request("POST", CHECKOUTS, json={"amount": "1000"}, headers=KEY)
    assert (status, problem["code"]) == (503, "lightning-node-unavailable")


async def test_checkout_without_an_invoice_leaves_nothing(hosts: HostBench, node: FakeNode) -> None:
    """When the wallet makes no first invoice, no checkout is there: a shop that tries again has one, not two."""
    host = await hosts.host(node)
    node.broken = BackendUnavailable("creating", {"http": "down"})
    status, _ = await host.request("POST", CHECKOUTS, json={"amount": "1000", "externalId": "7"}, headers=KEY)
    assert status == 503
    node.broken = None
    await open_checkout(host, "1000", externalId="7")
    _, listed = await host.get(CHECKOUTS, headers=KEY)
    assert [(each["externalId"], each["BOLT11"] is not None) for each in listed] == [("7", True)]


async def test_once_opens_one_checkout_per_order(hosts: HostBench, node: FakeNode) -> None:
    """Asked for `once`, an order has one checkout however often and at however many replicas it is opened."""
    one, two = await hosts.host(node), await hosts.host(node)
    opened = await asyncio.gather(
        *(open_checkout(host, "1000", externalId="7", once=True) for host in (one, two) for _ in range(5))
    )
    assert len({each["id"] for each in opened}) == 1
    assert opened[0] == await open_checkout(one, "1000", externalId="7", once=True)
    assert (await open_checkout(one, "1000", externalId="7"))["id"] != opened[0]["id"]
    body = {"amount": "2000", "externalId": "7", "once": True}
    status, problem = await one.request("POST", CHECKOUTS, json=body, headers=KEY)
    assert (status, problem["code"]) == (409, "external-id-used")
    status, problem = await one.request("POST", CHECKOUTS, json={"amount": "2000", "once": True}, headers=KEY)
    assert (status, problem[0]["path"]) == (422, "externalId")
