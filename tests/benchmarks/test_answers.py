from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.answers import Answers, ReadyInvoice

INVOICES = [ReadyInvoice(f"lnbcrt{number}", f"{number:064x}") for number in range(2)]
CREATE = b'{"query":"mutation { lnUsdInvoiceCreate(input: $input) { invoice } }"}'
ACCOUNT = b'{"query":"query { me { defaultAccount { id } } }"}'
TOKEN = b"Bearer ory_st_a"


def asked(answers: Answers, request: bytes, token: bytes = TOKEN) -> Any:
    """Ask, and read the answer."""
    return json.loads(answers.answer(request, token))


def created(answers: Answers) -> str:
    """Have an invoice made; gives its BOLT11."""
    payload = asked(answers, CREATE)["data"]["lnUsdInvoiceCreate"]
    assert payload["errors"] == []
    return str(payload["invoice"]["paymentRequest"])


def test_invoices_are_handed_out_once() -> None:
    """Each creation gets another invoice; when they are used up that is an error, unless they go round."""
    once, again = Answers(INVOICES, cycle=False), Answers(INVOICES, cycle=True)
    assert [created(once), created(once)] == ["lnbcrt0", "lnbcrt1"]
    assert "data" not in asked(once, CREATE)
    assert [created(again) for _ in range(3)] == ["lnbcrt0", "lnbcrt1", "lnbcrt0"]
    once.rewind()
    assert created(once) == "lnbcrt0"


def test_payments_show_in_event_and_status() -> None:
    """What was paid is told of by its hash, and is PAID from then on, alone."""
    answers = Answers(INVOICES, cycle=False)
    answers.pay(INVOICES[1].payment_hash)
    event = json.loads(answers.settlement(INVOICES[1].payment_hash, TOKEN))["data"]["myUpdates"]["update"]
    assert (event["paymentHash"], event["status"]) == (INVOICES[1].payment_hash, "PAID")
    assert event["walletId"] == asked(answers, ACCOUNT)["data"]["me"]["defaultAccount"]["defaultWalletId"]
    for number, status in enumerate(("PENDING", "PAID")):
        request = b'{"query":"lnInvoicePaymentStatus","variables":{"input":{"paymentRequest":"lnbcrt%d"}}}' % number
        assert asked(answers, request)["data"]["lnInvoicePaymentStatus"]["status"] == status


def test_each_token_has_its_account_and_all_is_counted() -> None:
    """Two tokens are two accounts with other wallets; the counts say how often each field was asked for."""
    answers = Answers(INVOICES, cycle=False)
    first, same, other = (asked(answers, ACCOUNT, token)["data"]["me"] for token in (TOKEN, TOKEN, b"Bearer ory_st_b"))
    assert first == same
    assert first["defaultAccount"]["id"] != other["defaultAccount"]["id"]
    assert first["defaultAccount"]["defaultWalletId"] != other["defaultAccount"]["defaultWalletId"]
    created(answers)
    assert answers.counts == {"me": 3, "lnUsdInvoiceCreate": 1}
