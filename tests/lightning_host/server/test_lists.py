"""Lists of the API, part by part: by key, where nothing that is made meanwhile moves what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import Secret
from lightning_host.checkout.table import checkouts_table
from lightning_host.database import Database, metadata, now_ms
from lightning_host.flashcards.table import host_flashcards
from lightning_host.flashcards.taps import taps_table
from lightning_host.webhooks.records import deliveries
from tests.support.checkouts import KEY

if TYPE_CHECKING:
    from sqlalchemy import Table

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench

STORE = "/api/v1/stores/shop"


def rows(number: int, webhook: str, began: int) -> dict[Table, dict[str, Any]]:
    """Return a row of each list; three at a time are made in the same millisecond."""
    name, time = f"{number:032x}", began + number // 3
    return {
        checkouts_table: {
            "id": name,
            "store": "shop",
            "amount_msat": 1_000,
            "description": "",
            "created_at": time,
            "expires_at": time,
            "invoices": 1,
            "renew_after": time,
            "received_msat": 0,
            "overpaid_msat": 0,
        },
        host_flashcards: {
            "id": name,
            "store": "shop",
            "address": name[16:],
            "name": "",
            "balance_msat": 0,
            "created_at": time,
        },
        deliveries: {
            "id": name,
            "webhook": webhook,
            "body": "{}",
            "status": "Delivered",
            "attempts": 1,
            "due_at": time,
            "created_at": time,
        },
    }


def rows_of_card(number: int, began: int) -> dict[Table, dict[str, Any]]:
    """Return a payment to the card and one with it; three taps at a time are of the same millisecond."""
    name, time = f"{number:064x}", began + number // 3
    return {
        metadata.tables["host_flashcard_top_ups"]: {
            "store": "shop",
            "payment_hash": name,
            "card": f"{1:032x}",
            "number": 1_000 + number,
            "way": "lnurl",
            "comment": "",
            "amount_msat": 1_000,
            "paid_at": began,
        },
        taps_table: {
            "code_digest": name,
            "store": "shop",
            "card": f"{1:032x}",
            "chip": "a chip",
            "status": "failed",
            "expires_at": time,
            "payment_hash": "ab" * 32,
            "amount_msat": 1_000,
            "reserved_msat": 21_000,
            "reserved_at": time,
            "ended_at": time,
        },
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_parts_by_key(hosts: HostBench, node: FakeNode, request: pytest.FixtureRequest, kind: str) -> None:
    """`before` goes back and `after` forward without a gap, newest first in each part; `skip` still counts."""
    url = hosts.sqlite() if kind == "sqlite" else request.getfixturevalue("postgres").new_database()
    host = await hosts.host(node, database=url)
    hook = {"url": "https://shop.example/hook", "enabled": False}
    _, webhook = await host.request("POST", f"{STORE}/webhooks", json=hook, headers=KEY)
    opened = await Database.open(Secret(url))
    began = now_ms()
    for number in range(10):
        for table, row in rows(number, webhook["id"], began).items():
            await opened.add(table, row)
    for number in range(10):
        for table, row in rows_of_card(number, began).items():
            await opened.add(table, row)
    another = {"card": f"{2:032x}", "payment_hash": f"{11:064x}", "code_digest": f"{11:064x}"}
    for table, row in rows_of_card(11, began).items():
        await opened.add(table, {name: another.get(name, value) for name, value in row.items()})
    card = f"/flashcards/{1:032x}"
    for path, key, digits in (
        ("/checkouts", "id", 32),
        ("/flashcards", "id", 32),
        (f"/webhooks/{webhook['id']}/deliveries", "id", 32),
        (f"{card}/history", "paymentHash", 64),
        (f"{card}/payments", "id", 64),
    ):
        newest = [f"{number:0{digits}x}" for number in reversed(range(10))]

        async def ask(path: str = path, key: str = key, **query: object) -> tuple[int, Any]:
            words = "&".join(f"{name}={value}" for name, value in query.items())
            status, told = await host.get(f"{STORE}{path}?{words}", headers=KEY)
            return status, [each[key] for each in told] if status == 200 else told

        assert await ask() == (200, newest)
        for place, name in enumerate(newest):
            assert await ask(before=name, skip=0, take=4) == (200, newest[place + 1 :][:4]), path
            assert await ask(after=name, take=4) == (200, newest[:place][-4:]), path
            assert await ask(skip=place, take=4) == (200, newest[place:][:4]), path
        for wrong in (
            {"before": "nobody"},
            {"after": f"{11:0{digits}x}"},
            {"after": "%00"},
            {"before": newest[0], "after": newest[1]},
        ):
            status, told = await ask(**wrong)
            assert (status, told[0]["path"].lower()) == (422, next(iter(wrong))), told
        assert (await ask(before=newest[0], skip=1))[0] == 422
    await opened.aclose()
