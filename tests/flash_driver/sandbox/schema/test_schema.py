from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from graphql import build_schema, parse, validate

from flash_driver.sandbox.schema.schema import flash_schema
from tests.flash_driver.sandbox.clients import CREATE, CREATE_AMOUNTLESS, ME, SEND, STATUS, UPDATES, WATCH

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import StartLab

SCHEMA = build_schema(flash_schema().as_str())

FLASH = [
    CREATE,
    CREATE_AMOUNTLESS,
    ME,
    SEND,
    STATUS,
    UPDATES,
    WATCH,
    "{ cashWalletCutover { state } }",
    '{ realtimePrice(currency: "JMD") { id timestamp denominatorCurrency usdCentPrice { base offset currencyUnit } } }',
    "{ me { defaultAccount { ... on ConsumerAccount { displayCurrency realtimePrice { timestamp } } } } }",
    """
    mutation($input: LnUsdInvoiceCreateOnBehalfOfRecipientInput!) {
      lnUsdInvoiceCreateOnBehalfOfRecipient(input: $input) { errors { code } invoice { paymentHash } }
    }
    """,
    "mutation($i: LnUsdInvoiceFeeProbeInput!) { lnUsdInvoiceFeeProbe(input: $i) { amount invoiceAmount } }",
    """
    mutation($i: LnNoAmountUsdInvoicePaymentInput!) {
      lnNoAmountUsdInvoicePaymentSend(input: $i) { errors { message path code } status }
    }
    """,
    """
    {
      me { defaultAccount { transactions(first: 10) { pageInfo { hasNextPage } edges { cursor node {
        id createdAt direction settlementAmount settlementFee
        initiationVia { ... on InitiationViaLn { paymentHash } }
        settlementVia { ... on SettlementViaLn { preImage } }
      } } } } }
    }
    """,
    "query($i: TransactionDetailsInput!) { transactionDetails(input: $i) { transactionDetails { paymentHash } } }",
]
NOT_FLASH = [
    "{ me { defaultAccount { walletById(walletId: 1) { id } } } }",
    "{ me { defaultAccount { invoices(first: 1) { edges { cursor } } } } }",
    "{ me { defaultAccount { wallets { invoiceByPaymentHash(paymentHash: 1) { paymentHash } } } } }",
    "{ me { defaultAccount { wallets { transactionsByPaymentHash(paymentHash: 1) { id } } } } }",
    "{ transactions(first: 1) { edges { cursor } } }",
    '{ btcToCurrency(amount: 1, currency: "USD") }',
    "{ decodeInvoice(paymentRequest: 1) { amount } }",
    "subscription { myUpdates { update { ... on LnUpdate { transaction { id } } } } }",
    "mutation($i: LnInvoicePaymentInput!) { lnInvoicePaymentSend(input: $i) { status transaction { id } } }",
    "mutation($i: LnUsdInvoiceCreateInput!) { lnUsdInvoiceCreate(input: $i) { invoice { amount } } }",
]


@pytest.mark.parametrize("document", FLASH)
def test_documents_for_flash_are_valid(document: str) -> None:
    """What a driver for Flash may ask validates here."""
    assert validate(SCHEMA, parse(document)) == []


@pytest.mark.parametrize("document", NOT_FLASH)
def test_documents_for_its_relatives_are_not(document: str) -> None:
    """Fields that only Blink has, or that exist nowhere, fail validation as they do at Flash."""
    assert validate(SCHEMA, parse(document))


def test_the_schema_is_built_once() -> None:
    """It is constant, so sandboxes share it."""
    assert flash_schema() is flash_schema()


async def test_two_lightning_mutations_are_too_complex(lab: Lab) -> None:
    """Each costs 120 of 200; the document is refused before anything is executed."""
    fields = " ".join(
        f'{alias}: lnUsdInvoiceCreate(input: {{walletId: "{lab.sandbox.wallet_id}", amount: 1}}) {{ __typename }}'
        for alias in "ab"
    )
    reply = await lab.http(f"mutation {{ {fields} }}")
    assert reply.status == 400
    assert "complexity of 242 exceeds" in reply.error["message"]
    assert lab.sandbox.ledger_snapshot()["invoices"] == []


async def test_complexity_can_be_allowed(start_lab: StartLab) -> None:
    """A sandbox that allows more executes several mutations of one document, each on its own."""
    lab = await start_lab(max_complexity=242)
    fields = " ".join(
        f'{alias}: lnUsdInvoiceCreate(input: {{walletId: "{lab.sandbox.wallet_id}", amount: 1}}) {{ __typename }}'
        for alias in "abc"
    )
    refused = await lab.http(f"mutation {{ {fields} }}")
    assert "complexity of 363 exceeds maximum allowed complexity of 242" in refused.error["message"]
    allowed = await lab.http(f"mutation {{ {fields.partition(' c:')[0]} }}")
    assert set(allowed.data) == {"a", "b"}
    assert len(lab.sandbox.ledger_snapshot()["invoices"]) == 2


async def test_fragments_do_not_hide_complexity(lab: Lab) -> None:
    """What hides in fragments is counted as well, and a fragment that contains itself ends."""
    details = 'transactionDetails(input: {transactionId: "x"}) { errors { message } }'
    query = f"{{ a: {details} ...F ... on Query {{ c: {details} }} }} fragment F on Query {{ ...F b: {details} }}"
    reply = await lab.http(query)
    assert reply.status == 400
    assert any("complexity of 366 exceeds" in error["message"] for error in reply.body["errors"])


async def test_a_document_is_judged_alike_each_time(lab: Lab) -> None:
    """What was wrong with a document is wrong the next time, too, and nothing was added to it meanwhile."""
    query = '{ nothing transactionDetails(input: {transactionId: 1, id: "x"}) { errors { message } } }'
    first, *others = [(await lab.http(query)).body for _ in range(3)]
    assert len(first["errors"]) > 1
    assert others == [first, first]


async def test_a_known_document_is_carried_out_anew(lab: Lab) -> None:
    """The same document makes another invoice each time, of the amount then asked for, and none for a stranger."""
    hashes = {(await lab.invoice(cents))["paymentHash"] for cents in (100, 100, 200)}
    invoices = lab.sandbox.ledger_snapshot()["invoices"]
    assert sorted(Decimal(row["cents"]) for row in invoices) == [100, 100, 200]
    assert hashes == {row["payment_hash"] for row in invoices}
    stranger = await lab.http(CREATE, headers={}, input={"walletId": lab.sandbox.wallet_id, "amount": 100})
    assert stranger.body["data"] is None or stranger.body["data"]["lnUsdInvoiceCreate"]["invoice"] is None
    assert len(lab.sandbox.ledger_snapshot()["invoices"]) == 3


async def test_a_fragment_that_is_missing_costs_nothing(lab: Lab) -> None:
    """Validation tells what is wrong; counting doesn't stumble over it."""
    assert (await lab.http("{ ...Missing }")).error["message"].startswith("Unknown fragment")
