"""BTCPay pays out through the host: each outcome is told as what it is, and nothing is paid twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lightning_host.programs import wait_until

if TYPE_CHECKING:
    from tests.btcpay.shop import Payout, Shop

pytestmark = pytest.mark.timeout(300)


def wait_for(shop: Shop, payout: Payout, *states: str) -> str:
    """Wait until BTCPay calls a payout one of these."""
    wait_until(lambda: shop.payout_state(payout) in states, f"the payout is {' or '.join(states)}")
    return shop.payout_state(payout)


def test_payout_succeeds(shop: Shop) -> None:
    """Flash tells no preimage, and the payout is completed all the same."""
    payout = shop.pay_out(*shop.foreign())
    wait_for(shop, payout, "Completed")


def test_payout_whose_answer_is_lost_ends(shop: Shop) -> None:
    """The money left and Flash's answer did not arrive: the payout is completed, and paid once."""
    shop.fault("close", when="after_execute", operation="lnInvoicePaymentSend")
    payout = shop.pay_out(*shop.foreign())
    wait_for(shop, payout, "Completed")


def test_plugins_hear_that_a_payment_went_out(shop: Shop) -> None:
    """BTCPay's own API for paying an invoice answers 200 and a completed payment."""
    bolt11, _ = shop.foreign()
    status, answer = shop.pay_directly(bolt11)
    assert (status, answer["status"]) == (200, "Complete")


def test_refund(shop: Shop) -> None:
    """A customer gets a settled sale back: BTCPay's refund is paid to a BOLT11."""
    sale = shop.sell("3000")
    shop.pay(sale.bolt11)
    shop.wait_settled(sale)
    refund = shop.refund(sale)
    payout = shop.claim(refund, *shop.foreign(3000))
    wait_for(shop, payout, "Completed")


def test_lnurl_withdraw(shop: Shop) -> None:
    """A pull payment is paid out to a wallet that scans its LNURL-withdraw; the wallet is told that it is paid."""
    bolt11, _ = shop.foreign(1500)
    assert shop.withdraw_by_lnurl(shop.pull_payment(2000), bolt11) == {"status": "OK", "reason": None}
    wait_until(lambda: bolt11 in shop.paid_out(), "the payout is completed")


@pytest.mark.parametrize("outcome", ["FAILURE", "INSUFFICIENT_BALANCE"])
def test_payout_that_failed_is_tried_again(shop: Shop, outcome: str) -> None:
    """A payment that certainly was not sent waits for the next round, instead of hanging in progress.

    The last tests here: a next round may come at any moment, and meet what another test has prepared.
    """
    shop.fault("payment", outcome=outcome)
    payout = shop.pay_out(*shop.foreign())
    wait_until(lambda: any(each["payment_hash"] == payout.payment_hash for each in shop.ledger()["payments"]), "tried")
    assert wait_for(shop, payout, "AwaitingPayment", "Completed") in ("AwaitingPayment", "Completed")
