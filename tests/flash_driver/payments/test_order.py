"""What a host wants to have paid: checked without any server."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import InvalidRequest, LightMoney, PayInvoiceParams
from flash_driver.payments.order import read_order

if TYPE_CHECKING:
    from tests.support.driver import Bench


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        (PayInvoiceParams(), None),
        (PayInvoiceParams(max_fee_percent=1.0), 500),
        (PayInvoiceParams(max_fee_flat=LightMoney.from_msat(70)), 70),
        (PayInvoiceParams(max_fee_percent=1.0, max_fee_flat=LightMoney.from_msat(70)), 70),
        (PayInvoiceParams(max_fee_percent=0.1, max_fee_flat=LightMoney.from_msat(70)), 50),
        (PayInvoiceParams(max_fee_percent=0), 0),
    ],
)
async def test_fee_limit(bench: Bench, params: PayInvoiceParams, limit: int | None) -> None:
    """The smaller of two limits counts, in whole millisatoshi, rounded down."""
    bolt11 = (await bench.sandbox()).foreign_invoice(50_000).payment_request
    assert read_order(bolt11, params).fee_limit_msat == limit


@pytest.mark.parametrize("percent", [float("inf"), float("nan"), Decimal("Infinity"), Decimal("sNaN"), -1, 1e9])
def test_a_fee_limit_is_a_number(percent: Any) -> None:
    """A limit that is infinite, no number, negative or beyond reason is a mistake of the host's, and told as one."""
    with pytest.raises(InvalidRequest, match="max_fee_percent"):
        PayInvoiceParams(max_fee_percent=percent)
