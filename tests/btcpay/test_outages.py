"""Paid while something was down: BTCPay learns of every sale, whatever was killed, frozen or away meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.btcpay.shop import open_shop
from tests.lightning_host.programs import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.btcpay.kit import BtcPay
    from tests.btcpay.shop import Shop
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(300)

SHORT_LIFE = ("--invoice-expiry-seconds", "20", "--rate-limit", "off")
"""Invoices that an outage outlives, and that a busy machine has the time to pay."""


def test_host_is_killed_while_its_customer_pays(btcpay: BtcPay, tmp_path: Path) -> None:
    """A host that comes back tells of what was paid meanwhile."""
    with open_shop(btcpay, tmp_path) as shop:
        sale = shop.sell()
        shop.host.kill()
        shop.pay(sale.bolt11)
        shop.host.start()
        shop.wait_settled(sale)
        shop.assert_ledgers_agree()


def test_host_restarts_into_an_outage_of_flash(btcpay: BtcPay, tmp_path: Path) -> None:
    """Flash answers nothing until the paid BOLT11 is long over: BTCPay is not told that it expired unpaid."""
    with open_shop(btcpay, tmp_path, *SHORT_LIFE) as shop:
        sales = [shop.sell() for _ in range(3)]
        shop.host.kill()
        for sale in sales:
            shop.pay(sale.bolt11)
        with shop.flash_frozen():
            shop.host.start()
            wait_until(lambda: all(shop.is_over(sale.bolt11) for sale in sales), "the BOLT11s are over")
            # BTCPay asks at moments of its own: a run in which it asks seldom proves less, and is no fault of the host.
            for _ in range(20):
                if _broken_off(shop) >= len(sales):
                    break
        shop.wait_settled(*sales)
        shop.assert_ledgers_agree()


def _broken_off(shop: Shop) -> int:
    """Have BTCPay ask about its invoices; gives how many questions the host has answered by breaking the connection."""
    shop.nudge()
    time.sleep(2)
    return int(shop.metric("lightning_host_requests_total", group="phoenixd", method="GET", status="503"))


def test_database_restarts_while_customers_pay(btcpay: BtcPay, postgres: PostgresServer, tmp_path: Path) -> None:
    """Invoices that are paid while PostgreSQL is away are settled once it is back."""
    with open_shop(btcpay, tmp_path, "--rate-limit", "off", database=postgres.new_database()) as shop:
        sales = [shop.sell() for _ in range(3)]
        postgres.stop()
        try:
            for sale in sales:
                shop.pay(sale.bolt11)
        finally:
            postgres.start()
        shop.wait_settled(*sales)
        shop.assert_ledgers_agree()
