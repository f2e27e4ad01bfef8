from __future__ import annotations

from typing import Any

import pytest

from flash_driver.flash_api.events import Announcement, announced, oddity

HASH = "AB" * 32
LOWER = HASH.lower()


ODD = Announcement(LOWER, paid=False, wallet_id=None)


def said_paid(wallet_id: str | None) -> Announcement:
    """Return what a settlement is read as."""
    return Announcement(LOWER, paid=True, wallet_id=wallet_id)


def event(**update: Any) -> dict[str, Any]:
    """Return an event of `myUpdates` with this update."""
    return {"myUpdates": {"errors": [], "update": update}}


@pytest.mark.parametrize(
    ("data", "announcement", "words"),
    [
        (
            event(__typename="LnUpdate", paymentHash=HASH, status="PAID", walletId="A-1"),
            said_paid("a-1"),
            None,
        ),
        (event(__typename="LnUpdate", paymentHash=HASH, status="PAID"), said_paid(None), None),
        (event(__typename="LnUpdate", paymentHash=HASH, status="paid"), ODD, "state paid"),
        (
            event(__typename="LnUpdate", paymentHash=HASH, status="SETTLED"),
            ODD,
            "state SETTLED",
        ),
        (event(__typename="LnUpdate", paymentHash=HASH, status=None), ODD, "state None"),
        (event(__typename="LnUpdate", paymentHash=HASH, status="EXPIRED"), None, None),
        (event(__typename="LnUpdate", paymentHash=HASH, status="PENDING"), None, None),
        (event(__typename="LnUpdate", paymentHash=7, status="PAID"), None, "without a payment hash"),
        (event(__typename="LnUpdate", paymentHash="a" * 4_000_000, status="PAID"), None, "without a payment hash"),
        (event(__typename="LnUpdate", paymentHash="\0" * 64, status="PAID"), None, "without a payment hash"),
        (event(__typename="LnUpdate", paymentHash=HASH, status=[]), ODD, "state list of 0"),
        (event(__typename="LnUpdate", paymentHash=HASH, status={"a": 1}), ODD, "state dict of 1"),
        (event(__typename={}), None, "unknown kind dict of 0"),
        (event(__typename="IntraLedgerUpdate", status="PAID"), None, None),
        (event(__typename="Price"), None, None),
        (event(__typename="Weather"), None, "unknown kind Weather"),
        ({"myUpdates": {"update": None, "errors": [{"message": "Price is deprecated"}]}}, None, "Price is deprecated"),
        ({"myUpdates": {"update": None, "errors": None}}, None, "without an update: an error without a message"),
        ({"myUpdates": {"update": None, "errors": ["?"]}}, None, "without an update: an error without a message"),
        ({"myUpdates": {"update": None, "errors": [{"message": "ory_st_Canary ended"}]}}, None, "ory_st_*** ended"),
        ({"myUpdates": None}, None, "without myUpdates"),
        ({}, None, "without myUpdates"),
        (event(__typename="W" * 999), None, "WWW"),
    ],
)
def test_what_an_event_tells(data: dict[str, Any], announcement: Announcement | None, words: str | None) -> None:
    """Only a settlement, or a state nobody knows, makes us ask; the rest is noise, or odd enough to be told."""
    assert announced(data) == announcement
    found = oddity(data)
    assert (found is None) if words is None else (found is not None and words in found and len(found) < 120)
