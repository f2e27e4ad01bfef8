from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.checkouts import browser, open_checkout, token_in

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench


async def test_replicas_know_each_others_forms(hosts: HostBench, node: FakeNode) -> None:
    """A form that one replica has made can be sent to another: both have the same key."""
    control = "http://127.0.0.1:9/control"
    one, two = await hosts.host(node, sandbox_control=control), await hosts.host(node, sandbox_control=control)
    checkout = await open_checkout(one)
    path = f"/checkout/{checkout['id']}"
    async with browser() as session:
        async with session.get(one.url + path) as page:
            form = {"form_token": token_in(await page.text())}
        async with session.post(f"{two.url}{path}/pay", data=form) as answer:
            assert answer.status == 503  # let pass: it is the sandbox that is missing


async def test_cookie_is_for_this_host_only(hosts: HostBench, node: FakeNode) -> None:
    """No script reads the cookie, no other site sends it; over https it is bound to the very host."""
    plain = await hosts.host(node)
    secure = await hosts.host(node, public_url="https://pay.example.com")
    checkout = await open_checkout(plain)
    for host, name, is_secure in ((plain, "form", False), (secure, "__Host-form", True)):
        async with host.session.get(f"{host.url}/checkout/{checkout['id']}") as response:
            cookie = response.cookies[name]
        assert cookie["samesite"] == "Strict"
        assert cookie["httponly"] is True
        assert cookie["path"] == "/"
        assert bool(cookie["secure"]) is is_secure


async def test_cookie_of_any_kind_does_no_harm(hosts: HostBench, node: FakeNode) -> None:
    """A cookie that this host has not set is no way to markup or to an error."""
    host = await hosts.host(node)
    checkout = await open_checkout(host)
    for cookie in ('form="<script>"', "form=" + "x" * 4000, "form=\xff\xfe", "form=a; form=b"):
        status, html = await host.get(f"/checkout/{checkout['id']}", headers={"Cookie": cookie})
        assert status == 200
        assert "<script>" not in html
