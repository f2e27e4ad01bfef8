"""BTCPay's checkout page, as a customer sees it before and after the payment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.lightning_host.browser.chromium import Chromium, running_chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.btcpay.shop import Shop

pytestmark = pytest.mark.timeout(300)

PICTURES: Final = Path(os.environ["SCREENSHOTS"]) if "SCREENSHOTS" in os.environ else None
"""Where to keep pictures of the page: `SCREENSHOTS=docs` makes those of docs/btcpay.md again."""


@pytest.fixture(scope="module")
def debugger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the URL that a browser is driven by; skipped where there is none, but never in CI."""
    with running_chromium(tmp_path_factory.mktemp("chromium")) as url:
        yield url


async def test_checkout_page(shop: Shop, debugger: str) -> None:
    """The page shows the code, and says by itself that it is paid once it is."""
    sale = shop.sell("2.50", "USD")
    async with Chromium.connect(debugger) as browser:
        page = await browser.page()
        await page.look(width=480, height=820, scale=1)
        await page.goto(sale.checkout)
        await page.until("document.querySelector('.qr-container svg, .qr-container img, .qr-container canvas')")
        if PICTURES is not None:
            await page.screenshot(PICTURES / "btcpay-checkout-before.png")
        shop.pay(sale.bolt11)
        await page.until("document.querySelector('#settled, #processing')?.getClientRects().length > 0")
        if PICTURES is not None:
            await page.screenshot(PICTURES / "btcpay-checkout-after.png")
