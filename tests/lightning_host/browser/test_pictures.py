"""The pictures in README are taken by this test: `SCREENSHOTS=docs` makes them again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lightning_host.browser.test_checkout import assert_clean
from tests.lightning_host.browser.test_flashcard import CARDS
from tests.lightning_host.browser.test_merchant import log_in
from tests.lightning_host.merchant.merchant import READ_KEY
from tests.support.checkouts import KEY, open_checkout

if TYPE_CHECKING:
    from tests.lightning_host.browser.chromium import Page
    from tests.lightning_host.hosts import HostBench
    from tests.support.driver import Bench


async def test_what_readme_shows(hosts: HostBench, bench: Bench, page: Page, tmp_path: Path) -> None:
    """A checkout with its code, the merchant's page with what was sold, and a card are whole, without a complaint."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox, read_key=READ_KEY, title="Café Aurora")
    for number, what in enumerate(("Espresso", "Cappuccino and a croissant", "Beans, 250 g"), 41):
        sold = await open_checkout(host, description=what, externalId=f"order {number}")
        sandbox.pay(sold["BOLT11"])
    checkout = await open_checkout(host, description="Two flat whites", externalId="order 44")
    await page.look(width=440, height=860, scale=1)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    assert await page.evaluate("document.querySelector('#qr').naturalWidth > 0")
    await page.screenshot(folder / "checkout.png")
    await log_in(page, host, READ_KEY)
    await page.until("document.querySelectorAll('.payments li').length === 3")
    await page.screenshot(folder / "merchant.png")
    _, card = await host.request("POST", CARDS, json={"name": "Ada"}, headers=KEY)
    for number, amount in enumerate(("21000000", "50000000"), 1):
        _, top_up = await host.request("POST", f"{CARDS}/{card['id']}/topups", json={"amount": amount}, headers=KEY)
        sandbox.pay(top_up["BOLT11"])
        await page.goto(card["pageLink"])
        await page.until(f"document.querySelectorAll('#history li').length === {number}")
    await page.screenshot(folder / "card.png")
    assert_clean(page, host)
