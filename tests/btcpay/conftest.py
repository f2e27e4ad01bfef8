"""Fixtures of the tests with a real BTCPay Server; without the kit they are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.btcpay.kit import KIT, running_btcpay
from tests.btcpay.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.btcpay.kit import BtcPay
    from tests.btcpay.shop import Shop


@pytest.fixture(scope="session")
def btcpay() -> Iterator[BtcPay]:
    """Give a BTCPay Server, started once."""
    if not (KIT / "btcpay").exists():
        pytest.skip("the BTCPay kit is not there; BTCPAY_KIT names its folder")
    with running_btcpay() as server:
        yield server


@pytest.fixture(scope="session")
def shop(btcpay: BtcPay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Give a shop that sells in every way and pays out by itself, and whose books are compared at the end."""
    with open_shop(btcpay, tmp_path_factory.mktemp("shop"), "--rate-limit", "off", lnurl=True) as opened:
        opened.automate_payouts()
        yield opened
        opened.no_faults()
        opened.assert_ledgers_agree()
