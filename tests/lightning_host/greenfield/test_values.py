"""What nodes tell that custodians do not: on-chain money and custom records, as BTCPay writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from connection_strings import (
    LightMoney,
    LightningInvoice,
    LightningInvoiceStatus,
    LightningNodeBalance,
    OffchainBalance,
    OnchainBalance,
)
from lightning_host.greenfield.values import balance_data, invoice_data, payment_data_from_details

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_onchain_money_is_told_in_satoshi() -> None:
    """On-chain amounts are texts of satoshi, off-chain ones of millisatoshi."""
    sat = LightMoney.from_sat(7)
    balance = LightningNodeBalance(
        onchain=OnchainBalance(confirmed=sat), offchain=OffchainBalance(opening=sat, local=sat, remote=sat, closing=sat)
    )
    assert balance_data(balance) == {
        "onchain": {"confirmed": "7", "unconfirmed": None, "reserved": None},
        "offchain": dict.fromkeys(("opening", "local", "remote", "closing"), "7000"),
    }


def test_custom_records_are_told_in_hex() -> None:
    """TLV types are texts, their values hex; times are whole seconds."""
    invoice = LightningInvoice(
        id="ab" * 32,
        payment_hash="ab" * 32,
        bolt11="lnbcrt1",
        status=LightningInvoiceStatus.EXPIRED,
        expires_at=NOW,
        amount=None,
        custom_records={5482373484: b"\x01\xff"},
    )
    data = invoice_data(invoice)
    assert data["customRecords"] == {"5482373484": "01ff"}
    assert (data["status"], data["expiresAt"]) == ("Expired", int(NOW.timestamp()))


def test_payment_without_details_is_unknown() -> None:
    """A payment that nothing is known of is Unknown, and has its BOLT11."""
    data = payment_data_from_details("lnbcrt1", None)
    assert (data["status"], data["BOLT11"], data["paymentHash"]) == ("Unknown", "lnbcrt1", None)
