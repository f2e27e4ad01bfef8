from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from sqlalchemy import text

from lightning_host.cli import main
from lightning_host.database import Database
from tests.lightning_host.hosts import API_KEY
from tests.lightning_host.merchant.merchant import READ_KEY, Merchant, logged_in, sold
from tests.support.checkouts import KEY, PageStream, browser, token_in

if TYPE_CHECKING:
    from lightning_host.client_limits import WrongKeys
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost

LINKS = "/api/v1/stores/shop/merchant-links"


async def test_pages_are_for_those_who_log_in(hosts: HostBench, node: FakeNode) -> None:
    """Every page is 401 before and after, and 200 while a browser is logged in with a key that only reads."""
    host = await hosts.host(node, read_key=READ_KEY)
    pages = ("", "/wallet", "/cards", "/cards/payments", "/webhooks", "/payments.csv?month=2026-11")
    async with browser() as session:
        stranger = Merchant(host, session)
        for page in pages:
            status, words = await stranger.get(f"/merchant/shop{page}")
            assert (status, "log in" in words) == (401, True), page
    async with logged_in(host, READ_KEY) as merchant:
        for page in pages:
            assert (await merchant.get(f"/merchant/shop{page}"))[0] == 200, page
        assert (await merchant.get("/merchant"))[0] == 302
        assert (await merchant.get("/merchant/bakery"))[0] == 404
        _, page = await merchant.get("/merchant/shop")
        cookies = {cookie.key: cookie.value for cookie in merchant.session.cookie_jar}
        assert await merchant.post("/merchant/shop/logout", form_token=token_in(page)) == (303, "/merchant")
        merchant.session.cookie_jar.update_cookies(cookies)  # what somebody may have copied is of no use any more
        assert (await merchant.get("/merchant/shop"))[0] == 401


async def test_cookie_is_for_this_host_and_no_script(hosts: HostBench, node: FakeNode) -> None:
    """Behind https the cookie is bound to the host, hidden from scripts, and sent to no request of another site."""
    host = await hosts.host(node, public_url="https://pay.example.com", read_key=READ_KEY)
    async with browser() as session:
        async with session.get(f"{host.url}/merchant") as page:
            form = {"form_token": token_in(await page.text()), "key": READ_KEY}
            nonce = page.headers["Set-Cookie"].partition(";")[0]
        headers = {"Cookie": nonce}
        async with session.post(f"{host.url}/merchant", data=form, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 303
            name, _, rest = answer.headers["Set-Cookie"].partition("=")
    assert name == "__Host-merchant"
    assert {each.strip() for each in rest.split(";")[1:]} >= {"HttpOnly", "Secure", "SameSite=Strict", "Path=/"}


async def test_what_is_stored_opens_nothing(hosts: HostBench, node: FakeNode) -> None:
    """Neither a session's token nor a link's stands in the database, nor a key."""
    host = await hosts.host(node)
    link = await make_link(host)
    async with logged_in(host) as merchant:
        shown = [API_KEY, link, *(cookie.value for cookie in merchant.session.cookie_jar if cookie.key == "merchant")]
        database = await Database.open(hosts.secret())
        query = text("SELECT * FROM host_merchant_access")
        rows = await database.read(lambda connection: connection.execute(query).all())
        await database.aclose()
    assert len(rows) == 2
    assert len(shown) == 3
    assert not any(secret in str(rows) for secret in shown)


async def test_link_opens_one_session(hosts: HostBench, node: FakeNode, database: str) -> None:
    """Of many that use a link at once, also at different replicas, one is let in."""
    replicas = [await hosts.host(node, database=database) for _ in range(2)]
    link = await make_link(replicas[0])
    async with browser() as one, browser() as two, browser() as three, browser() as four:
        sessions = (one, two, three, four)
        merchants = [Merchant(replicas[number % 2], session) for number, session in enumerate(sessions)]
        statuses = await asyncio.gather(*(merchant.log_in(link, changes=True) for merchant in merchants))
        assert sorted(statuses) == [303, 401, 401, 401]
        winner = merchants[statuses.index(303)]
        assert (await winner.get("/merchant/shop"))[0] == 200


async def test_link_that_is_too_old(hosts: HostBench, node: FakeNode) -> None:
    """A link is of no use once its time is over, and only a key that may do everything makes one."""
    host = await hosts.host(node, read_key=READ_KEY)
    for body, expected in (({"expirySeconds": 0}, 422), ({"changes": "perhaps"}, 422), ({"x": 1}, 422)):
        assert (await host.request("POST", LINKS, json=body, headers=KEY))[0] == expected
    reading = {"Authorization": f"token {READ_KEY}"}
    assert (await host.request("POST", LINKS, json={}, headers=reading))[0] == 403
    link = await make_link(host)
    database = await Database.open(hosts.secret())
    aged = text("UPDATE host_merchant_access SET expires_at = 1")
    await database.write(lambda connection: connection.execute(aged))
    await database.aclose()
    async with browser() as session:
        assert await Merchant(host, session).log_in(link) == 401


async def test_key_that_is_taken_away_ends_its_sessions(hosts: HostBench, node: FakeNode) -> None:
    """A session that was opened with a key ends once the key is not in the settings any more."""
    host = await hosts.host(node, read_key=READ_KEY)
    async with logged_in(host, READ_KEY) as merchant:
        assert (await merchant.get("/merchant/shop"))[0] == 200
        await host.stop()
        changed = await hosts.host(node, read_key="another-key-that-reads")
        assert (await Merchant(changed, merchant.session).get("/merchant/shop"))[0] == 401


async def test_wrong_keys_are_slowed_down(hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key at the form counts as at the API, and the page says what was wrong without the key."""
    counted: list[str] = []

    def count(_: WrongKeys, client: str) -> float:
        counted.append(client)
        return 0.0

    monkeypatch.setattr("lightning_host.client_limits.WrongKeys.delay", count)
    host = await hosts.host(node)
    async with browser() as session:
        merchant = Merchant(host, session)
        assert await merchant.log_in("wrong-key-of-somebody") == 401
        assert counted == ["127.0.0.1"]
        assert await merchant.log_in(API_KEY) == 303
        assert len(counted) == 1


async def test_forms_of_other_sites_do_nothing(hosts: HostBench, node: FakeNode) -> None:
    """Logging in and out take a form of this host's own page, and of this very session."""
    host = await hosts.host(node)
    async with browser() as session:
        assert (await Merchant(host, session).post("/merchant", key=API_KEY, form_token="0" * 64))[0] == 403
    async with logged_in(host) as merchant, logged_in(host) as other:
        _, page = await other.get("/merchant/shop")
        assert (await merchant.post("/merchant/shop/logout", form_token=token_in(page)))[0] == 403
        assert (await merchant.get("/merchant/shop"))[0] == 200


async def make_link(host: RunningHost, **fields: object) -> str:
    """Have a link made; gives what stands behind its `#`."""
    status, made = await host.request("POST", LINKS, json=fields, headers=KEY)
    assert status == 200, made
    assert made["link"].startswith(f"{host.url}/merchant#")
    return str(made["link"].partition("#")[2])


async def test_link_of_the_command(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints a link that logs in at the host that runs; a store that is not there is told."""
    host = await hosts.host(node)
    monkeypatch.setenv("LIGHTNING_HOST_CONNECTION_STRING", f"type=fake;node={node.name}")
    monkeypatch.setenv("LIGHTNING_HOST_DATABASE_URL", hosts.sqlite())
    monkeypatch.setenv("LIGHTNING_HOST_PUBLIC_URL", "https://pay.example.com")
    assert await asyncio.to_thread(main, ["merchant-link"]) == 0
    url, _, code = capsys.readouterr().out.strip().partition("#")
    assert url == "https://pay.example.com/merchant"
    async with browser() as session:
        assert await Merchant(host, session).log_in(code) == 303
    for arguments, words in ((["--store", "bakery"], "one of shop"), (["--minutes", "0"], "from 1 to 1440")):
        assert await asyncio.to_thread(main, ["merchant-link", *arguments]) == 2
        assert words in capsys.readouterr().err


async def test_stream_ends_with_its_session(hosts: HostBench, node: FakeNode) -> None:
    """A page hears of each payment as long as its browser is logged in, and of none after that."""
    host = await hosts.host(node)
    async with logged_in(host) as merchant:
        async with merchant.session.get(f"{host.url}/merchant/shop/events") as response:
            told = PageStream(response)
            assert await told.state() == {"number": 0}
            await sold(host, node)
            await told.until(number=1)
            _, page = await merchant.get("/merchant/shop")
            await merchant.post("/merchant/shop/logout", form_token=token_in(page))
            await sold(host, node)
            with pytest.raises(AssertionError, match="the stream ended"):
                await told.state()
        assert (await merchant.get("/merchant/shop/events"))[0] == 401


async def test_garbage_with_a_session(hosts: HostBench, node: FakeNode, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a browser that is logged in asks for, the answer is its fault or none; never 5xx."""
    host = await hosts.host(node)
    garbage = ("", "0", "-1", "9" * 40, "%", "\u0669", "'", "a" * 600, "2026-11")
    async with logged_in(host, changes=True) as merchant:
        _, page = await merchant.get("/merchant/shop")
        token = token_in(page)
        for each in garbage:
            for path, name in (
                ("", "search"),
                ("", "before"),
                ("/cards", "before"),
                ("/cards/payments", "before"),
                ("/payments.csv", "month"),
            ):
                status, _ = await merchant.get(f"/merchant/shop{path}", **{name: each})
                assert status < 500, (path, name, each)
            odd = quote(each or "x", safe="")
            assert (await merchant.get(f"/merchant/shop/webhooks/{odd}"))[0] == 404
            again = f"/merchant/shop/webhooks/{odd}/deliveries/{odd}/again"
            assert (await merchant.post(again, form_token=token))[0] in (403, 404)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
