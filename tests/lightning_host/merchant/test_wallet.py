from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from connection_strings import CredentialRejected, PayResult, RateLimited
from tests.lightning_host.hosts import eventually
from tests.lightning_host.merchant.merchant import READ_KEY, logged_in, sold
from tests.support.checkouts import KEY, open_checkout, token_in
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench
    from tests.support.driver import Bench


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a server to send to."""
    async with Receiver.start() as started:
        yield started


async def test_wallet_that_is_well(hosts: HostBench, bench: Bench) -> None:
    """In front of a real driver the page tells since when payments are heard, and that nothing is unknown."""
    host = await hosts.host(await bench.sandbox())
    await open_checkout(host)
    async with logged_in(host) as merchant:
        _, page = await merchant.get("/merchant/shop/wallet")
        for words in (
            "Heard of without a break since <time",
            "has not refused",
            "Answered last at <time",
            "1 invoice made in the last two minutes",
            "1 invoice not paid yet",
            "None of which it is unknown",
        ):
            assert words in page, words
        assert "poor" not in page
        assert 'class="notice"' not in (await merchant.get("/merchant/shop"))[1]


async def test_trouble_is_told_with_advice(hosts: HostBench, node: FakeNode) -> None:
    """A dead token, a block and unknown payments each come with what to do, also on the first page."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    node.pay_result = PayResult.UNKNOWN
    await host.greenfield("POST", "/invoices/pay", {"BOLT11": checkout["BOLT11"]})
    node.broken = RateLimited("too many invoices", retry_after=timedelta(minutes=5), blocked=True)
    await host.greenfield("POST", "/invoices", {"amount": "1000"})
    node.broken = None
    async with logged_in(host) as merchant:
        _, page = await merchant.get("/merchant/shop/wallet")
        assert "1 payment of which nobody knows how it ended" in page
        assert "do not pay again" in page
        assert "No invoice can be made until then" in page
        node.broken = CredentialRejected("the token is dead")
        await node.ring()

        async def told() -> bool:
            return "The wallet refuses the store" in (await merchant.get("/merchant/shop"))[1]

        await eventually(told)
        _, page = await merchant.get("/merchant/shop/wallet")
        assert "Log in to the wallet again" in page
        assert "CredentialRejected: the token is dead" in page


async def test_what_was_told_can_be_sent_again(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """Deliveries are shown to all who log in; who may change webhooks sends one again, who may not is refused."""
    host = await hosts.host(node, webhook_private_addresses=True, webhook_first_pause=0.05, read_key=READ_KEY)
    hook = {"url": f"{receiver.url}?secret-of-the-receiver"}
    _, webhook = await host.request("POST", "/api/v1/stores/shop/webhooks", json=hook, headers=KEY)
    await sold(host, node, externalId="order 1")
    await receiver.until(1)
    page_path = f"/merchant/shop/webhooks/{webhook['id']}"
    async with logged_in(host, READ_KEY, changes=True) as reader, logged_in(host) as careful:
        for merchant in (reader, careful):
            for path in (page_path, "/merchant/shop/webhooks"):
                _, page = await merchant.get(path)
                assert "secret-of-the-receiver" not in page
            _, page = await merchant.get(page_path)
            assert "InvoiceSettled: 21,000\N{NO-BREAK SPACE}sat, order 1" in page
            assert "Send again" not in page
    async with logged_in(host, changes=True) as merchant:
        _, page = await merchant.get(page_path)
        assert "secret-of-the-receiver" in page
        again = re.search(rf'action="({page_path}/deliveries/[0-9a-f]+/again)"', page)
        assert again is not None
        token = token_in(page)
        assert (await merchant.post(again[1], form_token="0" * 64))[0] == 403
        assert await merchant.post(again[1], form_token=token) == (303, page_path)
        first, second = await receiver.until(2)
        assert (second.body["isRedelivery"], second.body["invoiceId"]) == (True, first.body["invoiceId"])
        unknown = f"{page_path}/deliveries/{'0' * 32}/again"
        assert (await merchant.post(unknown, form_token=token))[0] == 404
    async with logged_in(host) as reader:
        _, page = await reader.get(page_path)
        assert (await reader.post(again[1], form_token=token_in(page)))[0] == 403
    assert len(receiver.received) == 2
