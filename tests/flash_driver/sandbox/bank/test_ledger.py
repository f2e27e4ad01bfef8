from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from flash_driver.sandbox.bank.ledger import AlreadySettled, Ledger, Payment, Wallet
from flash_driver.sandbox.bank.signer import InvoiceSigner, SignedInvoice

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.conftest import Clock


@pytest.fixture
def ledger() -> Ledger:
    """Give empty books."""
    return Ledger()


@pytest.fixture
def wallet(ledger: Ledger) -> Wallet:
    """Give a wallet with 1000 cents."""
    return ledger.open_wallet(ledger.open_account("merchant", "USD"), "USD", Decimal(1000))


@pytest.fixture
def payment(ledger: Ledger, wallet: Wallet, clock: Clock) -> Payment:
    """Give a payment that has not begun."""
    return ledger.payment(wallet, "ab" * 32, "lnbcrt1", clock())


def _signed(clock: Clock) -> SignedInvoice:
    return InvoiceSigner().sign(msat=1000, description="", now=clock(), expiry=timedelta(seconds=60))


def test_an_account_knows_its_own_wallets_only(ledger: Ledger, wallet: Wallet) -> None:
    """Another account's wallet can't be found in this one."""
    mine, theirs = ledger.accounts[wallet.account_id], ledger.open_account("stranger", "USD")
    assert mine.wallet(wallet.id) is wallet
    assert theirs.wallet(wallet.id) is None
    assert mine.wallet_of("USD") is wallet
    assert mine.wallet_of("USDT") is None


def test_an_invoice_is_pending_until_it_expires(ledger: Ledger, wallet: Wallet, clock: Clock) -> None:
    """At the moment of its expiry an unpaid invoice has expired."""
    invoice = ledger.add_invoice(wallet, _signed(clock), Decimal(5), "")
    assert invoice.status(clock()) == "PENDING"
    clock.advance(seconds=60)
    assert invoice.status(clock()) == "EXPIRED"


def test_paid_is_for_ever(ledger: Ledger, wallet: Wallet, clock: Clock) -> None:
    """A paid invoice doesn't expire, its wallet is credited once, and it can't be paid again."""
    invoice = ledger.add_invoice(wallet, _signed(clock), Decimal(5), "")
    ledger.settle(invoice, msat=1000, credit=Decimal(5), now=clock())
    clock.advance(days=1)
    assert invoice.status(clock()) == "PAID"
    with pytest.raises(AlreadySettled):
        ledger.settle(invoice, msat=1000, credit=Decimal(5), now=clock())
    assert wallet.balance == Decimal(1005)


def test_money_in_flight_has_left_the_wallet(ledger: Ledger, wallet: Wallet, payment: Payment, clock: Clock) -> None:
    """From the commitment on the money is gone; completion only says that it arrived."""
    ledger.commit(payment, msat=1000, cost=Decimal(10), fee=Decimal(1))
    assert (payment.status, payment.times_executed, wallet.balance) == ("PENDING", 1, Decimal(989))
    ledger.complete(payment, clock())
    assert (payment.status, payment.times_executed, wallet.balance) == ("SUCCESS", 1, Decimal(989))


def test_money_that_comes_back_was_never_spent(ledger: Ledger, wallet: Wallet, payment: Payment) -> None:
    """A payment that failed in flight leaves no trace in the balance, nor in the count of executions."""
    ledger.commit(payment, msat=1000, cost=Decimal(10), fee=Decimal(1))
    ledger.give_back(payment)
    assert (payment.status, payment.times_executed, wallet.balance) == ("FAILURE", 0, Decimal(1000))


def test_a_double_payment_shows(ledger: Ledger, payment: Payment, clock: Clock) -> None:
    """One that pays twice finds a 2 in the books, and one that came back makes it 1 again."""
    for _ in range(2):
        ledger.commit(payment, msat=1000, cost=Decimal(10), fee=Decimal(0))
    ledger.complete(payment, clock())
    assert payment.snapshot()["times_executed"] == 2
    ledger.give_back(payment)
    assert (payment.status, payment.times_executed) == ("SUCCESS", 1)


def test_a_late_failure_does_not_undo_a_success(ledger: Ledger, payment: Payment, clock: Clock) -> None:
    """Only a payment that never moved money can be marked as failed."""
    ledger.commit(payment, msat=1000, cost=Decimal(10), fee=Decimal(0))
    ledger.complete(payment, clock())
    ledger.fail(payment)
    assert payment.status == "SUCCESS"


def test_movements_are_listed_wallet_by_wallet_newest_first(ledger: Ledger, wallet: Wallet, clock: Clock) -> None:
    """Two wallets are not merged by time."""
    other = ledger.open_wallet(ledger.accounts[wallet.account_id], "USDT", Decimal(0))
    for each, credit in ((wallet, 1), (other, 2), (wallet, 3)):
        invoice = ledger.add_invoice(each, _signed(clock), None, "")
        ledger.settle(invoice, msat=1000, credit=Decimal(credit), now=clock())
    assert [each.amount for each in ledger.transactions_of([wallet, other])] == [3, 1, 2]


def test_the_snapshot_says_everything(ledger: Ledger, wallet: Wallet, payment: Payment, clock: Clock) -> None:
    """A judge finds every fact, amounts as exact texts and times with their zone."""
    signed = _signed(clock)
    invoice = ledger.add_invoice(wallet, signed, Decimal("5.5"), "memo")
    payment.idempotency_keys.append("key")
    snapshot = ledger.snapshot(clock())
    assert snapshot["invoices"] == [
        {
            "payment_hash": signed.payment_hash,
            "payment_request": signed.payment_request,
            "preimage": signed.preimage,
            "wallet_id": wallet.id,
            "msat": 1000,
            "cents": "5.5",
            "msat_received": None,
            "status": "PENDING",
            "memo": "memo",
            "created_at": "2030-01-01T00:00:00+00:00",
            "expires_at": "2030-01-01T00:01:00+00:00",
            "settled_at": None,
        }
    ]
    assert snapshot["payments"] == [
        {
            "payment_hash": "ab" * 32,
            "payment_request": "lnbcrt1",
            "wallet_id": wallet.id,
            "status": "NONE",
            "msat": None,
            "cents": "0",
            "fee_cents": "0",
            "idempotency_key": "key",
            "idempotency_keys": ["key"],
            "times_requested": 0,
            "times_executed": 0,
            "created_at": "2030-01-01T00:00:00+00:00",
            "settled_at": None,
        }
    ]
    ledger.settle(invoice, msat=1000, credit=Decimal("5.5"), now=clock())
    assert ledger.snapshot(clock())["invoices"][0]["settled_at"] == "2030-01-01T00:00:00+00:00"
