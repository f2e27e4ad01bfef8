from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import bolt11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flash_driver.sandbox.bank.signer import MAX_MSAT, InvoiceSigner, NotAnInvoiceError, read_invoice
from tests.support.thorough import cases

NOW = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def _signer(**more: Any) -> Any:
    arguments: dict[str, Any] = {"msat": 10_001, "description": "coffee", "now": NOW, "expiry": timedelta(minutes=1)}
    return InvoiceSigner().sign(**{**arguments, **more})


def test_an_invoice_says_what_was_asked_for() -> None:
    """The bolt11 package reads back network, amount, description, secret and expiry."""
    signed = _signer()
    decoded = bolt11.decode(signed.payment_request)
    assert decoded.is_regtest()
    assert decoded.amount_msat == 10_001
    assert decoded.description == "coffee"
    assert decoded.payment_hash == signed.payment_hash
    assert decoded.payment_secret == signed.payment_secret
    assert decoded.expiry == 60
    assert decoded.min_final_cltv_expiry == 18
    assert decoded.features is not None
    assert decoded.features.readable == {
        "var_onion_optin": "required",
        "payment_secret": "required",
        "basic_mpp": "supported",
    }
    assert datetime.fromtimestamp(decoded.expiry_time, tz=UTC) == signed.expires_at


def test_the_preimage_opens_the_hash_and_is_not_the_secret() -> None:
    """SHA-256 of the preimage is the payment hash; the payment secret is something else."""
    signed = _signer()
    assert sha256(bytes.fromhex(signed.preimage)).hexdigest() == signed.payment_hash
    assert signed.payment_secret != signed.preimage


def test_a_node_signs_all_its_invoices_with_one_key() -> None:
    """The payee recovered from the signature is the same for one signer, and another for another."""
    signer = InvoiceSigner()
    payees = {
        bolt11.decode(signer.sign(msat=1, description="", now=NOW, expiry=timedelta(minutes=1)).payment_request).payee
        for _ in range(3)
    }
    assert len(payees) == 1
    assert bolt11.decode(_signer().payment_request).payee not in payees


def test_a_description_hash_takes_the_place_of_the_description() -> None:
    """A BOLT11 has one or the other, never both."""
    decoded = bolt11.decode(_signer(description_hash="ab" * 32).payment_request)
    assert decoded.description_hash == "ab" * 32
    assert decoded.description is None


def test_an_amountless_invoice_has_no_amount() -> None:
    """No amount is not an amount of zero."""
    signed = _signer(msat=None)
    assert bolt11.decode(signed.payment_request).amount_msat is None
    assert read_invoice(signed.payment_request).msat is None


@given(msat=st.integers(min_value=1, max_value=MAX_MSAT))
def test_every_amount_survives(msat: int) -> None:
    """Whatever is asked for, to the millisatoshi, can be read back."""
    assert read_invoice(_signer(msat=msat).payment_request).msat == msat


@settings(max_examples=cases(10, 250), deadline=None)
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
    signer = InvoiceSigner()
    signed = signer.sign(
        msat=msat,
        description=description,
        description_hash=description_hash,
        now=NOW,
        expiry=timedelta(seconds=seconds),
        network=network,
    )
    again = bolt11.encode(bolt11.decode(signed.payment_request), signer.private_key.hex())
    assert signed.payment_request == again


@pytest.mark.parametrize("more", [{"description": "x" * 640}, {"msat": 0}, {"expiry": timedelta(seconds=-1)}])
def test_what_no_invoice_can_say(more: dict[str, Any]) -> None:
    """A description too long for a field, no amount at all and a negative time are refused, not written wrongly."""
    assert read_invoice(_signer(description="x" * 639, msat=1, expiry=timedelta(0)).payment_request).msat == 1
    with pytest.raises(ValueError, match=r"field d|at least|negative"):
        _signer(**more)


def test_reading_tells_what_a_payer_needs() -> None:
    """A foreign invoice is read for its hash, network and expiry."""
    signed = _signer(network="bc")
    read = read_invoice(signed.payment_request)
    assert (read.payment_hash, read.network, read.expires_at) == (signed.payment_hash, "mainnet", signed.expires_at)


@pytest.mark.parametrize("text", ["", "lol", "lnbcrt1", "lnbc1" + "q" * 100])
def test_other_texts_are_no_invoices(text: str) -> None:
    """Whatever the decoder stumbles over comes out as one kind of error."""
    with pytest.raises(NotAnInvoiceError, match="Invalid payment request"):
        read_invoice(text)
