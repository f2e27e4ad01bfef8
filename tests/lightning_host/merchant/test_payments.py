from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from connection_strings import LightMoney
from lightning_host.merchant.csv_file import csv_lines, csv_row
from lightning_host.merchant.payments import Payment
from tests.lightning_host.hosts import eventually
from tests.lightning_host.merchant.merchant import logged_in, paid, sold, zone_at_noon
from tests.support.checkouts import CHECKOUTS, KEY, open_checkout

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.lightning_host.merchant.merchant import Merchant


def takings(page: str) -> list[list[str]]:
    """Return the lines of each sum of a page."""
    part = page[page.index('class="takings"') : page.index("</section>")]
    blocks = [re.sub(r"<[^>]+>", " ", block).replace("&nbsp;", " ") for block in part.split("<h2>")[1:]]
    return [[line for raw in block.splitlines() if (line := " ".join(raw.split()))] for block in blocks]


def shown(page: str) -> list[str]:
    """Return the payment hashes of a page's payments, in their order."""
    return re.findall(r'<dd class="mono">([0-9a-f]{64})</dd>', page)


async def another_code(host: RunningHost, checkout: str, msat: int) -> str:
    """Return the payment hash of another invoice of the same checkout."""
    before = set(await hashes(host))
    status, told = await host.get(f"/checkout-lnurl/{checkout}/callback?amount={msat}")
    assert (status, "pr" in told) == (200, True), told
    (new,) = set(await hashes(host)) - before
    return new


async def hashes(host: RunningHost) -> list[str]:
    """Return the payment hashes of the invoices of a host."""
    _, listed = await host.greenfield("GET", "/invoices")
    return [each["paymentHash"] for each in listed]


async def test_every_payment_counts_once_and_doubles_stand_apart(
    hosts: HostBench, node: FakeNode, database: str
) -> None:
    """Day and month add up what the wallet received, to the millisatoshi; what was paid twice is told beside it."""
    zone = zone_at_noon()
    host = await hosts.host(node, database=database, time_zone=zone)
    checkout = await open_checkout(host, "21000500", externalId="order 17")
    again = await another_code(host, checkout["id"], 21_000_500)
    await paid(host, node, checkout["paymentHash"])
    await paid(host, node, again)
    await sold(host, node, "1000000")
    received = [node.invoices[each].amount_received or LightMoney.ZERO for each in node.settled]
    assert sum(each.msat for each in received) == 21_000_500 * 2 + 1_000_000
    async with logged_in(host) as merchant:
        _, page = await merchant.get("/merchant/shop")
        for title, amount, besides in takings(page):
            name, _, count = title.partition(" ")
            assert name in ("Today", f"{datetime.now(ZoneInfo(zone)):%B}")
            assert (amount, count) == ("22,000 .500 sat", "2 payments")
            assert besides == "21,000.500 sat besides, paid twice: give it back"
        assert page.count("Paid twice") == 1
        assert "order 17" in page


async def test_late_and_short_payments_are_marked(hosts: HostBench, node: FakeNode) -> None:
    """A payment after the checkout's time is marked late, one of less than was asked as that."""
    host = await hosts.host(node)
    late = await open_checkout(host, expirySeconds=1)
    part = await open_checkout(host)

    async def expired() -> bool:
        return bool((await host.get(f"{CHECKOUTS}/{late['id']}", headers=KEY))[1]["status"] == "Expired")

    await eventually(expired)
    await paid(host, node, late["paymentHash"])
    await paid(host, node, part["paymentHash"], LightMoney.from_sat(20_000))
    async with logged_in(host) as merchant:
        _, page = await merchant.get("/merchant/shop")
        assert page.count('<span class="mark">Late</span>') == 1
        assert page.count('<span class="mark">Less than asked</span>') == 1
        assert "of 21,000" in page


async def test_search(hosts: HostBench, node: FakeNode) -> None:
    """A reference, a hash, a receipt as the payer sees it, and an amount each find their payment, and no other."""
    host = await hosts.host(node)
    order = await sold(host, node, "21000000", externalId="A-17")
    other = await sold(host, node, "500000", externalId="17")
    first, second = node.settled
    async with logged_in(host) as merchant:
        for words, expected in (
            ("A-17", [first]),
            ("a-17", []),
            (first, [first]),
            (first[:10].upper(), [first]),
            (order[:12], [first]),
            (other[:12], [second]),
            ("21 000", [first]),
            ("20,900", [first]),
            ("21000 sat", [first]),
            ("20,000", []),
            ("17", [second]),
            ("%", []),
            ("\u0669", []),
            ("", [second, first]),
            ("9" * 16, []),
        ):
            status, page = await merchant.get("/merchant/shop", search=words)
            assert (status, shown(page)) == (200, expected), words


async def test_kinds_and_comments(hosts: HostBench, node: FakeNode) -> None:
    """Address, card and API are told apart, and the payer's comment is there, escaped."""
    host = await hosts.host(node)
    _, card = await host.request("POST", "/api/v1/stores/shop/flashcards", json={"name": "Ada"}, headers=KEY)
    words = '<b onclick="x">\u05e9\u05dc\u05d5\u05dd & thanks'
    assert (await host.get(f"/lnurlp/shop/callback?amount=5000000&comment={quote(words)}"))[0] == 200
    _, checkout = await host.request(
        "POST", f"/api/v1/stores/shop/flashcards/{card['id']}/topups", json={"amount": "3000000"}, headers=KEY
    )
    _, made = await host.greenfield("POST", "/invoices", {"amount": "7000000", "description": "by program"})
    for payment_hash in await hashes(host):
        await paid(host, node, payment_hash)
    async with logged_in(host) as merchant:
        _, page = await merchant.get("/merchant/shop")
        kinds = re.findall(r'<span class="kind">(\w+)</span>', page)
        assert dict(zip(shown(page), kinds, strict=True)) == {
            made["paymentHash"]: "API",
            checkout["paymentHash"]: "Card",
            next(iter(set(node.settled) - {made["paymentHash"], checkout["paymentHash"]})): "Address",
        }
        assert "<b onclick" not in page
        assert "Payment to shop" in page
        assert "text/plain" not in page
        assert "&lt;b onclick=&#34;x&#34;&gt;\u05e9\u05dc\u05d5\u05dd &amp; thanks" in page
        _, cards = await merchant.get("/merchant/shop/cards")
        assert "Ada" in cards
        assert "3,000&nbsp;sat" in cards


async def test_pages_and_file_have_every_payment_once(hosts: HostBench, node: FakeNode) -> None:
    """Going from page to page shows each payment once, also while new ones come; so does the month's file."""
    zone = zone_at_noon()
    host = await hosts.host(node, time_zone=zone)
    made = [(await host.greenfield("POST", "/invoices", {"amount": f"{n}000"}))[1]["paymentHash"] for n in range(1, 62)]
    for payment_hash in made[:-1]:
        await node.pay(payment_hash)
    async with logged_in(host) as merchant:
        await until_shown(merchant, made[-2])
        _, page = await merchant.get("/merchant/shop")
        seen = shown(page)
        older = re.search(r'href="/merchant/shop\?(before=\d+)"', page)
        assert older is not None
        await paid(host, node, made[-1])
        name, _, value = older[1].partition("=")
        _, page = await merchant.get("/merchant/shop", **{name: value})
        seen += shown(page)
        assert seen == made[-2::-1]
        assert "Older" not in page

        status, text = await merchant.get("/merchant/shop/payments.csv", month=f"{datetime.now(ZoneInfo(zone)):%Y-%m}")
        rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
        assert status == 200
        assert [row["payment_hash"] for row in rows] == made
        assert [row["received_sat"] for row in rows] == [f"{n}.000" for n in range(1, 62)]
        for month in ("", "2026-13", "0001-01", "9999-12", "november"):
            assert (await merchant.get("/merchant/shop/payments.csv", month=month))[0] == 422, month
        _, text = await merchant.get("/merchant/shop/payments.csv", month="2009-01")
        assert len(text.splitlines()) == 1


async def until_shown(merchant: Merchant, payment_hash: str) -> None:
    """Wait until a payment is on the page."""

    async def is_there() -> bool:
        return payment_hash in (await merchant.get("/merchant/shop"))[1]

    await eventually(is_there)


async def test_descriptions_that_look_like_lnurl_metadata(hosts: HostBench, node: FakeNode) -> None:
    """Text that begins as LNURL's metadata does is shown, whatever it is, and breaks neither page nor file."""
    host = await hosts.host(node)
    for words in ('[["text/plain", "two teas"]]', '[["text/plain", "\\ud800"]]', "[[" * 2_000):
        asked = {"amount": "21000", "description": words, "expiry": 600, "descriptionHashOnly": True}
        status, invoice = await host.greenfield("POST", "/invoices", asked)
        assert status == 200, invoice
        await paid(host, node, invoice["paymentHash"])
    async with logged_in(host) as merchant:
        status, page = await merchant.get("/merchant/shop")
        assert (status, "two teas" in page, r"\ud800" in page) == (200, True, True)
        assert (await merchant.get("/merchant/shop/payments.csv", month=f"{datetime.now(UTC):%Y-%m}"))[0] == 200


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "  =", '"=', "\uff1d", "\uff20"])
def test_file_holds_no_formula(start: str) -> None:
    """What a payer or a shop wrote is never the beginning of a formula in a spreadsheet, and nothing of it is lost."""
    words = f'{start}HYPERLINK("https://evil.example","x")'
    assert csv_words(words) == [f"'{words}"] * 3


@pytest.mark.parametrize("separator", [";", "\n", "\t", "\r\n"])
def test_file_holds_no_formula_where_semicolons_part_cells(separator: str) -> None:
    """A spreadsheet for which a semicolon or a line within a cell ends that cell finds no formula behind it."""
    first, second, third = csv_words(f'tea{separator} "=1+1;-2')
    assert first == second == third
    cells = re.split(r"[;\t\r\n]+", first)
    assert [cell.lstrip(' "')[0] for cell in cells] == ["t", "'", "'"]
    assert first.replace("'", "") == f'tea{separator} "=1+1;-2'
    assert csv_words("salt; pepper - fine; 2 + 2 = 4") == ["salt; pepper - fine; 2 + 2 = 4"] * 3


def csv_words(words: str) -> list[str]:
    """Return how the file shows words that payer and shop wrote."""
    payment = Payment(
        number=1, payment_hash="0" * 64, paid_at=datetime.now(UTC), kind="API", reference=words, checkout=None,
        description=words, comment=words, fiat=None, asked=None, received=LightMoney.from_msat(1_001), double=False,
        to_give_back=False, late=False,
    )  # fmt: skip
    (row,) = csv.reader(io.StringIO(csv_lines([csv_row(payment, UTC)]).decode(), newline=""))
    assert (row[5], row[6]) == ("", "1.001")
    return row[2:5]


async def test_other_stores_are_not_shown(hosts: HostBench, node: FakeNode) -> None:
    """A login shows its own store's payments only, also by search and in the file."""
    other = {"connection_string": f"type=fake;node={node.name}-other", "api_keys": ["key-of-the-bakery"]}
    host = await hosts.host(node, stores={"bakery": other})
    await sold(host, node, externalId="A-17")
    month = f"{datetime.now(UTC):%Y-%m}"
    async with logged_in(host, "key-of-the-bakery") as merchant:
        assert (await merchant.get("/merchant/shop"))[0] == 404
        for query in ({}, {"search": "A-17"}, {"search": node.settled[0]}, {"search": "21000"}):
            _, page = await merchant.get("/merchant/bakery", **query)
            assert shown(page) == []
        _, text = await merchant.get("/merchant/bakery/payments.csv", month=month)
        assert len(text.splitlines()) == 1
