from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import bolt11
import pytest

from connection_strings import LightMoney
from lightning_host.allowance import Allowance
from tests.lightning_host.checkout.test_pages import NASTY
from tests.lightning_host.hosts import eventually
from tests.support.checkouts import KEY, browser, token_in
from tests.support.driver import operations

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

lnurl: Any = pytest.importorskip("lnurl", reason="lnurl has no release for this Python")
CARDS = "/api/v1/stores/shop/flashcards"
OTHER = {"connection_string": "type=fake;node=other", "api_keys": ["key-of-the-bakery"]}


async def make_card(host: RunningHost, name: str = "Ada") -> dict[str, Any]:
    """Make a card as a shop does."""
    status, card = await host.request("POST", CARDS, json={"name": name}, headers=KEY)
    assert status == 200, card
    assert isinstance(card, dict)
    return card


async def scan(card: dict[str, Any], msat: int, comment: str | None = None) -> str:
    """Scan the card with a real LNURL client; gives the BOLT11 that it got and has checked."""
    link = await lnurl.handle(card["lnurl"])
    action = await lnurl.execute_pay_request(link, msat, comment=comment)
    return str(action.pr)


async def look_up(host: RunningHost, card: dict[str, Any]) -> dict[str, Any]:
    """Ask for the card as a shop does."""
    _, found = await host.get(f"{CARDS}/{card['id']}", headers=KEY)
    assert isinstance(found, dict)
    return found


async def until_balance(host: RunningHost, card: dict[str, Any], msat: int) -> None:
    """Wait until the card has this balance."""

    async def has() -> bool:
        return bool((await look_up(host, card))["balance"] == str(msat))

    await eventually(has)


async def history(host: RunningHost, card: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask what was paid to the card."""
    _, told = await host.get(f"{CARDS}/{card['id']}/history", headers=KEY)
    assert isinstance(told, list)
    return told


def payment_hash(request: str) -> str:
    """Read the payment hash of a BOLT11."""
    return bolt11.decode(request).payment_hash


@pytest.mark.parametrize(
    ("ws_mutations", "http_bearer", "transport"),
    [("accept", "reject", "websocket"), ("decline", "accept", "http")],
)
async def test_scan_pay_and_see_the_balance_grow(
    hosts: HostBench, bench: Bench, ws_mutations: str, http_bearer: str, transport: str
) -> None:
    """The mission's flow: scan, invoice over the WebSocket with the Ory token, pay; balance and page grow."""
    sandbox = await bench.sandbox(ws_mutations=ws_mutations, http_bearer=http_bearer)
    host = await hosts.host(sandbox)
    card = await make_card(host)
    assert card["balance"] == "0"
    pr = await scan(card, 21_000_000)
    assert bolt11.decode(pr).amount_msat == 21_000_000
    assert set(operations(sandbox, "lnUsdInvoiceCreateOnBehalfOfRecipient")) == {transport}
    sandbox.pay(pr)
    await until_balance(host, card, 21_000_000)
    _, html = await host.get(f"/flashcards/{card['id']}")
    assert "21,000" in html
    (entry,) = await history(host, card)
    assert (entry["amount"], entry["way"], entry["paymentHash"]) == ("21000000", "lnurl", payment_hash(pr))


async def test_page_hears_of_the_payment(hosts: HostBench, node: FakeNode) -> None:
    """An open page, at another replica, is told the new balance and what came."""
    one, two = await hosts.host(node), await hosts.host(node)
    card = await make_card(one)
    pr = await scan(card, 5_000_000, "for Ada")
    async with two.session.get(f"{two.url}/flashcards/{card['id']}/events") as stream:
        await stream.content.readuntil(b'"balance": "0"')
        await node.pay(payment_hash(pr))
        told = await stream.content.readuntil(b"\n\n")
        while b'"balance": "5,000"' not in told:
            told = await stream.content.readuntil(b"\n\n")
        assert b"for Ada" in told
    assert (await two.get(f"/flashcards/{card['id']}/state"))[1]["balance"] == "5,000"


async def test_each_payment_counts_once(hosts: HostBench, node: FakeNode) -> None:
    """Replicas, repeated events and restarts do not credit twice; payments while all are down are credited."""
    one, two = await hosts.host(node), await hosts.host(node)
    card = await make_card(one)
    first, second = await scan(card, 1_000_000), await scan(card, 2_000_000)
    await node.pay(payment_hash(first))
    node.settled += [payment_hash(first)] * 3
    await node.ring()
    await until_balance(two, card, 1_000_000)
    await one.stop()
    await two.stop()
    await node.pay(payment_hash(second))
    node.settled += [payment_hash(first), payment_hash(second)]
    three = await hosts.host(node)
    await until_balance(three, card, 3_000_000)
    third = await scan(await look_up(three, card), 4_000)
    await node.pay(payment_hash(third))
    await until_balance(three, card, 3_004_000)
    assert [entry["amount"] for entry in await history(three, card)] == ["4000", "2000000", "1000000"]


async def test_top_up_through_a_checkout(hosts: HostBench, node: FakeNode) -> None:
    """The form on the page leads to a checkout; once paid, also twice, all of it is on the card."""
    host = await hosts.host(node)
    card = await make_card(host)
    page = f"{host.url}/flashcards/{card['id']}"
    async with browser() as session:
        async with session.get(page) as response:
            form = {"form_token": token_in(await response.text()), "amount": "5000"}
        async with session.post(f"{page}/topup", data=form) as response:
            assert response.url.path.startswith("/checkout/")
            assert page in await response.text()
        for forged, expected in (
            ({"amount": "5000"}, 403),
            ({**form, "amount": "0"}, 422),
            ({**form, "amount": "1.5"}, 422),
            ({**form, "amount": ""}, 422),
            ({**form, "amount": "100000001"}, 422),
        ):
            async with session.post(f"{page}/topup", data=forged) as response:
                assert response.status == expected
    await node.pay(next(iter(node.invoices)))
    await until_balance(host, card, 5_000_000)
    status, checkout = await host.request("POST", f"{CARDS}/{card['id']}/topups", json={"amount": "7000"}, headers=KEY)
    assert (status, checkout["flashcardId"]) == (200, card["id"])
    await node.pay(checkout["paymentHash"], amount=LightMoney.from_msat(9000))
    await until_balance(host, card, 5_009_000)
    assert {entry["way"] for entry in await history(host, card)} == {"checkout"}


async def test_top_ups_have_the_budget_of_anybody(hosts: HostBench, node: FakeNode) -> None:
    """Forms and scans share the budget of anonymous invoices; beyond it both say when to come back."""
    host = await hosts.host(node, lnurl_allowance=Allowance(times=1, seconds=600))
    card = await make_card(host)
    await scan(card, 1_000)
    page = f"{host.url}/flashcards/{card['id']}"
    async with browser() as session:
        async with session.get(page) as response:
            form = {"form_token": token_in(await response.text()), "amount": "5000"}
        async with session.post(f"{page}/topup", data=form) as response:
            assert response.status == 429
            assert int(response.headers["Retry-After"]) > 0
    with pytest.raises(lnurl.LnurlResponseException):
        await scan(card, 2_000)
    assert len(node.invoices) == 1


async def test_amount_out_of_bounds_is_told_on_a_page(hosts: HostBench, node: FakeNode) -> None:
    """A customer who gets past the browser's own check reads which field is wrong, and why."""
    host = await hosts.host(node, lnurl_max_sat=1_000)
    page = f"{host.url}/flashcards/{(await make_card(host))['id']}"
    async with browser() as session:
        async with session.get(page) as response:
            form = {"form_token": token_in(await response.text()), "amount": "1001"}
        async with session.post(f"{page}/topup", data=form) as response:
            assert (response.status, "Amount must be from 1 to 1000." in await response.text()) == (422, True)
    assert node.created == []


async def test_whoever_scans_learns_no_balance(hosts: HostBench, node: FakeNode) -> None:
    """The LNURL leads to the card's name and not to its page."""
    host = await hosts.host(node)
    card = await make_card(host, "Ada's lunch")
    link = await lnurl.handle(card["lnurl"])
    assert link.metadata.text == "Top up flashcard Ada's lunch"
    assert card["id"] not in link.model_dump_json()
    address = str(link.callback).rsplit("/", 2)[1]
    assert (await host.get(f"/flashcards/{address}"))[0] == 404


@pytest.mark.parametrize("amount", ["", "0", "999", "-1000", "1000.5", "1e6", "abc", "100000000001", "9" * 40])
async def test_amounts_out_of_bounds(hosts: HostBench, node: FakeNode, amount: str) -> None:
    """An amount that can't be is LNURL's error, and makes no invoice."""
    host = await hosts.host(node)
    card = await make_card(host)
    link = await lnurl.handle(card["lnurl"])
    async with host.session.get(str(link.callback), params={"amount": amount}) as response:
        told = await response.json()
    assert told["status"] == "ERROR"
    assert "amount" in told["reason"]
    assert node.invoices == {}


async def test_unknown_cards(hosts: HostBench, node: FakeNode) -> None:
    """An unknown card is told by each group in its own words."""
    host = await hosts.host(node, stores={"bakery": OTHER})
    card = await make_card(host)
    for path in ("", "/state", "/events", "/code.svg"):
        assert (await host.get(f"/flashcards/unknown{path}"))[0] == 404
    assert (await host.request("POST", "/flashcards/unknown/topup", data={"amount": "1"}))[0] == 404
    for path in ("", "/callback?amount=1000"):
        status, told = await host.get(f"/flashcard-lnurl/unknown{path}")
        assert (status, told["status"]) == (404, "ERROR")
    bakery = {"Authorization": "token key-of-the-bakery"}
    for headers, base, expected in ((KEY, CARDS, 200), ({}, CARDS, 401), (bakery, CARDS, 403)):
        assert (await host.get(f"{base}/{card['id']}", headers=headers))[0] == expected
    assert (await host.get(f"/api/v1/stores/bakery/flashcards/{card['id']}", headers=bakery))[0] == 404
    assert (await host.get(f"{CARDS}/{card['id']}/history?take=1000", headers=KEY))[0] == 422


async def test_cards_are_listed(hosts: HostBench, node: FakeNode) -> None:
    """A store's cards are listed page by page."""
    host = await hosts.host(node)
    made = {(await make_card(host, name))["id"] for name in ("a", "b", "c")}
    _, listed = await host.get(CARDS, headers=KEY)
    assert {card["id"] for card in listed} == made
    _, rest = await host.get(f"{CARDS}?skip=1&take=5", headers=KEY)
    assert rest == listed[1:]


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\x00", 5, ["a"]])
async def test_names_that_can_not_be(hosts: HostBench, node: FakeNode, name: object) -> None:
    """A name is one line of visible characters, and not a long one."""
    host = await hosts.host(node)
    assert (await host.request("POST", CARDS, json={"name": name}, headers=KEY))[0] == 422


async def test_names_and_comments_stay_texts(hosts: HostBench, node: FakeNode) -> None:
    """Markup in a card's name or a payer's comment is shown and not run."""
    host = await hosts.host(node)
    nasty = NASTY.rstrip("\u2028")
    card = await make_card(host, nasty)
    pr = await scan(card, 1_000, nasty)
    await node.pay(payment_hash(pr))
    await until_balance(host, card, 1_000)
    _, html = await host.get(f"/flashcards/{card['id']}")
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2


async def test_payments_side_by_side(hosts: HostBench, node: FakeNode) -> None:
    """Many payments to one card at once, heard by two replicas, add up."""
    free: dict[str, Any] = {"lnurl_allowance": None, "lnurl_client_allowance": None}
    one, two = await hosts.host(node, **free), await hosts.host(node, **free)
    card = await make_card(one)
    requests = [await scan(card, 1_000 * (number + 1)) for number in range(20)]
    await asyncio.gather(*(node.pay(payment_hash(each)) for each in requests))
    await until_balance(two, card, sum(1_000 * (number + 1) for number in range(20)))
    assert len(await history(one, card)) == 20
