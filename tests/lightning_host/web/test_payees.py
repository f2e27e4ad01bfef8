"""Paying what people paste, through the host: the payee is another host, which is an LNURL server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tests.support.serving import serving

if TYPE_CHECKING:
    from tests.lightning_host.fake_driver import FakeNode
    from tests.lightning_host.hosts import HostBench, RunningHost
    from tests.support.driver import Bench


def paid(answer: Any) -> str | None:
    """Return the payment hash of an answer of either API that says that it was paid."""
    done = answer.get("status") == "Complete" or "recipientAmountSat" in answer
    return answer["paymentHash"] if done else None


async def test_what_people_paste_is_paid(bench: Bench, hosts: HostBench, node: FakeNode) -> None:
    """Each form leads to an invoice over the amount that commits to the payee's metadata, and is paid once."""
    shop = await hosts.host(node, lnurl_client_allowance="30/120")
    sandbox = await bench.sandbox()
    payer = await hosts.host(sandbox, database=hosts.sqlite("payer"), payee_private_addresses=True)
    address = f"shop@{shop.url.partition('//')[2]}"
    _, links = await shop.get("/lnurlp/shop/links")
    link = links["lnurl"]
    answers = [
        await payer.phoenixd("POST", "/paylnaddress", {"amountSat": "50", "address": address, "message": "tea"}),
        await payer.phoenixd("POST", "/lnurlpay", {"amountSat": "51", "lnurl": link}),
        await payer.phoenixd("POST", "/payinvoice", {"amountSat": "52", "invoice": f"lightning:{link}"}),
        await payer.greenfield("POST", "/invoices/pay", {"BOLT11": address, "amount": "53000"}),
    ]
    assert [status for status, _ in answers] == [200] * 4, answers
    assert [paid(answer) for _, answer in answers] == list(node.invoices)
    rows = {row["payment_hash"]: (row["msat"], row["times_executed"]) for row in sandbox.ledger_snapshot()["payments"]}
    assert [rows[made] for made in node.invoices] == [(50_000, 1), (51_000, 1), (52_000, 1), (53_000, 1)]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/paylnaddress", {"address": "ada@shop.example"}, "is needed"),
        ("/paylnaddress", {"amountSat": "5"}, "is missing"),
        ("/lnurlpay", {"amountSat": "5", "lnurl": "lnurlw://shop.example/x"}, "is an LNURL-withdraw link"),
        ("/payinvoice", {"invoice": "bitcoin:bc1qxyz?amount=1"}, "is a BIP21 link without a Lightning invoice"),
        ("/payinvoice", {"invoice": "nonsense"}, "is not a BOLT11"),
        ("/payoffer", {"amountSat": "5", "offer": "lno1xyz"}, "pays no BOLT 12 offers"),
    ],
)
async def test_what_can_not_be_paid_is_told(
    hosts: HostBench, node: FakeNode, path: str, body: dict[str, str], words: str
) -> None:
    """What somebody pasted instead gets words that fit, and nothing is paid."""
    host = await hosts.host(node)
    status, answer = await host.phoenixd("POST", path, body)
    assert (status, words in answer["message"], node.paid_with) == (400, True, [])


async def test_a_payee_must_be_on_the_internet(hosts: HostBench, node: FakeNode) -> None:
    """An address from outside leads to no server of the private network, unless that is allowed."""
    host = await hosts.host(node)
    address = f"shop@{host.url.partition('//')[2]}"
    status, answer = await host.phoenixd("POST", "/paylnaddress", {"amountSat": "5", "address": address})
    assert (status, "it has a private address" in answer["message"]) == (503, True)
    status, answer = await host.greenfield("POST", "/invoices/pay", {"BOLT11": address, "amount": "5000"})
    assert (status, "it has a private address" in answer["message"]) == (503, True)
    assert (node.created, node.paid_with) == ([], [])


async def test_a_payee_leads_nowhere_else(hosts: HostBench, node: FakeNode) -> None:
    """No redirect is followed, and what the payee's server says instead is not believed."""
    host: RunningHost = await hosts.host(node, payee_private_addresses=True)
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    app = web.Application()
    app.router.add_get("/{path:.*}", redirect)
    async with serving(app) as port:
        address = f"ada@127.0.0.1:{port}"
        status, answer = await host.phoenixd("POST", "/paylnaddress", {"amountSat": "5", "address": address})
    assert (status, "does not answer with JSON" in answer["message"]) == (503, True)
    assert (asked, node.paid_with) == (["/.well-known/lnurlp/ada"], [])
