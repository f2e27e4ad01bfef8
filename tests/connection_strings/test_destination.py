"""What people paste to pay somebody: read as what it is, refused with words that fit."""

from __future__ import annotations

from typing import Any

import pytest

from connection_strings.destination import PayLink, read_destination
from connection_strings.errors import InvalidReply, InvalidRequest
from connection_strings.payee import PayTerms, check_payee_invoice, read_pay_terms

LNURL = (
    "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEP"
    "NXSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
)
"""The example of LUD-01."""
URL = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (" lnbc1abc ", "lnbc1abc"),
        ("LIGHTNING:LNBC1ABC", "LNBC1ABC"),
        ("lightning://lnbc1abc", "lnbc1abc"),
        ("bitcoin:bc1qxyz?amount=0.1&lightning=LNBC1ABC", "LNBC1ABC"),
        (LNURL, PayLink(URL)),
        (f"lightning:{LNURL}", PayLink(URL)),
        (f"https://shop.example/?lightning={LNURL}", PayLink(URL)),
        ("lnurlp://shop.example/pay?x=1", PayLink("https://shop.example/pay?x=1")),
        ("Ada@Shop.Example", PayLink("https://shop.example/.well-known/lnurlp/ada")),
        ("ada@127.0.0.1:8080", PayLink("http://127.0.0.1:8080/.well-known/lnurlp/ada")),
        ("ada@abc.onion", PayLink("http://abc.onion/.well-known/lnurlp/ada")),
    ],
)
def test_reads(text: str, meant: str | PayLink) -> None:
    """Each form is read, in any case, with any link around it (LUD-01, 16, 17, BIP 21)."""
    assert read_destination(text) == meant


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a BOLT11, a Lightning address or an LNURL-pay link"),
        ("bitcoin:bc1qxyz?amount=0.1", "is a BIP21 link without a Lightning invoice"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "is an on-chain address"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "is an on-chain address"),
        ("LNO1qgsq", "is a BOLT 12 offer"),
        ("lnurlw://shop.example/x", "is an LNURL-withdraw link"),
        ("keyauth://shop.example/x", "is an LNURL-auth link"),
        ("https://shop.example/menu", "is a web address"),
        (LNURL[:-1] + "P", "is an LNURL with a typing error"),
        ("ada lovelace@shop.example", "looks like a Lightning address"),
        ("lnurlp://", "leads to no https address"),
    ],
)
def test_refuses(text: str, words: str) -> None:
    """What can't be paid is called what it is, not a BOLT11 with a wrong checksum."""
    with pytest.raises(InvalidRequest, match=words):
        read_destination(text)


TERMS: dict[str, Any] = {
    "tag": "payRequest",
    "callback": "https://shop.example/cb?id=1",
    "minSendable": 1000,
    "maxSendable": 5000,
    "metadata": "[]",
}


def test_terms() -> None:
    """A payee's terms say where an invoice over which amounts is to be had."""
    terms = read_pay_terms(TERMS)
    assert terms == PayTerms("https://shop.example/cb?id=1", 1000, 5000, "[]")
    assert terms.invoice_url(2000) == "https://shop.example/cb?id=1&amount=2000"
    with pytest.raises(InvalidRequest, match="from 1000 to 5000 msat"):
        terms.invoice_url(999)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "ERROR", "reason": "closed"},
        {"tag": "withdrawRequest"},
        {"callback": "http://shop.example/"},
        {"callback": None},
        {"minSendable": 0},
        {"maxSendable": 10},
        {"metadata": 5},
    ],
)
def test_bad_terms(changes: dict[str, Any]) -> None:
    """A server that answers anything else is named as the one to blame."""
    with pytest.raises(InvalidReply, match="payee's server"):
        read_pay_terms({**TERMS, **changes})


CAKE = (
    "One piece of chocolate cake, one icecream cone, one pickle, one slice of swiss cheese, one slice of salami, "
    "one lollypop, one piece of cherry pie, one sausage, one cupcake, and one slice of watermelon"
)
INVOICE = (
    "lnbc20m1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq"
    "5rqwzqfqypqhp58yjmdan79s6qqdhdzgynm4zwqd5d7xmw5fk98klysy043l2ahrqs9qrsgq7ea976txfraylvgzuxs8kgcw23ezlrszfnh8r6qtfp"
    "r6cxga50aj6txm9rxrydzd06dfeawfk6swupvz4erwnyutnjq7x39ymw6j38gp7ynn44"
)
"""An example of BOLT 11: 20 mBTC, and the hash of a description."""


def test_a_payees_invoice_is_the_one_asked_for() -> None:
    """Its amount and the hash of the metadata have to fit (LUD-06)."""
    terms = PayTerms("https://shop.example/", 1, 10**12, CAKE)
    assert check_payee_invoice({"pr": INVOICE}, 2_000_000_000, terms) == INVOICE
    with pytest.raises(InvalidReply, match="another amount"):
        check_payee_invoice({"pr": INVOICE}, 1_000_000_000, terms)
    with pytest.raises(InvalidReply, match="other metadata"):
        check_payee_invoice({"pr": INVOICE}, 2_000_000_000, PayTerms("https://shop.example/", 1, 10**12, "[]"))
    for answer in ({"pr": "lnbc1"}, {"pr": None}, {"status": "ERROR", "reason": "sold out"}):
        with pytest.raises(InvalidReply):
            check_payee_invoice(answer, 2_000_000_000, terms)
