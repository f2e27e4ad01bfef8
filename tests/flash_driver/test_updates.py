from __future__ import annotations

from typing import Any

import pytest

from flash_driver.updates import announced, oddity

HASH = "AB" * 32


def event(**update: Any) -> dict[str, Any]:
    """Return an event of `myUpdates` with this update."""
    return {"myUpdates": {"errors": [], "update": update}}


@pytest.mark.parametrize(
    ("data", "payment_hash", "words"),
    [
        (event(__typename="LnUpdate", paymentHash=HASH, status="PAID", walletId="another"), HASH.lower(), None),
        (event(__typename="LnUpdate", paymentHash=HASH, status="SETTLED"), HASH.lower(), "unknown state 'SETTLED'"),
        (event(__typename="LnUpdate", paymentHash=HASH, status=None), HASH.lower(), "unknown state None"),
        (event(__typename="LnUpdate", paymentHash=HASH, status="EXPIRED"), None, None),
        (event(__typename="LnUpdate", paymentHash=HASH, status="PENDING"), None, None),
        (event(__typename="LnUpdate", paymentHash=7, status="PAID"), None, "without a payment hash"),
        (event(__typename="IntraLedgerUpdate", status="PAID"), None, None),
        (event(__typename="Price"), None, None),
        (event(__typename="Weather"), None, "unknown kind 'Weather'"),
        ({"myUpdates": {"update": None, "errors": [{"message": "Price is deprecated"}]}}, None, "Price is deprecated"),
        ({"myUpdates": {"update": None, "errors": None}}, None, "without an update: 'an error without a message'"),
        ({"myUpdates": {"update": None, "errors": ["?"]}}, None, "without an update: 'an error without a message'"),
        ({"myUpdates": {"update": None, "errors": [{"message": "ory_st_Canary ended"}]}}, None, "'*** ended'"),
        ({"myUpdates": None}, None, "without myUpdates"),
        ({}, None, "without myUpdates"),
        (event(__typename="W" * 999), None, "WWW"),
    ],
)
def test_what_an_event_tells(data: dict[str, Any], payment_hash: str | None, words: str | None) -> None:
    """Only a settlement, or a state nobody knows, makes us ask; the rest is noise, or odd enough to be told."""
    assert announced(data) == payment_hash
    found = oddity(data)
    assert (found is None) if words is None else (found is not None and words in found and len(found) < 120)
