"""The ledger of what leaves cards: random steps side by side, by two replicas, on both databases."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from connection_strings import LightMoney, Secret
from lightning_host.credentials import digest_of
from lightning_host.database import Database
from lightning_host.flashcards.chips import ChipTable
from lightning_host.flashcards.keys import Seal
from lightning_host.flashcards.limits import LimitsTable
from lightning_host.flashcards.sun import Sun
from lightning_host.flashcards.table import FlashcardTable, host_flashcards
from lightning_host.flashcards.taps import (
    DeclinedError,
    TapStatus,
    TapTable,
    TerminalInvoice,
    fee_limit,
    most_payable,
)
from lightning_host.flashcards.totals import card_totals
from lightning_host.webhooks.table import WebhookTable

if TYPE_CHECKING:
    from tests.lightning_host.hosts import HostBench

UID = "04996c6a926980"
DAY_MSAT = 300_000_000


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("seed", [1])
async def test_the_ledger_adds_up(hosts: HostBench, request: pytest.FixtureRequest, kind: str, seed: int) -> None:
    """At every moment the balance is what came less what was charged and is reserved; no limit is ever passed.

    What is counted and told of payments is the same money, each once.
    """
    url = hosts.sqlite() if kind == "sqlite" else request.getfixturevalue("postgres").new_database()
    databases = [await Database.open(Secret(url)) for _ in range(2)]
    rows, chips = FlashcardTable(databases[0]), ChipTable(databases[0])
    card = await rows.add("shop", "Ada")
    chip = await chips.add(card.id, Seal(Secret("a-key-that-seals-cards")))
    await LimitsTable(databases[0]).change(card.id, {"per_day_msat": DAY_MSAT})
    hooks = WebhookTable(databases[0])
    webhook = await hooks.add("shop", "https://shop.example/hook", Secret("a secret"), (), enabled=True)
    choose, counters, came = random.Random(seed), iter(range(1, 1_000)), 0  # noqa: S311 - no secret, but a schedule

    async def top_up(msat: int) -> None:
        nonlocal came
        more = update(host_flashcards).values(balance_msat=host_flashcards.c.balance_msat + msat)
        await choose.choice(databases).write(lambda connection: connection.execute(more))
        came += msat

    async def tap() -> None:
        taps = TapTable(choose.choice(databases))
        invoice = TerminalInvoice("lnbc1", choose.choice("abcdefgh") * 64, LightMoney(choose.randrange(1, 90_000_000)))
        try:
            opened = await taps.open("shop", chip, Sun(UID, next(counters)))
            found = await taps.find(digest_of(opened.code.reveal()))
            assert found is not None
            made = [TapTable(each).reserve(found, invoice) for each in databases]
            reserved = await asyncio.gather(*made, return_exceptions=True)
        except DeclinedError:
            return  # a later counter was faster, or the card is empty
        assert all(isinstance(each, bool | DeclinedError) for each in reserved)
        assert reserved.count(True) <= 1
        paying = await taps.find(found.code_digest)
        if paying is None or True not in reserved or choose.random() < 0.2:
            return  # the last of these: it stays open
        cost = invoice.amount + LightMoney(choose.randrange(50_000_000))
        paid = choose.random() < 0.6
        ends = [
            taps.book(paying, cost) if paid else taps.give_back(paying, "failed") for taps in map(TapTable, databases)
        ]
        assert sorted(await asyncio.gather(*ends)) == [False, True]

    for _ in range(6):
        await asyncio.gather(top_up(choose.randrange(100_000_000)), *(tap() for _ in range(6)))
        payments = await TapTable(databases[1]).payments(card.id, limit=1_000)
        charged = sum(each.charged.msat for each in payments if each.charged is not None)
        reserved, spent = await TapTable(databases[1]).sums(card.id)
        balance = (await databases[1].read(lambda connection: connection.execute(select(host_flashcards)).one()))[4]
        assert balance == came - charged - reserved.msat
        assert (balance >= 0, spent.msat <= DAY_MSAT) == (True, True)
        hashes = [each.payment_hash for each in payments]
        assert len(hashes) == len(set(hashes))
        assert all(each.status is TapStatus.PAYING or each.charged is not None for each in payments)
        totals = {each.outcome: (each.payments, each.amount.msat) for each in await card_totals(databases[1], ["shop"])}
        paid = [each.payment_hash for each in payments if each.charged is not None]
        assert totals.get("paid", (0, 0)) == (len(paid), charged)
        told = [json.loads(each.body) for each in await hooks.deliveries(webhook, limit=1_000)]
        assert sorted(each["paymentHash"] for each in told) == sorted(map(str, paid))
        assert sum(int(each["charged"]) for each in told) == charged
    for database in databases:
        await database.aclose()


def test_what_a_balance_covers() -> None:
    """The most that can be paid leaves the fee limit, and not a millisatoshi more than need be."""
    for msat in (*range(25_000), 1_999_999, 2_020_000, 2_020_101, 123_456_789, 10**14):
        balance, most = LightMoney(msat), most_payable(LightMoney(msat))
        if most:
            assert most + fee_limit(most) <= balance < most + LightMoney(1) + fee_limit(most + LightMoney(1))
        else:
            assert balance < LightMoney(1) + fee_limit(LightMoney(1))
