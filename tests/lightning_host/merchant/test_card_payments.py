"""What was paid with cards, on the merchant's page: money that left, apart from takings."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert

from connection_strings import Secret
from lightning_host.database import Database, now_ms
from lightning_host.flashcards.taps import TapStatus, taps_table
from tests.lightning_host.hosts import eventually
from tests.lightning_host.merchant.merchant import logged_in, zone_at_noon
from tests.support.terminals import FLASHCARD_KEY, Terminal, card_api, funded_card, make_card

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench


async def test_what_cards_paid_stands_apart_from_takings(hosts: HostBench, node: FakeNode, database: str) -> None:
    """A payment with a card is listed with its fee; takings stay what came in, and tell it beside them."""
    host = await hosts.host(node, database=database, flashcard_key=FLASHCARD_KEY, time_zone=zone_at_noon())
    card, chip = await funded_card(host, node, 10_000)
    signed = node.signer.sign(msat=1_000_000, description="", now=datetime.now(UTC), expiry=timedelta(hours=1))
    terminal = Terminal(host)
    assert (await terminal.charge(await terminal.read(chip.tap()), signed.payment_request))["status"] == "OK"

    async def booked() -> bool:
        return [each["status"] for each in await card_api(host, card, "GET", "/payments")] == ["paid"]

    await eventually(booked)
    async with logged_in(host) as merchant:
        _, page = await merchant.get("/merchant/shop")
        for block in page[page.index('class="takings"') : page.index("</section>")].split("<h2>")[1:]:
            assert "10,000" in block
            assert "1 payment<" in block
            assert "Paid with cards: 1,001.500&nbsp;sat" in block
        _, page = await merchant.get("/merchant/shop/cards/payments")
        assert f'href="/flashcards/{card["id"]}"' in page
        assert "&minus;1,001.500&nbsp;sat" in page
        assert "fee 1.500&nbsp;sat" in page
        _, listed = await merchant.get("/merchant/shop/payments.csv", month=f"{datetime.now(UTC):%Y-%m}")
        assert re.findall("[0-9a-f]{64}", page)[0] not in listed


async def test_list_has_every_payment_once(hosts: HostBench, node: FakeNode, database: str) -> None:
    """Page by page each payment that was made is shown once, newest first; open, failed and others' are not."""
    host = await hosts.host(node, database=database)
    card, now = await make_card(host, "<Ada>"), now_ms()
    row = {"card": card["id"], "chip": "", "store": "shop", "status": TapStatus.PAID, "expires_at": now}
    row |= {"amount_msat": 1_000, "reserved_msat": 2_000, "charged_msat": 1_000, "ended_at": now, "reserved_at": now}
    rows = [
        # Three at a time end in the same millisecond.
        {**row, "code_digest": f"{n:064x}", "payment_hash": f"{n:064x}", "ended_at": now + n // 3}
        for n in range(60)
    ]
    hidden = [
        ("shop", TapStatus.OPEN),
        ("shop", TapStatus.PAYING),
        ("shop", TapStatus.FAILED),
        ("cafe", TapStatus.PAID),
    ]
    for n, (store, status) in enumerate(hidden, 100):
        rows.append({**row, "code_digest": f"{n:064x}", "payment_hash": f"{n:064x}", "store": store, "status": status})
    opened = await Database.open(Secret(database))
    await opened.write(lambda connection: connection.execute(insert(taps_table), rows))
    await opened.aclose()
    async with logged_in(host) as merchant:
        seen: list[str] = []
        query: dict[str, str] = {}
        for _ in range(2):
            _, page = await merchant.get("/merchant/shop/cards/payments", **query)
            seen += re.findall('mono words">([0-9a-f]{64})<', page)
            older = re.search(r"payments\?before=([0-9a-f]{64})", page)
            query = {} if older is None else {"before": older[1]}
        assert seen == [f"{n:064x}" for n in reversed(range(60))]
        assert "&lt;Ada&gt;" in page
        for n in (101, 102, 103, 999):
            assert (await merchant.get("/merchant/shop/cards/payments", before=f"{n:064x}"))[0] == 404
