from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lightning_host.browser.test_checkout import CONTRAST, NO_SCROLL, assert_clean
from tests.lightning_host.checkout.test_pages import NASTY
from tests.support.checkouts import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lightning_host.browser.chromium import Page
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench
    from tests.support.driver import Bench

CARDS = "/api/v1/stores/shop/flashcards"


async def test_top_up_with_clicks(hosts: HostBench, bench: Bench, page: Page, tmp_path: Path) -> None:
    """From the card's page through a checkout and back; a page left open sees the balance grow by itself."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox, sandbox_control=sandbox.control)
    _, card = await host.request("POST", CARDS, json={"name": "Ada"}, headers=KEY)
    await page.look(width=390, height=844, phone=True)
    await page.goto(card["pageLink"])
    assert await page.text("#balance") == "0"
    assert await page.evaluate("document.querySelector('#qr').naturalWidth > 0")
    await page.click(".choices button")
    await page.until("document.querySelector('#pay') && document.querySelector('#qr').complete")
    await page.click("#pay")
    await page.until("document.querySelector('#paid')?.getClientRects().length")
    await page.click("#back")
    await page.until("document.querySelector('#balance')?.innerText.startsWith('5,')")

    await page.evaluate("window.notReloaded = true")
    _, checkout = await host.request("POST", f"{CARDS}/{card['id']}/topups", json={"amount": "90000000"}, headers=KEY)
    sandbox.pay(checkout["BOLT11"])
    await page.until("document.querySelectorAll('#history li').length === 2")
    assert (await page.text("#balance")).startswith("95,")
    assert (await page.text("#announcement")).startswith("New balance: 95,")
    assert await page.evaluate("window.notReloaded")
    await page.screenshot(tmp_path / "card.png")
    assert_clean(page, host)


@pytest.mark.parametrize("dark", [False, True])
async def test_names_and_comments(hosts: HostBench, node: FakeNode, page: Page, *, dark: bool) -> None:
    """Whatever a name or a comment holds is read and not run, fits a phone, and stands out from its ground."""
    host = await hosts.host(node)
    nasty = NASTY.rstrip("\u2028")
    _, card = await host.request("POST", CARDS, json={"name": nasty}, headers=KEY)
    await page.look(width=320, height=640, phone=True, dark=dark)
    await page.goto(card["pageLink"])
    assert await page.text("h1") == nasty
    address = (await host.get(f"/flashcards/{card['id']}/code.svg"))[0]
    assert address == 200
    assert await page.evaluate(NO_SCROLL)
    assert await page.evaluate(CONTRAST) == []
    assert_clean(page, host)
