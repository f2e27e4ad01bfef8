from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import bolt11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_driver.sandbox.bank.bolt11 import MAX_MSAT, Mint, NotAnInvoiceError, read_invoice

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def _mint(**more: Any) -> Any:
    arguments: dict[str, Any] = {"msat": 10_001, "description": "coffee", "now": NOW, "expiry": timedelta(minutes=1)}
    return Mint().mint(**{**arguments, **more})


def test_an_invoice_says_what_was_asked_for() -> None:
    """The bolt11 package reads back network, amount, description, secret and expiry."""
    minted = _mint()
    decoded = bolt11.decode(minted.payment_request)
    assert decoded.is_regtest()
    assert decoded.amount_msat == 10_001
    assert decoded.description == "coffee"
    assert decoded.payment_hash == minted.payment_hash
    assert decoded.payment_secret == minted.payment_secret
    assert decoded.expiry == 60
    assert decoded.min_final_cltv_expiry == 18
    assert decoded.features is not None
    assert decoded.features.readable == {
        "var_onion_optin": "required",
        "payment_secret": "required",
        "basic_mpp": "supported",
    }
    assert datetime.fromtimestamp(decoded.expiry_time, tz=UTC) == minted.expires_at


def test_the_preimage_opens_the_hash_and_is_not_the_secret() -> None:
    """SHA-256 of the preimage is the payment hash; the payment secret is something else."""
    minted = _mint()
    assert sha256(bytes.fromhex(minted.preimage)).hexdigest() == minted.payment_hash
    assert minted.payment_secret != minted.preimage


def test_a_node_signs_all_its_invoices_with_one_key() -> None:
    """The payee recovered from the signature is the same for one mint, and another for another."""
    mint = Mint()
    payees = {
        bolt11.decode(mint.mint(msat=1, description="", now=NOW, expiry=timedelta(minutes=1)).payment_request).payee
        for _ in range(3)
    }
    assert len(payees) == 1
    assert bolt11.decode(_mint().payment_request).payee not in payees


def test_a_description_hash_takes_the_place_of_the_description() -> None:
    """A BOLT11 has one or the other, never both."""
    decoded = bolt11.decode(_mint(description_hash="ab" * 32).payment_request)
    assert decoded.description_hash == "ab" * 32
    assert decoded.description is None


def test_an_amountless_invoice_has_no_amount() -> None:
    """No amount is not an amount of zero."""
    minted = _mint(msat=None)
    assert bolt11.decode(minted.payment_request).amount_msat is None
    assert read_invoice(minted.payment_request).msat is None


@given(msat=st.integers(min_value=1, max_value=MAX_MSAT))
def test_every_amount_survives(msat: int) -> None:
    """Whatever is asked for, to the millisatoshi, can be read back."""
    assert read_invoice(_mint(msat=msat).payment_request).msat == msat


@settings(max_examples=50, deadline=None)
@given(
    msat=st.none() | st.integers(min_value=1, max_value=MAX_MSAT) | st.integers(0, 13).map(lambda zeros: 10**zeros),
    description=st.text(max_size=150),
    description_hash=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    seconds=st.integers(min_value=1, max_value=10**9),
    network=st.sampled_from(["bc", "bcrt"]),
)
def test_the_package_writes_the_same(
    *, msat: int | None, description: str, description_hash: str | None, seconds: int, network: Any
) -> None:
    """The bolt11 package writes the same letters, signature and checksum when it has the same key and says the same."""
    mint = Mint()
    minted = mint.mint(
        msat=msat,
        description=description,
        description_hash=description_hash,
        now=NOW,
        expiry=timedelta(seconds=seconds),
        network=network,
    )
    again = bolt11.encode(bolt11.decode(minted.payment_request), mint.private_key.hex())
    assert minted.payment_request == again


@pytest.mark.parametrize("more", [{"description": "x" * 640}, {"msat": 0}, {"expiry": timedelta(seconds=-1)}])
def test_what_no_invoice_can_say(more: dict[str, Any]) -> None:
    """A description too long for a field, no amount at all and a negative time are refused, not written wrongly."""
    assert read_invoice(_mint(description="x" * 639, msat=1, expiry=timedelta(0)).payment_request).msat == 1
    with pytest.raises(ValueError, match=r"field d|at least|negative"):
        _mint(**more)


def test_reading_tells_what_a_payer_needs() -> None:
    """A foreign invoice is read for its hash, network and expiry."""
    minted = _mint(network="bc")
    read = read_invoice(minted.payment_request)
    assert (read.payment_hash, read.network, read.expires_at) == (minted.payment_hash, "bitcoin", minted.expires_at)


@pytest.mark.parametrize("text", ["", "lol", "lnbcrt1", "lnbc1" + "q" * 100])
def test_other_texts_are_no_invoices(text: str) -> None:
    """Whatever the decoder stumbles over comes out as one kind of error."""
    with pytest.raises(NotAnInvoiceError, match="Invalid payment request"):
        read_invoice(text)
