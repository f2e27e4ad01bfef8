"""Fixtures of the tests with a real BTCPay Server; without the kit they are skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.btcpay.kit import KIT, running_btcpay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.btcpay.kit import BtcPay


@pytest.fixture(scope="session")
def btcpay() -> Iterator[BtcPay]:
    """Give a BTCPay Server, started once."""
    if not (KIT / "btcpay").exists():
        pytest.skip("the BTCPay kit is not there; BTCPAY_KIT names its folder")
    with running_btcpay() as server:
        yield server
