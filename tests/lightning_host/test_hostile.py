"""Every route of the application meets what strangers may send: one answer each, never a fault of the host."""

from __future__ import annotations

import gzip
import json
import random
import re
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest
from sqlalchemy import text as sql
from sqlalchemy.exc import SQLAlchemyError

from connection_strings import Secret
from lightning_host.database import Database
from lightning_host.server.app import make_app
from lightning_host.settings import HostSettings
from tests.lightning_host.hosts import API_KEY, PASSWORD
from tests.support.checkouts import KEY, open_checkout
from tests.support.thorough import cases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from lightning_host.client_limits import WrongKeys
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.postgres import PostgresServer

T = TypeVar("T")

CONTROL = "http://127.0.0.1:9/control"
SETTINGS = HostSettings(connection_string=Secret("type=fake;node=routes"))
ROUTES = sorted(
    {
        (route.method, route.resource.canonical)
        for route in make_app(SETTINGS).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
)
WRITING = [route for route in ROUTES if route[0] in ("POST", "PUT", "PATCH", "DELETE")]
TEXTS = (
    "", "x", "0", "-1", "shop", "bakery", "%00", "%ff%fe", "%ed%a0%80", "..%2f..%2fetc%2fpasswd", "%0d%0aX-Evil:1",
    "a" * 300, "0" * 64, "f" * 64, "9" * 40, "1e9", "٣", "%F0%9F%8D%8C", "{7*7}", "<script>", "null", "NaN", "[]",
)  # fmt: skip
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": f"token {API_KEY}"},
    {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)},
    {"Authorization": "Basic \u00fc\u00fc\u00fc"},
    {"Authorization": "Basic /////w=="},
    {"Authorization": "Basic " + "A" * 4000},
    {"Authorization": "token"},
    {"Authorization": "token \u00e9"},
    {"Authorization": "Bearer "},
    {"X-Forwarded-For": "x" * 500},
    {"Cookie": "form=\udce9; form=%00"},
    {"Accept": "text/html"},
    {"If-None-Match": '"' * 20, "Range": "bytes=9-1", "If-Modified-Since": "never"},
    {"Upgrade": "websocket", "Connection": "Upgrade"},
    {"Host": "\u00e9vil"},
)
BODIES: tuple[tuple[str, bytes], ...] = (
    ("application/json", b""),
    ("application/json", b"{}"),
    ("application/json", b"[]"),
    ("application/json", b'{"amount": 1e99999999999999999999}'),
    ("application/json", b'{"amount": -1e-99999999999999999999}'),
    ("application/json", b'{"amount": ' + b"9" * 5000 + b"}"),
    ("application/json", b'{"amount": NaN, "maxFeePercent": Infinity}'),
    ("application/json", b'{"amount": "1000", "description": "\\ud83c"}'),
    ("application/json", b'{"amount": "1000", "externalId": {"a": 1}, "once": "perhaps"}'),
    ("application/json", b'{"BOLT11": "lnbc1", "url": "http://[::1", "secret": 5}'),
    ("application/json", b'{"name": "\\u0000"}'),
    ("application/json", b"[" * 60_000),
    ("application/json", b'{"a":' * 9_000),
    ("application/json", b"\xff\xfe{\x00}\x00"),
    ("application/json; charset=utf-16", b"{}"),
    ("application/x-www-form-urlencoded", b"amountSat=1e9&description=%ED%A0%80"),
    ("application/x-www-form-urlencoded", b"amountSat=5&description=x&expirySeconds=99999999999999999999"),
    ("application/x-www-form-urlencoded", b"form_token=%ff&amount=%00&product=%E9"),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(5000))),
    ("application/x-www-form-urlencoded; charset=punycode", b"a=" + b"x" * 1000),
    ("application/x-www-form-urlencoded", b"invoice=lnbc1&amountSat=0"),
    ("multipart/form-data", b"--x--"),
    ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--"),
    ("text/plain", b"\x00" * 100),
    ("nonsense", b"{}"),
)

BREAK = """CREATE TRIGGER IF NOT EXISTS no BEFORE INSERT ON host_invoices
BEGIN SELECT RAISE(ABORT, 'broken'); END"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have wrong keys answered at once: what slows them down has a test of its own."""
    monkeypatch.setattr("lightning_host.client_limits.WrongKeys.delay", lambda *_: 0.0)


def filled(path: str, chosen: Iterator[str]) -> str:
    """Fill the variables of a path."""
    return re.sub(r"\{[^}]+\}", lambda _: next(chosen) or "x", path)


async def send(host: RunningHost, method: str, path: str, **options: Any) -> tuple[int, str]:
    """Send a request; gives status and body, of an event stream only its head."""
    async with host.session.request(method, f"{host.url}{path}", allow_redirects=False, **options) as response:
        if response.content_type == "text/event-stream":
            return response.status, ""
        return response.status, await response.text(errors="replace")


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_garbage_is_answered(
    hosts: HostBench, node: FakeNode, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    """Whatever a path, query, header or body is, the answer is the client's fault or none; never 5xx."""
    host = await hosts.host(node, sandbox_control=CONTROL, lnurl_client_allowance=None, lnurl_allowance=None)
    checkout = await open_checkout(host)
    _, card = await host.request("POST", "/api/v1/stores/shop/flashcards", json={}, headers=KEY)
    chance = random.Random(f"{method} {path}")  # noqa: S311 - the same cases each time, nothing secret
    known = ("shop", "shop", "BTC", checkout["id"], card["id"], checkout["paymentHash"])
    for _ in range(cases(15, 40)):
        chosen = iter([chance.choice(known if chance.random() < 0.6 else TEXTS) for _ in range(5)])
        query = "&".join(
            f"{chance.choice(('amount', 'comment', 'skip', 'take', 'limit', 'externalId', 'pendingOnly', 'x'))}="
            f"{chance.choice(TEXTS)}"
            for _ in range(chance.randrange(3))
        )
        kind, body = chance.choice(BODIES)
        headers = {**chance.choice(HEADERS)}
        options: dict[str, Any] = {"headers": headers}
        if method in ("POST", "PUT", "PATCH", "DELETE"):
            headers["Content-Type"] = kind
            options["data"] = body
        target = f"{filled(path, chosen)}?{query}"
        try:
            status, text = await send(host, method, target, **options)
        except (aiohttp.ClientConnectionError, UnicodeEncodeError):
            continue  # it is no HTTP, and the client or the server has seen that at once
        assert status < 500, (method, target, headers, body[:100], text)
        assert "Traceback" not in text
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@cache
def bomb() -> bytes:
    """Return 60 kB that would be 60 MB."""
    return gzip.compress(b"a" * 60_000_000)[:60_000]


@pytest.mark.parametrize(("method", "path"), [route for route in WRITING if route[0] != "DELETE"])
async def test_bodies_that_cost_more_than_their_size(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """A compressed body, or one in another charset than UTF-8, is 415 on every route that reads one."""
    monkeypatch.setattr(zlib, "decompressobj", None)
    host = await hosts.host(node, sandbox_control=CONTROL)
    _, card = await host.request("POST", "/api/v1/stores/shop/flashcards", json={}, headers=KEY)
    checkout = await open_checkout(host)
    by_name = {"{store}": "shop", "{crypto_code}": "BTC", "{card}": card["id"], "{checkout}": checkout["id"]}
    target = re.sub(r"\{[^}]+\}", lambda found: by_name.get(found[0], "x"), path)
    of_api = path.startswith("/api/")
    kind = "application/json" if of_api else "application/x-www-form-urlencoded"
    auth = KEY if of_api else {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    heavy: tuple[tuple[dict[str, str], bytes], ...] = (
        ({"Content-Type": kind, "Content-Encoding": "gzip"}, bomb()),
        ({"Content-Type": kind, "Content-Encoding": "deflate"}, b"broken"),
        ({"Content-Type": f"{kind}; charset=punycode"}, b"a" * 60_000),
        ({"Content-Type": f"{kind}; charset=nonsense"}, b"{}"),
    )
    for headers, body in heavy:
        status, text = await send(host, method, target, data=body, headers={**auth, **headers})
        reads_no_body = {"/connect", "/channels", "/address", "/redeliver", "/payoffer"}
        expected = (400, 404) if any(path.endswith(each) for each in reads_no_body) else (415,)
        assert status in (*expected, 404) if "{webhook}" in path else status in expected, (target, text)


@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_foreign_pages_change_nothing(hosts: HostBench, node: FakeNode, foreign: dict[str, str]) -> None:
    """What a page of another site has a browser send is 403 on every route that changes something, keys or not."""
    host = await hosts.host(node, sandbox_control=CONTROL, wait=False)
    for method, path in WRITING:
        auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)} if not path.startswith("/api/") else KEY
        target = re.sub(r"\{[^}]+\}", "shop", path)
        status, text = await send(host, method, target, headers={**auth, **foreign})
        assert status == 403, (method, target, text)
        assert node.created == [], (method, target)


async def test_own_pages_and_programs_are_served(hosts: HostBench, node: FakeNode) -> None:
    """A page of this host, by either of its names, and a program that tells no origin, are let through."""
    host = await hosts.host(node, public_url="https://pay.example.com")
    for headers in (
        {},
        {"Origin": "https://pay.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Origin": host.url, "Sec-Fetch-Site": "none"},
    ):
        body = {"amount": "1000"}
        assert (await send(host, "POST", "/api/v1/stores/shop/checkouts", json=body, headers={**KEY, **headers}))[
            0
        ] == 200


async def test_foreign_pages_open_no_socket(hosts: HostBench, node: FakeNode) -> None:
    """The WebSocket of phoenixd's API opens to programs, and to no page of another site."""
    host = await hosts.host(node)
    auth = {"Authorization": aiohttp.encode_basic_auth("", PASSWORD)}
    async with host.session.ws_connect(f"{host.url}/websocket", headers=auth):
        pass
    for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await host.session.ws_connect(f"{host.url}/websocket", headers={**auth, **foreign})


async def test_keys_that_do_less(hosts: HostBench, node: FakeNode) -> None:
    """A receive-only key makes and sees invoices, a read-only one sees them: all else is 403 and says why."""
    host = await hosts.host(node, receive_key="key-that-only-receives", read_key="key-that-only-reads")
    for method, path in (route for route in ROUTES if route[1].startswith("/api/")):
        target = path.replace("{store}", "shop").replace("{crypto_code}", "BTC")
        target = re.sub(r"\{[^}]+\}", "0" * 64, target)
        for_any_key = re.search(r"/(api-keys/current|health|server/info)$", path)
        may_read = method == "GET" and (for_any_key or re.search(r"/(invoices|checkouts|flashcards)", path))
        receiving = ("/BTC/invoices", "/checkouts", "/topups")
        may_receive = may_read or (method == "POST" and target.endswith(receiving))
        for key, allowed in (("key-that-only-receives", may_receive), ("key-that-only-reads", may_read)):
            status, text = await send(host, method, target, headers={"Authorization": f"token {key}"})
            answer = json.loads(text)
            assert (status != 403) is bool(allowed), (target, key, answer)
            if not allowed:
                assert answer["code"] == "missing-permission"
                assert answer["missingPermission"].startswith("btcpay.store.")


async def test_limited_password_does_all_but_paying(hosts: HostBench, node: FakeNode) -> None:
    """The limited password of phoenixd's API makes and sees invoices; paying is 401 with it, as phoenixd has it."""
    limited = "password-that-can-not-pay"
    host = await hosts.host(node, phoenixd_limited_password=limited)
    form = {"amountSat": "5", "description": "x"}
    assert (await host.phoenixd("POST", "/createinvoice", form, password=limited))[0] == 200
    for path in ("/getinfo", "/getbalance", "/payments/incoming", "/payments/outgoing"):
        assert (await host.phoenixd("GET", path, password=limited))[0] == 200
    invoice = await node_invoice(node)
    assert (await host.phoenixd("POST", "/payinvoice", {"invoice": invoice}, password=limited))[0] == 401
    assert node.paid_with == []
    assert (await host.phoenixd("POST", "/payinvoice", {"invoice": invoice}))[0] == 200


async def node_invoice(node: FakeNode) -> str:
    """Return a BOLT11 to pay."""
    return next(iter(node.invoices.values())).bolt11


async def test_wrong_keys_are_slowed_down(hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way in counts wrong keys of one client, whichever way they are tried; a right key is not counted."""
    counted: list[str] = []

    def count(_: WrongKeys, client: str) -> float:
        counted.append(client)
        return 0.0

    monkeypatch.setattr("lightning_host.client_limits.WrongKeys.delay", count)
    host = await hosts.host(node, metrics_token="token-of-the-operator")
    await host.greenfield("GET", "/info", key="wrong")
    await host.phoenixd("GET", "/getinfo", password="wrong")
    await host.get("/api/v1/stores/shop/checkouts", headers={"Authorization": "token wrong"})
    await host.get("/metrics", headers={"Authorization": "Bearer wrong"})
    assert counted == ["127.0.0.1"] * 4
    await host.greenfield("GET", "/info")
    await host.phoenixd("GET", "/getinfo")
    await host.get("/metrics", headers={"Authorization": "Bearer token-of-the-operator"})
    await host.get("/api/v1/stores/shop/checkouts")
    assert len(counted) == 4


async def test_metrics_are_read_by_a_name_of_loopback_only(hosts: HostBench, node: FakeNode) -> None:
    """A page that reaches loopback by a name of its own (DNS rebinding), or from another site, reads no metrics."""
    host = await hosts.host(node)
    for good in (f"127.0.0.1:{host.settings.port}", "localhost", "[::1]:80"):
        assert (await host.get("/metrics", headers={"Host": good}))[0] == 200, good
    for bad in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", ""):
        assert (await host.get("/metrics", headers={"Host": bad}))[0] in (400, 403), bad
    assert (await host.get("/metrics", headers={"Origin": "https://evil.example"}))[0] == 403


async def test_static_files_are_known_by_name(hosts: HostBench, node: FakeNode) -> None:
    """Each file of `static/` is served under its name, and no other name of any length is a fault of the host."""
    host = await hosts.host(node)
    for name in ("x" * 300, "x" * 5000, "%00", "%2e%2e%2fsettings.py", "checkout.js%00"):
        assert (await host.get(f"/static/{name}"))[0] == 404, name[:20]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_errors_of_the_database_quote_no_values(kind: str, request: pytest.FixtureRequest) -> None:
    """What stands in a statement, such as a payer's words, is not in an error's words, which may stand in a log."""
    url = "sqlite:///:memory:" if kind == "sqlite" else request.getfixturevalue("postgres").new_database()
    database, wrong = await Database.open(Secret(url)), sql("SELECT :words FROM nowhere")
    with pytest.raises(SQLAlchemyError) as raised:
        await database.read(lambda connection: connection.execute(wrong, {"words": "very-private-words"}))
    await database.aclose()
    assert "very-private-words" not in str(raised.value)


async def test_words_of_payers_stand_in_no_log(
    hosts: HostBench, node: FakeNode, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment is in no log line, also when the database fails in a way that nobody foresaw while it is written."""
    caplog.set_level("DEBUG")
    host = await hosts.host(node)
    write = Database.write

    async def broken(self: Database, work: Callable[[Connection], T]) -> T:
        await write(self, lambda connection: connection.execute(sql(BREAK)))
        return await write(self, work)

    monkeypatch.setattr(Database, "write", broken)
    status, _ = await host.get("/lnurlp/shop/callback?amount=1000&comment=very-private-words")
    assert status >= 500 or status == 200
    assert "broken" in caplog.text
    assert "very-private-words" not in caplog.text


async def test_names_with_a_character_that_no_text_has(
    hosts: HostBench, node: FakeNode, postgres: PostgresServer
) -> None:
    """A path with a NUL leads to nothing, also on PostgreSQL, which can keep none."""
    host = await hosts.host(node, database=postgres.new_database())
    for path in ("/checkout/", "/flashcards/", "/flashcard-tap/", "/flashcard-lnurl/", "/lnurlp/", "/merchant/"):
        assert (await host.get(f"{path}a%00"))[0] == 404, path
