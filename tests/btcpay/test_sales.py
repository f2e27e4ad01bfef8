"""BTCPay sells through the host: in satoshi, in dollars, by LNURL, many at once; its books agree with the sandbox's."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.lightning_host.programs import wait_until

if TYPE_CHECKING:
    from tests.btcpay.kit import BtcPay
    from tests.btcpay.shop import Shop

pytestmark = pytest.mark.timeout(300)  # BTCPay itself takes up to a minute to start


@pytest.mark.parametrize(("amount", "currency"), [("1000", "SATS"), ("0.0002", "BTC"), ("2.50", "USD")])
def test_sale(shop: Shop, amount: str, currency: str) -> None:
    """A sale is settled at BTCPay once its BOLT11 is paid, whatever it was priced in."""
    sale = shop.sell(amount, currency)
    shop.pay(sale.bolt11)
    shop.wait_settled(sale)


def test_customer_chooses_the_amount(shop: Shop) -> None:
    """A top-up invoice gets a BOLT11 without an amount, and what was paid is booked."""
    sale = shop.sell(None, "BTC")
    shop.pay(sale.bolt11, msat=5_000_000)
    shop.wait_settled(sale)


def test_lnurl(shop: Shop) -> None:
    """A wallet that scans the LNURL gets a BOLT11 of its own, and the sale is settled."""
    sale = shop.sell("21000", method="BTC-LNURL")
    shop.pay_by_lnurl(sale)
    shop.wait_settled(sale)


def test_lightning_address(shop: Shop) -> None:
    """A payment to a Lightning address of BTCPay makes an invoice there, and settles it."""
    before = shop.settled()
    shop.pay_to_address(f"till-{secrets.token_hex(4)}", 7_000_000)
    wait_until(lambda: len(shop.settled() - before) == 1, "the invoice is settled")


def test_fifty_at_once(shop: Shop) -> None:
    """Many sales side by side are all settled; each costs Flash one mutation, and no look at the wallet."""
    before = shop.operations()
    with ThreadPoolExecutor(10) as threads:
        sales = list(threads.map(lambda _: shop.sell(), range(50)))
        list(threads.map(lambda sale: shop.pay(sale.bolt11), sales))
    shop.wait_settled(*sales)
    asked = {name: count - before.get(name, 0) for name, count in shop.operations().items()}
    # Lightning and LNURL are both enabled, but LNURL makes its BOLT11 only when it is scanned.
    assert asked["lnUsdInvoiceCreate"] <= 55
    # The driver itself looks at its token every ten seconds.
    assert asked["me"] < 35, "BTCPay's question about the wallet, at each invoice, is not passed on to Flash"


def test_wrong_password_is_told(btcpay: BtcPay, shop: Shop) -> None:
    """A store with a wrong password is not connected; BTCPay says so."""
    store = btcpay.new_store(shop.host.url, "a wrong password")
    status, _ = btcpay.ask("GET", f"/stores/{store}/lightning/BTC/info")
    assert status >= 400
