"""LNURL-pay and Lightning addresses, read by a wallet library that nobody here wrote."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from bolt11 import decode

from connection_strings import BackendUnavailable, LightMoney, LightningError, NotSupported
from connection_strings.bolt11 import bech32
from lightning_host.allowance import Allowance
from tests.lightning_host.hosts import eventually
from tests.lightning_host.needs import need_lnurl
from tests.support.checkouts import KEY
from tests.support.driver import operations

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench

LINK = "/.well-known/lnurlp/shop"
CALLBACK = "/lnurlp/shop/callback"


@pytest.fixture(scope="session")
def lnurl() -> Any:
    """Give the PyPI package `lnurl`."""
    return need_lnurl()


async def link_of(host: RunningHost) -> str:
    """Return the LNURL of the shop, as a QR code shows it."""
    _, links = await host.get("/lnurlp/shop/links")
    return str(links["lnurl"])


async def verified(host: RunningHost, url: str) -> dict[str, Any]:
    """Wait until the host says that an invoice is settled (LUD-21)."""
    assert url.startswith(host.url)
    path = url.removeprefix(host.url)

    async def settled() -> bool:
        return bool((await host.get(path))[1]["settled"])

    await eventually(settled)
    answer: dict[str, Any] = (await host.get(path))[1]
    return answer


# --- the mission's flow ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutations", ["accept", "decline"])
async def test_wallet_scans_pays_and_the_host_knows(bench: Bench, hosts: HostBench, lnurl: Any, mutations: str) -> None:
    """Scan, callback, invoice by the Ory token on either kind of server, payment, and the host hears of it."""
    bearer = "reject" if mutations == "accept" else "accept"
    sandbox = await bench.sandbox(ws_mutations=mutations, http_bearer=bearer)
    host = await hosts.host(sandbox)
    link = await lnurl.handle(await link_of(host))
    assert (link.minSendable, link.commentAllowed) == (1000, 200)
    paying = await lnurl.execute_pay_request(link, 21_000_000, comment="for the coffee")
    assert decode(str(paying.pr)).amount_msat == 21_000_000
    way = "websocket" if mutations == "accept" else "http"
    assert set(operations(sandbox, "lnUsdInvoiceCreateOnBehalfOfRecipient")) == {way}
    sandbox.pay(str(paying.pr))
    assert (await verified(host, str(paying.verify)))["pr"] == str(paying.pr)


async def test_invoice_commits_to_the_metadata_where_the_backend_can(
    hosts: HostBench, node: FakeNode, lnurl: Any
) -> None:
    """A backend that makes description hashes commits to the exact metadata text; its preimage proves the payment."""
    host = await hosts.host(node)
    link = await lnurl.handle(await link_of(host))
    paying = await lnurl.execute_pay_request(link, 10_001)
    bolt11 = decode(str(paying.pr))
    assert bolt11.description_hash == link.metadata.h
    assert node.created[0].amount == LightMoney.from_msat(10_001)
    await node.pay(bolt11.payment_hash)
    answer = await verified(host, str(paying.verify))
    assert sha256(bytes.fromhex(answer["preimage"])).hexdigest() == bolt11.payment_hash


async def test_refusal_is_told_in_a_way_that_the_wallet_reads(hosts: HostBench, node: FakeNode, lnurl: Any) -> None:
    """When the backend is away, the wallet library shows the reason, which tells nothing of the backend."""
    host = await hosts.host(node)
    link = await lnurl.handle(await link_of(host))
    node.broken = BackendUnavailable("creating", {"websocket": "secret-host refused"})
    with pytest.raises(lnurl.LnurlResponseException, match="can't be reached right now; try again"):
        await lnurl.execute_pay_request(link, 1000)


# --- the link -------------------------------------------------------------------------------------------------------


async def test_address_tells_its_terms(hosts: HostBench, node: FakeNode) -> None:
    """The link has bounds, metadata with text and address, and a callback made of the configured URL."""
    host = await hosts.host(
        node, public_url="https://pay.example.com/", title='B & "C"', lnurl_min_sat=5, lnurl_max_sat=50
    )
    status, link = await host.get(LINK, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert status == 200
    assert link == {
        "tag": "payRequest",
        "callback": "https://pay.example.com/lnurlp/shop/callback",
        "minSendable": 5_000,
        "maxSendable": 50_000,
        "metadata": '[["text/plain", "Payment to B & \\"C\\""], ["text/identifier", "shop@pay.example.com"]]',
        "commentAllowed": 200,
    }


async def test_links_are_written_in_each_way(hosts: HostBench, node: FakeNode, lnurl: Any) -> None:
    """LUD-01, LUD-16 and LUD-17 forms lead to the same URL; the library decodes ours."""
    host = await hosts.host(node, public_url="https://pay.example.com")
    _, links = await host.get("/lnurlp/SHOP/links")
    assert links["address"] == "shop@pay.example.com"
    assert links["url"] == "https://pay.example.com/.well-known/lnurlp/shop"
    assert links["lnurlp"] == "lnurlp://pay.example.com/.well-known/lnurlp/shop"
    assert str(lnurl.decode(links["lnurl"]).url) == links["url"]
    assert links["lightning"] == f"lightning:{links['lnurl']}"


@pytest.mark.parametrize("length", range(60, 66))
def test_bech32_is_what_the_library_makes(lnurl: Any, length: int) -> None:
    """Every remainder of bits is encoded as the library encodes it."""
    url = "https://example.com/".ljust(length, "x")
    assert bech32.encode("lnurl", bech32.digits_of(url.encode())).upper() == str(lnurl.encode(url).bech32)


async def test_wallets_in_browsers_may_read_it(hosts: HostBench, node: FakeNode) -> None:
    """Answers and errors carry the CORS header that lets a web wallet read them."""
    host = await hosts.host(node)
    for path in (LINK, CALLBACK, "/.well-known/lnurlp/nobody"):
        async with host.session.get(f"{host.url}{path}") as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_further_addresses_lead_to_the_same_store(hosts: HostBench, node: FakeNode) -> None:
    """A store may have more addresses than its id; capitals make no difference."""
    string = f"type=fake;node={node.name}"
    host = await hosts.host(
        node,
        connection_string=None,
        api_key=None,
        phoenixd_password=None,
        stores={"bakery": {"connection_string": string, "addresses": ["bread", "rolls"]}},
    )
    for name in ("bakery", "bread", "Rolls"):
        assert (await host.get(f"/.well-known/lnurlp/{name}"))[0] == 200
    assert (await host.get("/.well-known/lnurlp/shop"))[0] == 404


async def test_page_shows_address_and_code(hosts: HostBench, node: FakeNode) -> None:
    """The page of an address names it and draws its LNURL; titles are escaped; unknown names have a page, too."""
    host = await hosts.host(node, public_url="https://pay.example.com", title="<script>alert(1)</script>")
    status, page = await host.get("/pay/shop")
    assert status == 200
    assert "shop@pay.example.com" in page
    assert f"lightning:{await link_of(host)}" in page
    assert "<script>alert" not in page
    async with host.session.get(f"{host.url}/pay/shop/code.svg") as response:
        assert (response.status, response.content_type) == (200, "image/svg+xml")
    for path in ("/pay/nobody", "/pay/nobody/code.svg"):
        async with host.session.get(f"{host.url}{path}") as response:
            assert (response.status, response.content_type) == (404, "text/html")


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "amount is missing"),
        ("?amount=", "amount must be a whole number"),
        ("?amount=ten", "amount must be a whole number"),
        ("?amount=-1000", "amount must not be negative"),
        ("?amount=1000.5", "amount must be a whole number"),
        ("?amount=1e6", "amount must be a whole number"),
        ("?amount=0", "amount must be from 1 to 100,000,000 satoshi (told in millisatoshi)"),
        ("?amount=999", "amount must be from 1 to 100,000,000 satoshi (told in millisatoshi)"),
        ("?amount=100000000001", "amount must be from 1 to 100,000,000 satoshi (told in millisatoshi)"),
        ("?amount=" + "9" * 29, f"amount must be from 0 to {21_000_000 * 10**11}"),
        ("?amount=" + "9" * 4000, "amount must be a whole number"),
        ("?amount=1000&comment=" + "x" * 201, "comment must not be longer than 200 characters"),
        ("?amount=1000&comment=%00", "comment has a character that no text has"),
        ("?amount=%0d%0aSet-Cookie:x=1", "amount must be a whole number"),
    ],
)
async def test_bad_query_is_an_lnurl_error(hosts: HostBench, node: FakeNode, query: str, reason: str) -> None:
    """What a wallet asks wrongly is `{"status": "ERROR", "reason": ...}`, and makes no invoice."""
    host = await hosts.host(node)
    assert await host.get(f"{CALLBACK}{query}") == (200, {"status": "ERROR", "reason": reason})
    assert node.created == []


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/lnurlp/nobody",
        "/.well-known/lnurlp/..%2f..%2fetc%2fpasswd",
        "/.well-known/lnurlp/%00",
        "/lnurlp/nobody/callback?amount=1000",
        "/lnurlp/nothing",
        f"/lnurlp/verify/shop/{'0' * 64}",
        "/lnurlp/verify/shop/nonsense",
    ],
)
async def test_unknown_address_or_invoice_is_an_lnurl_error(hosts: HostBench, node: FakeNode, path: str) -> None:
    """A name, path or payment hash that does not exist is 404 with an LNURL error."""
    status, answer = await (await hosts.host(node)).get(path)
    assert (status, answer["status"]) == (404, "ERROR")


async def test_invoices_of_other_apis_are_not_verified(hosts: HostBench, node: FakeNode) -> None:
    """LUD-21 tells a preimage only of an invoice that an LNURL handed out."""
    host = await hosts.host(node)
    _, invoice = await host.greenfield("POST", "/invoices", {"amount": "1000"})
    assert (await host.get(f"/lnurlp/verify/shop/{invoice['id']}"))[0] == 404


async def test_invoice_over_another_amount_is_not_handed_out(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that rounds is caught: the payer gets an error, never an invoice that its wallet has to refuse."""
    host = await hosts.host(node)
    sign = node.signer.sign
    monkeypatch.setattr(node.signer, "sign", lambda **terms: sign(**{**terms, "msat": terms["msat"] + 1}))
    status, answer = await host.get(f"{CALLBACK}?amount=1000")
    assert (status, answer["status"]) == (200, "ERROR")
    assert "exactly this amount" in answer["reason"]


async def test_invoice_for_another_text_is_not_handed_out(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash that is not the metadata's is caught; a missing one is let pass."""
    host = await hosts.host(node)
    sign = node.signer.sign
    monkeypatch.setattr(node.signer, "sign", lambda **terms: sign(**{**terms, "description_hash": "11" * 32}))
    assert (await host.get(f"{CALLBACK}?amount=1000"))[1]["status"] == "ERROR"
    monkeypatch.setattr(node.signer, "sign", lambda **terms: sign(**{**terms, "description_hash": None}))
    assert "pr" in (await host.get(f"{CALLBACK}?amount=1000"))[1]


@pytest.mark.parametrize("error", [NotSupported("hash of secret-host"), LightningError("secret-host said no")])
async def test_reasons_tell_nothing_of_the_wallet(hosts: HostBench, node: FakeNode, error: LightningError) -> None:
    """What anybody may call tells anybody only what they need."""
    host = await hosts.host(node)
    node.broken = error
    _, answer = await host.get(f"{CALLBACK}?amount=1000")
    assert answer["status"] == "ERROR"
    assert "secret-host" not in answer["reason"]


# --- floods ---------------------------------------------------------------------------------------------------------


async def test_flood_of_callbacks_leaves_the_shop_its_invoices(bench: Bench, hosts: HostBench) -> None:
    """Callbacks have a budget of their own: beyond it there is an LNURL error, and the shop still gets invoices."""
    sandbox = await bench.sandbox(rate_limit="20/120")
    host = await hosts.host(sandbox)
    answers = await asyncio.gather(*(host.get(f"{CALLBACK}?amount=1000000&comment={n}") for n in range(30)))
    assert sum("pr" in answer for _, answer in answers) <= 3
    refused = [answer["reason"] for _, answer in answers if "pr" not in answer]
    assert sum(reason.startswith("too many invoices were asked for; try again in ") for reason in refused) == 27
    for _ in range(3):
        assert (await host.greenfield("POST", "/invoices", {"amount": "1000000"}))[0] == 200


async def test_budget_is_shared_by_replicas(hosts: HostBench, node: FakeNode) -> None:
    """Two replicas on one database together make no more invoices for callbacks than one alone."""
    allowance = Allowance(times=4, seconds=60)
    one = await hosts.host(node, lnurl_allowance=allowance, lnurl_client_allowance=None)
    two = await hosts.host(node, lnurl_allowance=allowance, lnurl_client_allowance=None)
    answers = await asyncio.gather(*((one, two)[n % 2].get(f"{CALLBACK}?amount={1000 + n}") for n in range(12)))
    assert sum("pr" in answer for _, answer in answers) == 4
    assert len(node.created) == 4


async def test_one_client_leaves_the_rest_to_others(hosts: HostBench, node: FakeNode, lnurl: Any) -> None:
    """A client that has used its share up is refused; another one, and the cards of the store, are served."""
    host = await hosts.host(node, trusted_proxies="127.0.0.1")
    _, card = await host.request("POST", "/api/v1/stores/shop/flashcards", json={}, headers=KEY)

    async def ask(client: str, path: str, amount: int) -> bool:
        _, answer = await host.get(f"{path}?amount={amount}", headers={"X-Forwarded-For": client})
        return "pr" in answer

    assert [await ask("203.0.113.7", CALLBACK, 1000 * n) for n in range(1, 6)] == [True] * 3 + [False] * 2
    assert [await ask("203.0.113.8", CALLBACK, 1000 * n) for n in range(1, 6)] == [True] * 3 + [False] * 2
    assert [await ask("2001:db8::1", CALLBACK, 1000 * n) for n in range(1, 4)] == [True] * 2 + [False]
    top_up = f"/flashcard-lnurl/{str(lnurl.decode(card['lnurl'])).rpartition('/')[2]}/callback"
    assert await ask("203.0.113.7", top_up, 1000)


async def test_same_request_gets_the_same_invoice(hosts: HostBench, node: FakeNode) -> None:
    """Asking again for the same amount gives the same invoice; another one once it is paid, and to another client."""
    host = await hosts.host(node, trusted_proxies="127.0.0.1")

    async def ask(client: str, query: str) -> str:
        _, answer = await host.get(f"{CALLBACK}?{query}", headers={"X-Forwarded-For": client})
        return str(answer["pr"])

    first = await asyncio.gather(*(ask("203.0.113.7", "amount=5000") for _ in range(9)))
    assert len(set(first)) == 1
    assert await ask("203.0.113.8", "amount=5000") != first[0]
    assert await ask("203.0.113.7", "amount=5000&comment=x") != first[0]
    paid = next(each for each in node.invoices.values() if each.bolt11 == first[0])
    await node.pay(paid.id)

    async def settled() -> bool:
        return bool((await host.get(f"/lnurlp/verify/shop/{paid.id}"))[1]["settled"])

    await eventually(settled)
    assert await ask("203.0.113.7", "amount=5000") != first[0]


async def test_amount_that_can_not_be_made_costs_nothing_twice(
    hosts: HostBench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wallet of whole satoshi is asked for a fraction once: after that fractions are refused before it is asked."""
    host = await hosts.host(node, lnurl_client_allowance=None, lnurl_allowance=None)
    sign = node.signer.sign
    whole = lambda **terms: sign(**{**terms, "msat": -(-terms["msat"] // 1000) * 1000})  # noqa: E731 - one expression
    monkeypatch.setattr(node.signer, "sign", whole)
    for amount in (1500, 1500, 2700, 3100):
        _, answer = await host.get(f"{CALLBACK}?amount={amount}")
        assert "exactly this amount" in answer["reason"]
    assert len(node.created) == 1
    assert "pr" in (await host.get(f"{CALLBACK}?amount=2000"))[1]


async def test_wallets_in_browsers_may_ask_first(hosts: HostBench, node: FakeNode) -> None:
    """Every LNURL path answers the question that a browser asks before a request with headers of its own."""
    host = await hosts.host(node)
    for path in (LINK, CALLBACK, "/lnurlp/shop/links", f"/lnurlp/verify/shop/{'0' * 64}", "/flashcard-lnurl/x"):
        async with host.session.options(f"{host.url}{path}", headers={"Origin": "https://wallet.example"}) as response:
            assert response.status == 204, path
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Access-Control-Allow-Methods"] == "GET"


async def test_thanks_are_cut_as_wallets_count(hosts: HostBench, node: FakeNode) -> None:
    """The message after payment has at most 144 characters, each beyond the basic plane counting as two (LUD-09)."""
    host = await hosts.host(node, title="\N{BANANA}" * 100)
    _, answer = await host.get(f"{CALLBACK}?amount=1000")
    message = answer["successAction"]["message"]
    assert len(message.encode("utf-16-le")) // 2 in (143, 144)
