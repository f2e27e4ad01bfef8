"""What operators and shops are told of payments with cards: metrics by outcome, and a webhook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connection_strings import PayResult
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import KEY
from tests.support.receiver import Receiver
from tests.support.terminals import FLASHCARD_KEY, Terminal, funded_card

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

PREFIX = "lightning_host_flashcard_payments"
WEBHOOKS = "/api/v1/stores/shop/webhooks"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a server that webhooks are sent to."""
    async with Receiver.start() as receiver:
        yield receiver


async def counted(host: RunningHost) -> dict[tuple[str, ...], float]:
    """Return the metrics of payments with cards, by name, outcome and store."""
    _, text = await host.get("/metrics")
    return {
        (sample.name.removeprefix(PREFIX), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    }


async def test_each_payment_is_counted_and_told(hosts: HostBench, node: FakeNode, receiver: Receiver) -> None:
    """Paid, failed and unknown are counted apart, with their millisatoshi; a webhook hears of what was paid alone."""
    host = await hosts.host(node, flashcard_key=FLASHCARD_KEY, webhook_private_addresses=True, webhook_first_pause=0.05)
    receiver.answers = [500]
    hook = {"url": receiver.url, "authorizedEvents": {"specificEvents": ["FlashcardSpent"]}}
    assert (await host.request("POST", WEBHOOKS, json=hook, headers=KEY))[0] == 200
    card, chip = await funded_card(host, node, 10_000)
    terminal = Terminal(host)

    async def charge(sat: int) -> str:
        signed = node.signer.sign(msat=sat * 1_000, description="", now=datetime.now(UTC), expiry=timedelta(hours=1))
        await terminal.charge(await terminal.read(chip.tap()), signed.payment_request)
        return str(signed.payment_hash)

    payment_hash = await charge(1_000)
    first, again = await receiver.until(2)
    assert first.body == again.body
    assert {**first.body, "timestamp": 0, "deliveryId": "", "originalDeliveryId": "", "webhookId": ""} == {
        "type": "FlashcardSpent",
        "timestamp": 0,
        "storeId": "shop",
        "flashcardId": card["id"],
        "paymentHash": payment_hash,
        "amount": "1000000",
        "charged": "1001500",
        "deliveryId": "",
        "webhookId": "",
        "originalDeliveryId": "",
        "isRedelivery": False,
    }
    for sat, result in ((2_000, PayResult.COULD_NOT_FIND_ROUTE), (3_000, PayResult.UNKNOWN)):
        node.pay_result = result
        await charge(sat)

    async def all_counted() -> bool:
        return len(await counted(host)) == 6

    await eventually(all_counted)
    assert await counted(host) == {
        ("_total", "paid", "shop"): 1,
        ("_msat_total", "paid", "shop"): 1_001_500,
        ("_total", "failed", "shop"): 1,
        ("_msat_total", "failed", "shop"): 2_000_000,
        ("_unknown", "shop"): 1,
        ("_unknown_msat", "shop"): 3_000_000,
    }
    assert len(receiver.received) == 2
