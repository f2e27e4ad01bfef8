from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from tests.lightning_host.checkout.test_pages import NASTY
from tests.support.checkouts import open_checkout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lightning_host.browser.chromium import Page
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

NO_SCROLL = "document.documentElement.scrollWidth <= window.innerWidth"


def assert_clean(page: Page, host: RunningHost) -> None:
    """Nothing was said on the console, and nobody but the host was asked for anything."""
    assert page.troubles == []
    assert {URL(url).authority for url in page.requests} == {f"127.0.0.1:{host.settings.port}"}


async def test_payment_appears_without_a_reload(hosts: HostBench, bench: Bench, page: Page, tmp_path: Path) -> None:
    """Code, amount and countdown are there; the invoice is replaced in time; the payment appears by itself."""
    sandbox = await bench.sandbox(invoice_expiry_seconds=4)
    host = await hosts.host(sandbox, sandbox_control=sandbox.control, title="Café Aurora", checkout_allowance=None)
    checkout = await open_checkout(host, description="Espresso")
    await page.look(width=900, height=900)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await page.evaluate("window.notReloaded = true")
    assert (await page.text("h1")).startswith("21,")
    assert await page.evaluate("document.querySelector('#qr').naturalWidth > 0")
    assert await page.evaluate("document.querySelector('#bolt11').value") == checkout["BOLT11"]
    await page.screenshot(tmp_path / "open.png")

    counted = await page.text("#countdown")
    await page.until(f"document.querySelector('#countdown').innerText !== {counted!r}")
    await page.until(f"document.querySelector('#bolt11').value !== {checkout['BOLT11']!r}")
    assert checkout["paymentHash"] not in await page.evaluate("document.querySelector('#qr').src")
    assert await page.shown("#ways")

    sandbox.pay(await page.evaluate("document.querySelector('#bolt11').value"))
    await page.until("document.querySelector('#paid').getClientRects().length")
    assert await page.text("#paid h2") == "Paid"
    assert await page.text("#announcement") == "Paid. Thank you!"
    assert not await page.shown("#to-pay")
    assert await page.evaluate("window.notReloaded")
    await page.screenshot(tmp_path / "paid.png")
    assert_clean(page, host)


async def test_copy_button(hosts: HostBench, node: FakeNode, page: Page) -> None:
    """The button puts the invoice into the clipboard and says so."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    await page.look(width=900, height=900)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await page.evaluate(
        "document.addEventListener('copy', () => { window.copied = String(getSelection()) || "
        "document.querySelector('#bolt11').value; });"
        "const write = navigator.clipboard.writeText.bind(navigator.clipboard);"
        "navigator.clipboard.writeText = (text) => { window.copied = text; return write(text); };"
    )
    await page.click("#copy")
    await page.until("document.querySelector('#copy').innerText === 'Copied'")
    assert await page.evaluate("window.copied") == checkout["BOLT11"]
    assert await page.text("#announcement") == "Code copied"
    assert_clean(page, host)


async def test_pay_button(hosts: HostBench, bench: Bench, page: Page) -> None:
    """From the demo shop to a paid checkout with clicks only."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox, sandbox_control=sandbox.control)
    await page.look(width=900, height=900)
    await page.goto(f"{host.url}/demo")
    await page.click("button[aria-label='Buy Croissant']")
    await page.until("location.pathname.startsWith('/checkout/') && document.querySelector('#pay')")
    await page.until("document.querySelector('#qr').complete")
    await page.click("#pay")
    await page.until("document.querySelector('#paid')?.getClientRects().length")
    await page.click("#back")
    await page.until("location.pathname === '/demo'")
    assert_clean(page, host)


@pytest.mark.parametrize("dark", [False, True])
async def test_phone(hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path, *, dark: bool) -> None:
    """On a narrow phone nothing is cut off, whatever the amount and the memo, in light and dark."""
    host = await hosts.host(node, title="W" * 60, sandbox_control="http://127.0.0.1:9")
    checkout = await open_checkout(host, "2099999999999999", description="Supercalifragilistic" * 10)
    await page.look(width=320, height=640, phone=True, dark=dark)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    assert await page.evaluate(NO_SCROLL)
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(10, 14, 23)" if dark else "rgb(243, 245, 249)")
    await page.screenshot(tmp_path / "phone.png")
    assert_clean(page, host)


async def test_long_amount_stays_on_one_line(hosts: HostBench, node: FakeNode, page: Page) -> None:
    """A million and its millisatoshi are read at one glance on a phone, unit and all."""
    host = await hosts.host(node)
    checkout = await open_checkout(host, "2108433735")
    await page.look(width=390, height=844, phone=True)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    assert "\n" not in await page.text("h1")
    line = "parseFloat(getComputedStyle(document.querySelector('h1')).lineHeight)"
    assert await page.evaluate(f"Math.round(document.querySelector('h1').offsetHeight / {line})") == 1


@pytest.mark.parametrize("dark", [False, True])
async def test_contrast(hosts: HostBench, node: FakeNode, page: Page, *, dark: bool) -> None:
    """All text stands out from its ground by 4.5:1 or more (WCAG 2.2, 1.4.3)."""
    host = await hosts.host(node, sandbox_control="http://127.0.0.1:9")
    checkout = await open_checkout(host, description="memo", redirectUrl="https://shop.example")
    await page.look(width=900, height=900, dark=dark)
    for path in (f"/checkout/{checkout['id']}", "/demo", "/checkout/unknown"):
        await page.goto(f"{host.url}{path}")
        await page.evaluate("document.querySelectorAll('[hidden]').forEach((each) => { each.hidden = false; })")
        assert await page.evaluate(CONTRAST) == []


async def test_time_is_up(hosts: HostBench, node: FakeNode, page: Page) -> None:
    """When the countdown ends the page says so by itself, and shows no code any more."""
    host = await hosts.host(node, checkout_seconds=2)
    checkout = await open_checkout(host)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await page.until("document.querySelector('#expired').getClientRects().length")
    assert not await page.shown("#qr")
    assert_clean(page, host)


async def test_no_fresh_invoice_to_be_had(hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path) -> None:
    """While there is no code that can be paid, the page shows the old one as dead, and says when the next one comes."""
    sign = node.signer.sign

    def sign_short(**terms: Any) -> Any:
        return sign(**{**terms, "expiry": timedelta(seconds=2)})

    node.signer.sign = sign_short  # type: ignore[method-assign]  # the node's own, for this test
    few = {"times": 1, "seconds": 600}
    host = await hosts.host(node, checkout_allowance=few, checkout_codes="bolt11")
    checkout = await open_checkout(host)
    await page.look(width=390, height=844, phone=True)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await page.until("document.querySelector('#renewing').getClientRects().length")
    await page.until("document.querySelector('#renewing-words').innerText.startsWith('Next code in 9:')")
    assert await page.evaluate("document.querySelector('#code').classList.contains('dead')")
    await page.screenshot(tmp_path / "dead.png")
    assert not await page.shown("#ways")


async def test_code_that_lasts(hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path) -> None:
    """A payer may choose the code that lasts; when there is no invoice it stands there by itself, and can be copied."""
    sign = node.signer.sign

    def sign_short(**terms: Any) -> Any:
        return sign(**{**terms, "expiry": timedelta(seconds=4)})

    node.signer.sign = sign_short  # type: ignore[method-assign]  # the node's own, for this test
    host = await hosts.host(node, checkout_allowance={"times": 1, "seconds": 600})
    checkout = await open_checkout(host)
    await page.look(width=390, height=844, phone=True)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await page.until("document.querySelector('#note').innerText.includes('is good for')")
    await page.screenshot(tmp_path / "invoice.png")
    await page.click("#kind-lnurl")
    assert (await page.evaluate("document.querySelector('#bolt11').value")).startswith("LNURL1")
    await page.click("#kind-bolt11")
    assert await page.evaluate("document.querySelector('#bolt11').value") == checkout["BOLT11"]
    await page.until("document.querySelector('#bolt11').value.startsWith('LNURL1')")
    await page.until("document.querySelector('#note').innerText.includes('A plain invoice follows in')")
    await page.until("document.querySelector('#qr').complete && document.querySelector('#qr').naturalWidth > 0")
    await page.screenshot(tmp_path / "lasting.png")
    assert_clean(page, host)


async def test_host_that_is_silent(hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path) -> None:
    """When the host is gone the page lets no code stand that can't be paid any more."""
    sign = node.signer.sign

    def sign_short(**terms: Any) -> Any:
        return sign(**{**terms, "expiry": timedelta(seconds=6)})

    node.signer.sign = sign_short  # type: ignore[method-assign]  # the node's own, for this test
    host = await hosts.host(node, checkout_allowance=None)
    checkout = await open_checkout(host)
    await page.look(width=390, height=844, phone=True)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await page.until("document.querySelector('#note').innerText.includes('is good for')")
    await host.stop()
    await page.until("document.querySelector('#code').classList.contains('dead')")
    await page.until("document.querySelector('#renewing-words').innerText.startsWith('The shop')")
    assert not await page.shown("#ways")
    assert await page.text("#renewing-words") == "The shop does not answer. Trying again…"
    await page.screenshot(tmp_path / "silent.png")


async def test_paid_page_is_a_receipt_and_leads_back(
    hosts: HostBench, node: FakeNode, page: Page, tmp_path: Path
) -> None:
    """Once paid the page shows order, time and receipt, and goes back to the shop by itself where that is set."""
    host = await hosts.host(node, checkout_return_seconds=2, title="Café Aurora")
    back = f"{host.url}/pay/shop"
    checkout = await open_checkout(host, description="Espresso", externalId="order 17", redirectUrl=back)
    await page.look(width=390, height=844, phone=True)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    await node.pay(checkout["paymentHash"])
    await page.until("document.querySelector('#returning').getClientRects().length")
    assert "order 17" in await page.text("#paid .receipt")
    assert str(datetime.now(UTC).year) in await page.text("#paid-at")
    await page.screenshot(tmp_path / "receipt.png")
    await page.until("location.pathname === '/pay/shop'")


async def test_nothing_from_outside_runs(hosts: HostBench, node: FakeNode, page: Page) -> None:
    """Markup in memo and shop name is read, not run: no dialog opens, nothing is fetched, nothing is complained of."""
    host = await hosts.host(node, title=NASTY[:90])
    checkout = await open_checkout(host, description=NASTY)
    await page.goto(f"{host.url}/checkout/{checkout['id']}")
    assert await page.text(".memo") == NASTY
    await node.pay(checkout["paymentHash"])
    await page.until("document.querySelector('#paid').getClientRects().length")
    assert_clean(page, host)


CONTRAST = """
(() => {
  const parse = (color) => {
    const numbers = color.match(/[\\d.]+/g).map(Number);
    return { rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1 };
  };
  const luminance = (rgb) => {
    const linear = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const groundOf = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color.alpha === 1) return color.rgb;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text && element.tagName !== "INPUT") continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color).rgb), luminance(groundOf(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.outerHTML.slice(0, 80)} ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""
