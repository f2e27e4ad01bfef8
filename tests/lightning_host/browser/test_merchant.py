from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.lightning_host.browser.test_checkout import CONTRAST, NO_SCROLL, assert_clean
from tests.lightning_host.checkout.test_pages import NASTY
from tests.lightning_host.hosts import API_KEY
from tests.lightning_host.merchant.merchant import READ_KEY, paid, sold
from tests.support.checkouts import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lightning_host.browser.chromium import Page
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

HEBREW = "\u05e7\u05e4\u05d4 \u05d5\u05e2\u05d5\u05d2\u05d4, \u05ea\u05d5\u05d3\u05d4!"
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd > 0"
"""What has to be so before another page is gone to: else its end of loading would be taken for the next one's."""
TABS = ("", "/wallet", "/webhooks", "/cards")


async def log_in(page: Page, host: RunningHost, key: str) -> None:
    """Log in as a person does."""
    await page.goto(f"{host.url}/merchant")
    await page.evaluate(f"document.querySelector('#key').value = {key!r}")
    await page.click("button[type=submit]")
    await page.until(f"document.querySelector('#live') && {LOADED}")


async def test_payment_appears_by_itself(hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path) -> None:
    """From an empty page by way of a payment to its details, without a reload; then out."""
    host = await hosts.host(node, read_key=READ_KEY, title="Café Aurora")
    await page.look(width=390, height=844, phone=True)
    await page.goto(f"{host.url}/merchant")
    await page.screenshot(tmp_path / "login.png")
    await log_in(page, host, READ_KEY)
    await page.evaluate("window.notReloaded = true")
    assert await page.text(".nothing") == "No payment yet. The first one appears here by itself."
    await page.screenshot(tmp_path / "empty.png")
    await sold(host, node, externalId="order 17", description="Espresso")
    await page.until("document.querySelectorAll('.payments li').length === 1")
    assert "order 17" in await page.text(".payments summary")
    assert (await page.text(".takings .amount")).startswith("21,000")
    assert (await page.text("#announcement")).startswith("New payment: 21,000")
    await page.click(".payments summary")
    await page.until("document.querySelector('.payments .receipt').getClientRects().length")
    await sold(host, node, "1000000")
    await page.until("document.querySelectorAll('.payments li').length === 2")
    assert await page.evaluate("document.querySelectorAll('.payments details')[1].open")
    assert await page.evaluate("window.notReloaded")
    await page.screenshot(tmp_path / "payment.png")
    await page.click("header button")
    await page.until("location.pathname === '/merchant' && document.querySelector('#key')")
    assert_clean(page, host)


async def test_link_logs_in_and_leaves_the_address(hosts: HostBench, node: FakeNode, page: Page) -> None:
    """The code of a link goes into the form and out of the address, and is part of no request's URL."""
    host = await hosts.host(node)
    _, made = await host.request("POST", "/api/v1/stores/shop/merchant-links", json={}, headers=KEY)
    await page.goto(made["link"])
    code = made["link"].partition("#")[2]
    assert await page.evaluate("location.href") == f"{host.url}/merchant"
    assert await page.evaluate("document.querySelector('#key').value") == code
    await page.click("button[type=submit]")
    await page.until("document.querySelector('#live')")
    assert_clean(page, host)


@pytest.mark.parametrize(("width", "dark"), [(320, False), (360, True), (1100, True)])
async def test_what_others_wrote_fits_and_is_read(
    hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path, *, width: int, dark: bool
) -> None:
    """Long, foreign and hostile words are read and not run, fit each width, and stand out from their ground."""
    nasty = NASTY.rstrip("\u2028")
    other = {"connection_string": f"type=fake;node={node.name}-other", "api_keys": [API_KEY]}
    host = await hosts.host(node, title=nasty[:90], stores={"bakery": other}, webhook_private_addresses=True)
    hook = {"url": f"http://127.0.0.1:9/{'long' * 60}"}
    _, webhook = await host.request("POST", "/api/v1/stores/shop/webhooks", json=hook, headers=KEY)
    await host.request("POST", "/api/v1/stores/shop/flashcards", json={"name": nasty[:90]}, headers=KEY)
    for comment in (HEBREW, nasty[:190], "w" * 190):
        await host.get(f"/lnurlp/shop/callback?amount=5000000&comment={quote(comment)}")
    for payment_hash in list(node.invoices):
        await paid(host, node, payment_hash)
    await sold(host, node, "2100000000123", externalId="x" * 200, description=nasty)
    await page.look(width=width, height=900, phone=width < 500, dark=dark)
    await log_in(page, host, API_KEY)
    for tab in (*TABS, f"/webhooks/{webhook['id']}"):
        await page.goto(f"{host.url}/merchant/shop{tab}")
        await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert await page.evaluate(NO_SCROLL), tab
        assert await page.evaluate(CONTRAST) == []
        await page.screenshot(tmp_path / f"page{tab.replace('/', '-')[:20]}.png")
    assert_clean(page, host)
