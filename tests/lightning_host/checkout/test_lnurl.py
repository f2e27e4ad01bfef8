"""The checkout's own LNURL, scanned by a wallet library that nobody here wrote."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings import LightningError
from tests.lightning_host.checkout.test_renewal import look_up, settle, short
from tests.lightning_host.needs import need_lnurl
from tests.support.checkouts import open_checkout, stream

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

__all__ = ["short"]


@pytest.fixture(scope="session")
def lnurl() -> Any:
    """Give the PyPI package `lnurl`."""
    return need_lnurl()


async def code_of(host: RunningHost, checkout: dict[str, Any]) -> str:
    """Return the LNURL that the page shows."""
    _, html = await host.get(f"/checkout/{checkout['id']}")
    found = re.search(r'data-lnurl="(LNURL1[A-Z0-9]+)"', html)
    assert found is not None
    return found[1]


async def fetch(host: RunningHost, checkout: dict[str, Any], amount: int = 21_000_000) -> Any:
    """Call the callback as a wallet does; gives the answer."""
    return (await host.get(f"/checkout-lnurl/{checkout['id']}/callback?amount={amount}"))[1]


async def test_wallet_scans_and_pays(hosts: HostBench, node: FakeNode, lnurl: Any) -> None:
    """The code stands for this order: its exact amount, its text; paying the invoice settles the checkout."""
    host = await hosts.host(node)
    checkout = await open_checkout(host, description="Espresso")
    link = await lnurl.handle(await code_of(host, checkout))
    assert (int(link.minSendable), int(link.maxSendable)) == (21_000_000, 21_000_000)
    assert "Espresso" in link.metadata.text
    action = await lnurl.execute_pay_request(link, 21_000_000)
    invoice = next(each for each in node.invoices.values() if each.bolt11 == str(action.pr))
    await node.pay(invoice.id)
    told = await settle(host, checkout, 21_000_000)
    assert (told["status"], told["paymentHash"], told["overpaid"]) == ("Settled", invoice.id, "0")


async def test_with_the_driver_of_flash(hosts: HostBench, bench: Bench, lnurl: Any) -> None:
    """In front of a sandbox the wallet gets an invoice over exactly the price, and the page hears of the payment."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        link = await lnurl.handle(await code_of(host, checkout))
        action = await lnurl.execute_pay_request(link, 21_000_000)
        sandbox.pay(str(action.pr))
        await page.until(status="Settled")


async def test_all_who_scan_get_one_invoice(hosts: HostBench, node: FakeNode) -> None:
    """Many wallets at many replicas are handed the same invoice: it is paid once, and the store's limit is spared."""
    one, two = await hosts.host(node), await hosts.host(node)
    checkout = await open_checkout(one)
    first = await fetch(one, checkout)
    answers = await asyncio.gather(*(fetch(host, checkout) for host in (one, two) for _ in range(10)))
    assert {answer["pr"] for answer in answers} == {first["pr"]}
    assert len(node.created) == 2
    assert "verify" not in first


async def test_no_invoice_for_what_is_paid(hosts: HostBench, node: FakeNode) -> None:
    """A payment that nobody heard of is found before a wallet is given a second invoice; one that was heard, too."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    await node.pay(checkout["paymentHash"], heard=False)
    for _ in range(2):
        assert (await fetch(host, checkout))["reason"] == "this checkout has been paid; go back to its page"
    assert (await look_up(host, checkout))["status"] == "Settled"
    assert len(node.created) == 1
    other = await open_checkout(host)
    node.forgetful = LightningError("can't tell")
    assert (await fetch(host, other))["status"] == "ERROR"
    assert len(node.created) == 2


async def test_what_can_not_be_paid(hosts: HostBench, node: FakeNode) -> None:
    """Another amount, a comment, a checkout that is over or unknown: an LNURL error, and no invoice."""
    host = await hosts.host(node, checkout_seconds=1)
    checkout = await open_checkout(host)
    assert (await fetch(host, checkout, 20_999_999))["reason"] == "amount must be 21,000 satoshi (told in millisatoshi)"
    await asyncio.sleep(max(0, checkout["expiresAt"] - datetime.now(UTC).timestamp() + 1))
    assert "can't be paid any more" in (await fetch(host, checkout))["reason"]
    assert "can't be paid any more" in (await host.get(f"/checkout-lnurl/{checkout['id']}"))[1]["reason"]
    assert (await host.get("/checkout-lnurl/unknown"))[0] == 404
    assert len(node.created) == 1


async def test_setting_chooses_the_codes(hosts: HostBench, short: FakeNode) -> None:
    """`lnurl` makes no invoice before a wallet asks for one, however long a page is open; `bolt11` shows no LNURL."""
    lasting = await hosts.host(short, checkout_codes="lnurl")
    checkout = await open_checkout(lasting)
    assert (checkout["BOLT11"], checkout["paymentHash"], short.created) == (None, None, [])
    status, html = await lasting.get(f"/checkout/{checkout['id']}")
    assert status == 200
    assert f"/checkout/{checkout['id']}/lnurl.svg" in html
    async with stream(lasting, checkout["id"]) as page:
        assert (await page.state())["bolt11"] is None
        assert short.created == []
        await fetch(lasting, checkout)
        (made,) = short.invoices
        await short.pay(made)
        await page.until(status="Settled")
    plain = await hosts.host(short, checkout_codes="bolt11")
    other = await open_checkout(plain)
    assert "data-lnurl" not in (await plain.get(f"/checkout/{other['id']}"))[1]
    assert (await plain.get(f"/checkout/{other['id']}/lnurl.svg"))[0] == 404


async def test_page_without_an_invoice_shows_the_code_that_lasts(hosts: HostBench, short: FakeNode) -> None:
    """While renewals have to wait, a page is never without a code: the LNURL stands there, and it can be paid."""
    host = await hosts.host(short, checkout_allowance={"times": 1, "seconds": 600})
    checkout = await open_checkout(host)
    dies = short.invoices[checkout["paymentHash"]].expires_at
    await asyncio.sleep(max(0, (dies - datetime.now(UTC) + timedelta(seconds=0.1)).total_seconds()))
    _, html = await host.get(f"/checkout/{checkout['id']}")
    assert f'src="/checkout/{checkout["id"]}/lnurl.svg"' in html
    assert "pr" in await fetch(host, checkout)
