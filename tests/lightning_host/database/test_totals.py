"""Sums for the metrics count what is in the tables, whichever version of the host has written it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connection_strings import LightMoney
from lightning_host.database import Database, metadata, now_ms
from lightning_host.flashcards.totals import card_totals
from lightning_host.settlements.ledger import SettlementLedger
from tests.lightning_host.fake_driver import paid_invoice

if TYPE_CHECKING:
    import pytest

    from connection_strings import Secret

HOUR_MS = 3_600_000


def a_settlement(number: int, purpose: str) -> dict[str, Any]:
    """Return the row of a settlement, as any version of the host writes it."""
    return {
        "store": "shop",
        "payment_hash": f"{number:064x}",
        "number": number,
        "purpose": purpose,
        "subject": "",
        "amount_msat": number * 1_000,
        "paid_at": 1,
        "recorded_at": 1,
    }


def a_tap(number: int, status: str, ended_at: int) -> dict[str, Any]:
    """Return the row of a tap, as any version of the host writes it."""
    return {
        "code_digest": f"{number:064x}",
        "store": "shop",
        "card": "a card",
        "chip": "a chip",
        "status": status,
        "expires_at": ended_at,
        "amount_msat": 1_000,
        "charged_msat": 1_001 if status == "paid" else None,
        "ended_at": ended_at,
    }


async def test_settlements_are_added_up_once(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each settlement counts once, whichever replica is asked and however much came since; gaps of numbers are no end.

    An amount that is told later counts, too, whether the settlement was added before or not.
    """
    monkeypatch.setattr("lightning_host.settlements.ledger._ADDED_AT_ONCE", 3)
    settlements = metadata.tables["host_settlements"]
    async with aclosing(await Database.open(url)) as one, aclosing(await Database.open(url)) as other:
        ledgers = [SettlementLedger(database) for database in (one, other)]
        assert await ledgers[0].totals() == {}
        for number in range(1, 9):
            await one.add(settlements, a_settlement(number, "lnurl" if number % 2 else "checkout"))
        expected = {("shop", "lnurl"): (4, 16_000), ("shop", "checkout"): (4, 20_000)}
        assert await asyncio.gather(*(ledger.totals() for ledger in ledgers * 2)) == [expected] * 4
        await other.add(settlements, a_settlement(100, "lnurl"))
        await other.add(settlements, a_settlement(101, "address") | {"amount_msat": 0})
        await _tell_amount(ledgers[1], 101, 5_000)
        expected |= {("shop", "lnurl"): (5, 116_000), ("shop", "address"): (1, 5_000)}
        assert await ledgers[0].totals() == expected
        await other.add(settlements, a_settlement(102, "address") | {"amount_msat": 0})
        assert await ledgers[0].totals() == expected | {("shop", "address"): (2, 5_000)}
        await _tell_amount(ledgers[1], 102, 7_000)
        assert await ledgers[0].totals() == expected | {("shop", "address"): (2, 12_000)}


async def _tell_amount(ledger: SettlementLedger, number: int, msat: int) -> None:
    """Add to a settlement, twice, what the wallet told only later."""
    settlement = await ledger.find("shop", f"{number:064x}")
    assert settlement is not None
    told = replace(paid_invoice(settlement.payment_hash), amount=None, amount_received=LightMoney.from_msat(msat))
    for _ in range(2):
        await ledger.complete(settlement, told)


async def test_payments_with_cards_are_added_up_once(url: Secret) -> None:
    """What ended long ago is kept as a sum, what ended of late is counted, also by a clock that is minutes behind."""
    taps, sums, now = metadata.tables["host_flashcard_taps"], metadata.tables["host_flashcard_sums"], now_ms()

    async def told(database: Database) -> dict[str, tuple[int, int]]:
        return {each.outcome: (each.payments, each.amount.msat) for each in await card_totals(database, ["shop"])}

    async with aclosing(await Database.open(url)) as one, aclosing(await Database.open(url)) as other:
        ended = [now - 900 * HOUR_MS, now - 2 * HOUR_MS, now - HOUR_MS // 2, now]
        for number, time in enumerate(ended):
            await one.add(taps, a_tap(number, "paid", time))
        await one.add(taps, a_tap(10, "failed", now))
        for database in (one, other, one):
            assert await told(database) == {"paid": (4, 4_004), "failed": (1, 1_000)}
        kept = await one.read(lambda connection: connection.execute(sums.select().order_by(sums.c.outcome)).all())
        assert [(row.outcome, row.payments) for row in kept] == [("failed", 0), ("paid", 2)]
        await other.add(taps, a_tap(11, "paid", now - HOUR_MS // 3))
        assert await told(one) == {"paid": (5, 5_005), "failed": (1, 1_000)}
