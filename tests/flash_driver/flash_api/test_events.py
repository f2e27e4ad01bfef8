from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from flash_driver.flash_api.events import Announcement, read_event
from flash_driver.flash_api.replies import PriceTick

HASH = "AB" * 32
LOWER = HASH.lower()


TICK = {"timestamp": 1_790_000_000, "btcSatPrice": {"base": 97531860000, "offset": 12}}
PRICE = PriceTick(Decimal("0.097531860000"), datetime.fromtimestamp(1_790_000_000, UTC))


def said_paid(wallet_id: str | None) -> Announcement:
    """Return what a settlement is read as."""
    return Announcement(LOWER, paid=True, wallet_id=wallet_id)


def event(**update: Any) -> dict[str, Any]:
    """Return an event of `myUpdates` with this update."""
    return {"myUpdates": {"errors": [], "update": update}}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (event(__typename="LnUpdate", paymentHash=HASH, status="PAID", walletId="A-1"), said_paid("a-1")),
        (event(__typename="LnUpdate", paymentHash=HASH, status="PAID"), said_paid(None)),
        (event(__typename="RealtimePrice", denominatorCurrency="USD", **TICK), PRICE),
    ],
)
def test_news(data: dict[str, Any], told: Announcement | PriceTick) -> None:
    """A settlement and a price in dollars are acted upon (flash-server.md 3.6)."""
    assert read_event(data) == told


@pytest.mark.parametrize(
    "data",
    [
        event(__typename="LnUpdate", paymentHash=HASH, status="EXPIRED"),
        event(__typename="LnUpdate", paymentHash=HASH, status="PENDING"),
        event(__typename="IntraLedgerUpdate", paymentHash=HASH, status="PAID"),
        event(__typename="OnChainUpdate", txHash="x"),
        event(__typename="Price", base=1, offset=2),
        event(__typename="RealtimePrice", denominatorCurrency="JMD", **TICK),
        event(__typename="RealtimePrice", denominatorCurrency="USD", btcSatPrice="x"),
        event(__typename="RealtimePrice"),
    ],
)
def test_noise(data: dict[str, Any]) -> None:
    """What comes every day and is of no use is passed over."""
    assert read_event(data) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("paid", "state paid"),
        ("SETTLED", "state SETTLED"),
        (None, "state None"),
        ([], "state list of 0"),
        ({"a": 1}, "state dict of 1"),
    ],
)
def test_a_state_that_nobody_knows(status: object, words: str) -> None:
    """A settlement in unknown words makes us ask, and is told."""
    told = read_event(event(__typename="LnUpdate", paymentHash=HASH, status=status))
    assert isinstance(told, Announcement)
    assert (told.payment_hash, told.paid) == (LOWER, False)
    assert words in (told.odd or "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (event(__typename="LnUpdate", paymentHash=7, status="PAID"), "without a payment hash"),
        (event(__typename="LnUpdate", paymentHash=["x"], status="PENDING"), "without a payment hash"),
        (event(__typename="LnUpdate", paymentHash="a" * 4_000_000, status="PAID"), "without a payment hash"),
        (event(__typename="LnUpdate", paymentHash="\0" * 64, status="PAID"), "without a payment hash"),
        (event(), "unknown kind None"),
        (event(__typename={}), "unknown kind dict of 0"),
        (event(__typename="Weather"), "unknown kind Weather"),
        (event(__typename="W" * 999), "WWW"),
        ({"myUpdates": {"update": None, "errors": [{"message": "Price is deprecated"}]}}, "Price is deprecated"),
        ({"myUpdates": {"update": "PAID", "errors": None}}, "without an update: an error without a message"),
        ({"myUpdates": {"update": None, "errors": ["?"]}}, "without an update: an error without a message"),
        ({"myUpdates": {"update": None, "errors": [{"message": "ory_st_Canary ended"}]}}, "ory_st_*** ended"),
        ({"myUpdates": None}, "without myUpdates"),
        ({}, "without myUpdates"),
    ],
)
def test_oddities(data: dict[str, Any], words: str) -> None:
    """What is neither news nor noise is told in few words, which show no credential."""
    told = read_event(data)
    assert isinstance(told, str)
    assert words in told
    assert len(told) < 120
