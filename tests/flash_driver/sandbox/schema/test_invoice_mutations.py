from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import bolt11
import pytest

from tests.flash_driver.sandbox.clients import CREATE, CREATE_AMOUNTLESS, until

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import Clock, StartLab

ON_BEHALF = """
mutation($input: LnUsdInvoiceCreateOnBehalfOfRecipientInput!) {
  payload: lnUsdInvoiceCreateOnBehalfOfRecipient(input: $input) {
    errors { message code } invoice { paymentRequest satoshis }
  }
}
"""
AMOUNTLESS_ON_BEHALF = """
mutation($input: LnNoAmountInvoiceCreateOnBehalfOfRecipientInput!) {
  payload: lnNoAmountInvoiceCreateOnBehalfOfRecipient(input: $input) { errors { message code } invoice { paymentHash } }
}
"""
SATS = """
mutation($input: LnInvoiceCreateInput!) {
  payload: lnInvoiceCreate(input: $input) { errors { message code } invoice { paymentRequest } }
}
"""
SATS_ON_BEHALF = """
mutation($input: LnInvoiceCreateOnBehalfOfRecipientInput!) {
  payload: lnInvoiceCreateOnBehalfOfRecipient(input: $input) { errors { message code } invoice { paymentRequest } }
}
"""
UNEXPECTED = "Unexpected error occurred, please try again or contact support if it persists (code: {}: Unknown error)"
IBEX = {"message": "An error occurred. Contact support if error persists.", "code": "IBEX_ERROR"}


async def _payload(lab: Lab, mutation: str, *, headers: dict[str, str] | None = None, **values: Any) -> Any:
    return (await lab.http(mutation, headers=headers, input=values)).data["payload"]


def _sats(name: str, wallet_id: str) -> dict[str, Any]:
    return {name: wallet_id, "amount": 1234}


async def test_an_invoice_is_real(start_lab: StartLab) -> None:
    """The BOLT11 decodes; hash, secret, memo and amount are right, and the preimage opens the hash."""
    lab = await start_lab(usd_per_btc=Decimal(100_000), spread=Decimal(0))
    invoice = await lab.invoice(12.3456, memo="coffee ☕")
    decoded = bolt11.decode(invoice["paymentRequest"])
    assert decoded.is_regtest()
    assert decoded.payment_hash == invoice["paymentHash"]
    assert decoded.payment_secret == invoice["paymentSecret"]
    assert decoded.description == "coffee ☕"
    assert decoded.amount_msat == 123_456
    assert decoded.expiry == 60
    preimage = lab.sandbox.pay(invoice["paymentRequest"])
    assert sha256(bytes.fromhex(preimage)).hexdigest() == invoice["paymentHash"]
    assert preimage != invoice["paymentSecret"]


async def test_satoshis_are_never_told(lab: Lab) -> None:
    """The field exists and is null; the BOLT11 knows."""
    assert (await lab.invoice())["satoshis"] is None


async def test_the_wallet_is_credited_what_was_asked_for(lab: Lab) -> None:
    """Not what the payer's satoshis are worth, but the cents of the request."""
    invoice = await lab.invoice(12.345678)
    lab.sandbox.pay(invoice["paymentRequest"])
    (entry,) = lab.sandbox.ledger_snapshot()["invoices"]
    assert entry["cents"] == "12.345678"
    assert lab.sandbox.ledger_snapshot()["wallets"][0]["balance"] == "1000012.345678"


@pytest.mark.parametrize("minutes", [None, 0, 1, 60])
async def test_expiry_is_capped_whatever_is_asked(lab: Lab, minutes: int | None) -> None:
    """An invoice lives for a minute, and not longer."""
    invoice = await lab.invoice(expiresIn=minutes)
    assert bolt11.decode(invoice["paymentRequest"]).expiry == 60


async def test_expiry_can_be_shortened_for_tests(start_lab: StartLab) -> None:
    """The cap is an option."""
    lab = await start_lab(invoice_expiry_seconds=2)
    assert bolt11.decode((await lab.invoice())["paymentRequest"]).expiry == 2


async def test_zero_cents_make_an_amountless_invoice(lab: Lab) -> None:
    """Zero is falsy at Flash, so the payer may choose."""
    invoice = await lab.invoice(0)
    assert bolt11.decode(invoice["paymentRequest"]).amount_msat is None


async def test_an_amountless_invoice_brings_what_it_is_paid(start_lab: StartLab) -> None:
    """The custodian converts at the moment of payment."""
    lab = await start_lab(usd_per_btc=Decimal(100_000), spread=Decimal(0))
    reply = await lab.http(CREATE_AMOUNTLESS, input={"walletId": lab.sandbox.wallet_id, "memo": "tip"})
    invoice = reply.data["lnNoAmountInvoiceCreate"]["invoice"]
    lab.sandbox.pay(invoice["paymentRequest"], msat=20_000)
    (entry,) = lab.sandbox.ledger_snapshot()["invoices"]
    assert (entry["msat"], entry["msat_received"], Decimal(entry["cents"])) == (None, 20_000, Decimal(2))


async def test_amountless_invoices_are_not_limited(start_lab: StartLab) -> None:
    """Flash has no rate limit there."""
    lab = await start_lab(rate_limit="1/120")
    for _ in range(3):
        reply = await lab.http(CREATE_AMOUNTLESS, input={"walletId": lab.sandbox.wallet_id})
        assert reply.data["lnNoAmountInvoiceCreate"]["errors"] == []


@pytest.mark.parametrize("cents", [-1, 0.00001, 10**13])
async def test_amounts_the_custodian_cannot_make(lab: Lab, cents: float) -> None:
    """Negative, below a satoshi, or absurd: the custodian's one error."""
    assert (await lab.create(cents))["errors"] == [{**IBEX, "path": None}]


@pytest.mark.parametrize(("memo", "fits"), [("x" * 50, True), ("x" * 51, False)])
async def test_the_custodian_takes_fifty_characters(lab: Lab, memo: str, fits: bool) -> None:  # noqa: FBT001 - a column
    """A longer memo is the custodian's one error."""
    assert (await lab.create(memo=memo))["errors"] == ([] if fits else [{**IBEX, "path": None}])


@pytest.mark.parametrize(
    "values", [{"walletId": "nonsense"}, {"amount": "cents"}, {"memo": "x" * 640}, {"expiresIn": -1}]
)
async def test_malformed_values_are_refused_without_a_code(lab: Lab, values: dict[str, Any]) -> None:
    """A scalar's complaint comes in the payload, with a message and nothing else."""
    payload = await lab.create(**{"cents": 1, **values}) if "amount" not in values else await lab.create(**values)
    (error,) = payload["errors"]
    assert error["message"]
    assert error["code"] is None
    assert payload["invoice"] is None


async def test_wallets_of_others_are_refused_without_a_code(lab: Lab) -> None:
    """Neither a stranger's wallet nor an unknown one; the words tell which it was (flash-server.md 3.4)."""
    for wallet_id, name in (
        (lab.sandbox.stranger_wallet_id, "InvalidWalletForAccountError"),
        ("e3892646-5d0f-47e5-9c6b-c56a4e9a40bd", "CouldNotFindWalletFromIdError"),
    ):
        errors = (await lab.create(walletId=wallet_id))["errors"]
        assert errors == [{"message": UNEXPECTED.format(name), "code": None, "path": None}]


async def test_the_rate_limit_is_that_of_flash(start_lab: StartLab, clock: Clock) -> None:
    """The twenty-first invoice within two minutes is refused, and for five minutes all others."""
    lab = await start_lab(clock=clock)
    for _ in range(20):
        await lab.invoice()
    for _ in range(2):
        assert (await lab.create())["errors"][0]["code"] == "TOO_MANY_REQUEST"
    clock.advance(seconds=300)
    await lab.invoice()


async def test_anybody_can_empty_the_public_bucket_and_no_other(start_lab: StartLab) -> None:
    """Anonymous requests stop the on-behalf mutation; the account itself still creates (flash-server.md 12)."""
    lab = await start_lab(rate_limit="2/120")
    answers = [
        await _payload(lab, ON_BEHALF, headers={}, recipientWalletId=lab.sandbox.wallet_id, amount=5) for _ in range(3)
    ]
    assert [each["errors"] and each["errors"][0]["code"] for each in answers] == [[], [], "TOO_MANY_REQUEST"]
    await lab.invoice()
    assert lab.sandbox.ledger_snapshot()["limits"] == {
        "own": {"used": 1, "blocked": False},
        "public": {"used": 2, "blocked": True},
    }


async def test_what_costs_a_point(start_lab: StartLab) -> None:
    """A refusal by the custodian does; a malformed value, an unknown wallet, a bad document and a 401 do not."""
    lab = await start_lab(rate_limit="5/120")
    await lab.create(memo="x" * 51)
    await lab.create(walletId="nonsense")
    await lab.create(walletId=lab.sandbox.stranger_wallet_id)
    await lab.post({"query": "mutation { lnUsdInvoiceCreate }"}, lab.bearer)
    await lab.http(CREATE, headers={"Authorization": "Bearer wrong"}, input={"walletId": "x", "amount": 1})
    assert lab.sandbox.ledger_snapshot()["limits"]["own"] == {"used": 1, "blocked": False}


async def test_a_slow_custodian_makes_flash_slow(start_lab: StartLab) -> None:
    """An invoice takes as long as the custodian does, and the point is taken before."""
    lab = await start_lab(custodian_seconds=60)
    asking = asyncio.create_task(lab.create())
    await until(lambda: lab.sandbox.ledger_snapshot()["limits"]["own"]["used"] == 1)
    assert not asking.done()
    assert lab.sandbox.ledger_snapshot()["invoices"] == []
    asking.cancel()
    assert (await lab.control("POST", "custodian", {"seconds": 0.01})) == (200, {})
    await lab.invoice()


async def test_the_rate_limit_can_be_turned_off(start_lab: StartLab) -> None:
    """Tests may create as many as they like."""
    lab = await start_lab(rate_limit="off")
    for _ in range(25):
        await lab.invoice()


async def test_anybody_can_create_for_anybody(lab: Lab) -> None:
    """The OnBehalfOfRecipient mutation needs no credentials."""
    payload = await _payload(lab, ON_BEHALF, headers={}, recipientWalletId=lab.sandbox.wallet_id, amount=5)
    assert payload["errors"] == []
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["wallet_id"] == lab.sandbox.wallet_id


async def test_nobody_can_create_for_nobody(lab: Lab) -> None:
    """An unknown recipient has a code where no ownership is checked."""
    unknown = "e3892646-5d0f-47e5-9c6b-c56a4e9a40bd"
    payload = await _payload(lab, ON_BEHALF, recipientWalletId=unknown, amount=5)
    words = UNEXPECTED.format("CouldNotFindWalletFromIdError")
    assert payload["errors"] == [{"message": words, "code": "UNEXPECTED_CLIENT_ERROR"}]


@pytest.mark.parametrize("policy", ["drop", "honour"])
async def test_a_description_hash_is_dropped_or_honoured(start_lab: StartLab, policy: str) -> None:
    """Flash drops it without a word; another server may commit to it."""
    lab = await start_lab(description_hash=policy)
    values: dict[str, Any] = {
        "recipientWalletId": lab.sandbox.wallet_id,
        "amount": 5,
        "memo": "memo",
        "descriptionHash": "ab" * 32,
    }
    payload = await _payload(lab, ON_BEHALF, **values)
    decoded = bolt11.decode(payload["invoice"]["paymentRequest"])
    expected = ("memo", None) if policy == "drop" else (None, "ab" * 32)
    assert (decoded.description, decoded.description_hash) == expected


async def test_flash_has_no_bitcoin_wallets(lab: Lab) -> None:
    """The account's own mutation in satoshis says so in the payload, the public one at the top level."""
    words = "Flash does not support BTC wallets."
    own = await lab.http(SATS, input={"walletId": lab.sandbox.wallet_id, "amount": 1000})
    assert own.data["payload"] == {"errors": [{"message": words, "code": None}], "invoice": None}
    public = await lab.http(SATS_ON_BEHALF, input={"recipientWalletId": lab.sandbox.wallet_id, "amount": 1000})
    assert (public.body["data"], public.error["message"]) == (None, words)
    assert public.error["code"] == "INTERNAL_SERVER_ERROR"


async def test_a_tiny_amount_trips_over_its_own_spelling(start_lab: StartLab) -> None:
    """What JavaScript writes with an exponent fails as it does at Flash, and costs a point."""
    lab = await start_lab(rate_limit="5/120")
    errors = (await lab.create(1e-7))["errors"]
    assert errors[0]["code"] == "UNEXPECTED_CLIENT_ERROR"
    assert "BigIntConversionError: Input string must follow the pattern" in errors[0]["message"]
    assert lab.sandbox.ledger_snapshot()["limits"]["own"]["used"] == 1


async def test_a_closed_account_receives_nothing(lab: Lab) -> None:
    """Neither by its own mutation nor by the public one; both say so."""
    assert await lab.control("POST", "account", {"active": False}) == (200, {})
    public = await _payload(lab, ON_BEHALF, headers={}, recipientWalletId=lab.sandbox.wallet_id, amount=5)
    for errors in ((await lab.create())["errors"], public["errors"]):
        assert (errors[0]["message"], errors[0]["code"]) == ("Account is inactive.", "INVALID_INPUT")
    await lab.control("POST", "account", {"active": True})
    await lab.invoice()


async def test_a_sandbox_may_have_a_bitcoin_wallet(start_lab: StartLab) -> None:
    """With `btc_wallet` the mutations in satoshis are exact, and take no other wallet."""
    lab = await start_lab(btc_wallet=True)
    wallet_id = lab.sandbox.wallet_ids["BTC"]
    for mutation, name in ((SATS, "walletId"), (SATS_ON_BEHALF, "recipientWalletId")):
        payload = await _payload(lab, mutation, **_sats(name, wallet_id))
        payment_request = payload["invoice"]["paymentRequest"]
        assert bolt11.decode(payment_request).amount_msat == 1_234_000
        refused = await _payload(lab, mutation, **_sats(name, lab.sandbox.wallet_id))
        assert refused["errors"][0]["code"] == "INVALID_INPUT"
    lab.sandbox.pay(payment_request)
    assert Decimal(lab.sandbox.ledger_snapshot()["invoices"][-1]["cents"]) == 1234


async def test_a_bitcoin_wallet_takes_no_cents(start_lab: StartLab) -> None:
    """Nor does an external wallet."""
    lab = await start_lab(btc_wallet=True, external_wallet=True)
    assert (await lab.create(walletId=lab.sandbox.wallet_ids["BTC"]))["errors"][0]["code"] == "INVALID_INPUT"
    wallets = (await lab.http("{ me { defaultAccount { wallets { id isExternal } } } }")).data
    (external,) = [each["id"] for each in wallets["me"]["defaultAccount"]["wallets"] if each["isExternal"]]
    assert (await lab.create(walletId=external))["errors"][0]["code"] == "INVALID_INPUT"


async def test_an_amountless_invoice_can_go_to_a_bitcoin_wallet(start_lab: StartLab) -> None:
    """What arrives there is counted in satoshis."""
    lab = await start_lab(btc_wallet=True)
    reply = await lab.http(CREATE_AMOUNTLESS, input={"walletId": lab.sandbox.wallet_ids["BTC"]})
    lab.sandbox.pay(reply.data["lnNoAmountInvoiceCreate"]["invoice"]["paymentRequest"], msat=1500)
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["cents"] == "1.5"


async def test_some_mutations_need_a_node_that_is_gone(lab: Lab) -> None:
    """The amountless variant for others is offline."""
    payload = await _payload(lab, AMOUNTLESS_ON_BEHALF, recipientWalletId=lab.sandbox.wallet_id)
    assert payload["errors"][0]["code"] == "LND_OFFLINE"


@pytest.mark.parametrize("what", ["network", "amount", "payment_hash", "description_hash"])
async def test_a_wrong_invoice_is_wrong_in_one_thing(lab: Lab, what: str) -> None:
    """The fault changes what the client gets; the ledger keeps the right invoice, and the next one is right."""
    lab.sandbox.arm("wrong_invoice", what=what)
    wrong = await lab.invoice(100, memo="memo")
    (entry,) = lab.sandbox.ledger_snapshot()["invoices"]
    right, decoded = bolt11.decode(entry["payment_request"]), bolt11.decode(wrong["paymentRequest"])
    differences = {
        "network": decoded.currency != right.currency,
        "amount": decoded.amount_msat != right.amount_msat,
        "payment_hash": wrong["paymentHash"] != right.payment_hash,
        "description_hash": decoded.description_hash != right.description_hash,
    }
    assert [name for name, different in differences.items() if different] == [what]
    assert (await lab.invoice())["paymentHash"] == lab.sandbox.ledger_snapshot()["invoices"][1]["payment_hash"]


async def test_an_invoice_is_worth_what_it_was_at_its_creation(lab: Lab) -> None:
    """A price that moves afterwards changes neither the BOLT11 nor the credit."""
    invoice = await lab.invoice(100)
    lab.sandbox.set_price(usd_per_btc=Decimal(1))
    lab.sandbox.pay(invoice["paymentRequest"])
    assert Decimal(lab.sandbox.ledger_snapshot()["invoices"][0]["cents"]) == 100


async def test_creation_is_dated_now(lab: Lab) -> None:
    """The BOLT11's timestamp is the server's time."""
    before = int(time.time())
    date = bolt11.decode((await lab.invoice())["paymentRequest"]).date
    assert before <= date <= time.time()


async def test_other_mutations_of_the_document_are_not_hidden(lab: Lab) -> None:
    """The operation is counted under its field's name, not under its alias."""
    await lab.http(
        CREATE.replace("lnUsdInvoiceCreate(", "mine: lnUsdInvoiceCreate("), input={"walletId": "x", "amount": 1}
    )
    assert lab.counted("lnUsdInvoiceCreate", "http") == (1, 1)
