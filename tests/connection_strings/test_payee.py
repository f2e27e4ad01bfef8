"""The conversation with a payee's server: what it may say, how much of it, and what of it is believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from connection_strings.errors import InvalidReply, InvalidRequest
from connection_strings.money import LightMoney
from connection_strings.payee import bolt11_of
from flash_driver.sandbox.bank.signer import InvoiceSigner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

METADATA = '[["text/plain", "for Ada"]]'
TERMS: dict[str, Any] = {
    "tag": "payRequest",
    "callback": "https://shop.example/cb?id=7",
    "minSendable": 1000,
    "maxSendable": 100_000,
    "metadata": METADATA,
    "commentAllowed": 5,
}


class Payee:
    """A payee's server that answers as it is told, in small pieces.

    Attributes:
        terms: What it answers to the first question.
        asked: The URLs that it was asked.

    """

    def __init__(self, terms: bytes | None = None, *, committed: str | None = METADATA, over_msat: int = 0) -> None:
        self.terms = json.dumps(TERMS).encode() if terms is None else terms
        self.asked: list[str] = []
        self._committed = committed
        self._over_msat = over_msat
        self._signer = InvoiceSigner()

    async def ask(self, url: str) -> AsyncGenerator[bytes, None]:
        """Answer."""
        self.asked.append(url)
        body = self.terms
        if "amount=" in url:
            msat = int(url.partition("amount=")[2].partition("&")[0]) + self._over_msat
            hashed = None if self._committed is None else sha256(self._committed.encode()).hexdigest()
            signed = self._signer.sign(
                msat=msat, description="", now=datetime.now(UTC), expiry=timedelta(hours=1), description_hash=hashed
            )
            body = json.dumps({"pr": signed.payment_request}).encode()
        for start in range(0, len(body), 50):
            yield body[start : start + 50]


async def test_a_payee_is_asked_and_checked() -> None:
    """The payee makes an invoice over the amount, beside words for the payee; its callback keeps its own query."""
    payee = Payee()
    bolt11 = await bolt11_of("ada@shop.example", LightMoney.from_sat(50), payee.ask, comment="tea&x")
    assert bolt11.startswith("lnbcrt500n")
    assert payee.asked == [
        "https://shop.example/.well-known/lnurlp/ada",
        "https://shop.example/cb?id=7&amount=50000&comment=tea%26x",
    ]


async def test_an_invoice_that_commits_to_nothing_is_taken() -> None:
    """Flash's custodian drops the hash, and LUD-06 asks for none: every address of Flash makes such invoices."""
    bolt11 = await bolt11_of("ada@shop.example", LightMoney.from_sat(50), Payee(committed=None).ask)
    assert bolt11.startswith("lnbcrt500n")


async def test_a_bolt11_asks_nobody() -> None:
    """What is an invoice already is handed back, and takes no words for the payee."""
    payee = Payee()
    assert await bolt11_of("lightning:lnbc1abc", None, payee.ask) == "lnbc1abc"
    with pytest.raises(InvalidRequest, match="comment"):
        await bolt11_of("lnbc1abc", None, payee.ask, comment="tea")
    assert payee.asked == []


@pytest.mark.parametrize(
    ("sat", "comment", "field"),
    [(None, "", "amount"), (0, "", "amount"), (101, "", "amount"), (50, "coffee", "comment")],
)
async def test_what_the_payee_does_not_take(sat: int | None, comment: str, field: str) -> None:
    """An amount or words that it does not take are refused before it is asked for an invoice."""
    payee, amount = Payee(), None if sat is None else LightMoney.from_sat(sat)
    with pytest.raises(InvalidRequest) as refused:
        await bolt11_of("ada@shop.example", amount, payee.ask, comment=comment)
    assert (refused.value.field, len(payee.asked) < 2) == (field, True)


@pytest.mark.parametrize(
    ("payee", "words"),
    [
        (Payee(committed="[]"), "it commits to other metadata"),
        (Payee(over_msat=1), "over another amount"),
        (Payee(b'{"status": "ERROR", "reason": "closed"}'), "refuses: closed"),
        (Payee(b"<html>"), "does not answer with JSON"),
        (Payee(b"[" * 60_000), "does not answer with JSON"),
        (Payee(b'{"tag": "' + b"x" * 70_000 + b'"}'), "far more than LUD-06 asks for"),
        (Payee(json.dumps({**TERMS, "callback": "http://shop.example/cb"}).encode()), "names no https address"),
        (Payee(json.dumps({**TERMS, "callback": "file:///etc/passwd"}).encode()), "names no https address"),
    ],
)
async def test_a_payee_that_is_not_believed(payee: Payee, words: str) -> None:
    """Another amount, other metadata, nonsense or too much of it: no invoice is handed out."""
    with pytest.raises(InvalidReply, match=words):
        await bolt11_of("ada@shop.example", LightMoney.from_sat(50), payee.ask)
