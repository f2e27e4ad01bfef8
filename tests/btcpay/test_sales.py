"""BTCPay sells through the host: in satoshi, in dollars, by LNURL, many at once; its books agree with the sandbox's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.btcpay.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.btcpay.kit import BtcPay
    from tests.btcpay.shop import Shop

pytestmark = pytest.mark.timeout(300)  # BTCPay itself takes up to a minute to start


@pytest.fixture(scope="module")
def shop(btcpay: BtcPay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Give a shop whose books are compared at the end."""
    with open_shop(btcpay, tmp_path_factory.mktemp("shop"), "--rate-limit", "off", lnurl=True) as opened:
        yield opened
        opened.assert_ledgers_agree()


@pytest.mark.parametrize(("amount", "currency"), [("1000", "SATS"), ("0.0002", "BTC"), ("2.50", "USD")])
def test_sale(shop: Shop, amount: str, currency: str) -> None:
    """A sale is settled at BTCPay once its BOLT11 is paid, whatever it was priced in."""
    sale = shop.sell(amount, currency)
    shop.pay(sale.bolt11)
    shop.wait_settled(sale)
