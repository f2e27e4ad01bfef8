from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.lightning_host.hosts import eventually
from tests.support.checkouts import KEY, browser, open_checkout, press_pay, stream, token_in

if TYPE_CHECKING:
    import aiohttp

    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench
    from tests.support.driver import Bench

NASTY = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u2028"


async def test_page_shows_the_checkout(hosts: HostBench, node: FakeNode) -> None:
    """Amount, memo, BOLT11 and code stand on the page as the host sent it, before any script runs."""
    host = await hosts.host(node, title="Café Aurora")
    checkout = await open_checkout(host, description="Espresso", redirectUrl="https://shop.example/back")
    status, html = await host.get(f"/checkout/{checkout['id']}")
    assert status == 200
    for text in ("Café Aurora", "21,000", "Espresso", checkout["BOLT11"], "https://shop.example/back"):
        assert text in html
    code = re.search(r'src="(/checkout/[^"]+\.svg)"', html)
    assert code is not None
    async with host.session.get(host.url + code[1]) as response:
        assert response.content_type == "image/svg+xml"
        assert (await response.text()).startswith("<svg")
    assert '<noscript><meta http-equiv="refresh"' in html
    assert "Pay with play money" not in html


async def test_code_that_lives_as_long_as_the_checkout(hosts: HostBench, node: FakeNode) -> None:
    """Where the wallet makes invoices that last, there is nothing to come back for, and no second one is made."""
    host = await hosts.host(node, checkout_seconds=30)
    checkout = await open_checkout(host)
    _, state = await host.get(f"/checkout/{checkout['id']}/state")
    assert state["codeSecondsLeft"] is None
    assert state["bolt11"] == checkout["BOLT11"]
    _, html = await host.get(f"/checkout/{checkout['id']}")
    assert "is good for" not in html


async def test_page_hears_of_the_payment(hosts: HostBench, node: FakeNode) -> None:
    """The stream begins with the state, and tells of the payment when it comes."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    async with stream(host, checkout["id"]) as page:
        assert (await page.state())["status"] == "New"
        await node.pay(checkout["paymentHash"])
        paid = await page.until(status="Settled")
    assert paid["received"] == "21,000"
    assert paid["bolt11"] is None
    status, html = await host.get(f"/checkout/{checkout['id']}")
    assert status == 200
    assert 'http-equiv="refresh"' not in html


async def test_page_hears_in_another_replica(hosts: HostBench, node: FakeNode) -> None:
    """A page open at one replica hears of a checkout that was opened at another."""
    one, two = await hosts.host(node), await hosts.host(node)
    checkout = await open_checkout(one)
    async with stream(two, checkout["id"]) as page:
        assert (await page.state())["status"] == "New"
        await node.pay(checkout["paymentHash"])
        await page.until(status="Settled")


async def test_state_without_a_stream(hosts: HostBench, node: FakeNode) -> None:
    """A page that gets no stream, because there are too many, can ask."""
    host = await hosts.host(node, most_streams=1)
    checkout = await open_checkout(host)
    path = f"/checkout/{checkout['id']}"
    async with stream(host, checkout["id"]) as page:
        await page.state()
        async with host.session.get(f"{host.url}{path}/events") as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "10")
        assert (await host.get(f"{path}/state"))[1]["status"] == "New"


async def test_texts_from_outside_stay_texts(hosts: HostBench, node: FakeNode) -> None:
    """Memo and shop name with markup in them are shown, not run; the policy would not let them run either."""
    host = await hosts.host(node, title=NASTY[:90])
    checkout = await open_checkout(host, description=NASTY, externalId=NASTY)
    async with host.session.get(f"{host.url}/checkout/{checkout['id']}") as response:
        html, policy = await response.text(), response.headers["Content-Security-Policy"]
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{7*7}}" in html
    assert "unsafe-inline" not in policy
    assert "script-src 'self'" in policy
    assert re.search(r"<[^>]*\son\w+=", html) is None
    assert "style=" not in html


async def test_host_header_is_not_believed(hosts: HostBench, node: FakeNode) -> None:
    """Whatever a request says its host is called, no link that is handed out has that name."""
    host = await hosts.host(node, public_url="https://pay.example.com")
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    status, checkout = await host.request(
        "POST", "/api/v1/stores/shop/checkouts", json={"amount": "1000"}, headers={**KEY, **evil}
    )
    assert status == 200
    assert checkout["checkoutLink"] == f"https://pay.example.com/checkout/{checkout['id']}"
    _, html = await host.get(f"/checkout/{checkout['id']}", headers=evil)
    assert "evil" not in html


async def test_unknown_checkout(hosts: HostBench, node: FakeNode) -> None:
    """A checkout that does not exist is told on a page, whatever its name, and for each part of it."""
    host = await hosts.host(node)
    for path in ("nothing", "..%2f..%2fetc", "%00", "a" * 500, f"x/{'0' * 64}.svg", "x/state", "x/events"):
        status, html = await host.get(f"/checkout/{path}")
        assert status == 404, path
        assert "Not found" in html


async def test_code_of_another_checkout(hosts: HostBench, node: FakeNode) -> None:
    """A checkout's page draws no invoice of another one."""
    host = await hosts.host(node)
    one, two = await open_checkout(host), await open_checkout(host)
    assert (await host.get(f"/checkout/{one['id']}/{two['paymentHash']}.svg"))[0] == 404


async def test_pay_button_pays(hosts: HostBench, bench: Bench) -> None:
    """In front of a sandbox the button pays, and sends the browser back to the page."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox, sandbox_control=sandbox.control)
    checkout = await open_checkout(host)
    assert await press_pay(host, checkout["id"]) == 303

    async def settled() -> bool:
        return bool((await host.get(f"/checkout/{checkout['id']}/state"))[1]["status"] == "Settled")

    await eventually(settled)
    assert await press_pay(host, checkout["id"]) == 409


async def test_pay_button_refuses_forged_forms(hosts: HostBench, bench: Bench) -> None:
    """Without the page's own token and cookie, or from another site, nothing is paid."""
    sandbox = await bench.sandbox(invoice_unit="sat")
    host = await hosts.host(sandbox, sandbox_control=sandbox.control)
    one, two = await open_checkout(host), await open_checkout(host)
    url = f"{host.url}/checkout/{one['id']}"

    async def forge(session: aiohttp.ClientSession, token: str, **headers: str) -> int:
        async with session.post(f"{url}/pay", data={"form_token": token}, headers=headers) as answer:
            return answer.status

    async with browser() as session, browser() as stranger:
        assert await forge(session, "") == 403
        assert await forge(session, "0" * 64) == 403
        async with session.get(url) as page, session.get(f"{host.url}/checkout/{two['id']}") as other:
            token, token_of_other = token_in(await page.text()), token_in(await other.text())
        assert await forge(session, token, **{"Sec-Fetch-Site": "cross-site"}) == 403
        assert await forge(session, token_of_other) == 403
        assert await forge(stranger, token) == 403
        async with session.post(f"{url}/pay", json={"form_token": token}) as answer:
            assert answer.status == 415
    assert [invoice["status"] for invoice in sandbox.ledger_snapshot()["invoices"]] == ["PENDING", "PENDING"]


async def test_no_pay_button_where_money_is_real(hosts: HostBench, node: FakeNode) -> None:
    """Without a sandbox neither the button nor the demo shop exists."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    assert (await host.request("POST", f"/checkout/{checkout['id']}/pay"))[0] == 404
    assert (await host.get("/demo"))[0] == 404
    assert (await host.request("POST", "/demo/buy"))[0] == 404


async def test_pay_button_when_the_sandbox_is_gone(hosts: HostBench, node: FakeNode) -> None:
    """A sandbox that does not answer, or refuses, is told as a problem."""
    host = await hosts.host(node, sandbox_control="http://127.0.0.1:9/control")
    checkout = await open_checkout(host)
    assert await press_pay(host, checkout["id"]) == 503
    other = await hosts.host(node, database=hosts.sqlite("other"), sandbox_control=f"{host.url}/nowhere")
    foreign = await open_checkout(other)
    assert await press_pay(other, foreign["id"]) == 409


async def test_demo_shop_sells(hosts: HostBench, bench: Bench) -> None:
    """The demo shop opens a checkout for a product, for its own forms only."""
    sandbox = await bench.sandbox()
    host = await hosts.host(sandbox, sandbox_control=sandbox.control)
    async with browser() as session:
        async with session.get(f"{host.url}/demo") as shop:
            form = {"form_token": token_in(await shop.text()), "product": "espresso"}
        async with session.post(f"{host.url}/demo/buy", data=form) as response:
            assert response.url.path.startswith("/checkout/")
            assert "Espresso" in await response.text()
        for forged, expected in (({"product": "espresso"}, 403), ({**form, "product": "moon"}, 404)):
            async with session.post(f"{host.url}/demo/buy", data=forged) as response:
                assert response.status == expected
