from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.clients import CAPABLE

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import StartLab

ROWS = """
query($first: Int, $last: Int, $after: String, $walletIds: [WalletId]) {
  me { defaultAccount {
    transactions(first: $first, last: $last, after: $after, walletIds: $walletIds) {
      pageInfo { hasNextPage startCursor endCursor }
      edges { cursor node {
        id createdAt direction memo status settlementAmount settlementFee settlementCurrency settlementDisplayAmount
        initiationVia { ... on InitiationViaLn { paymentHash } }
        settlementVia { ... on SettlementViaLn { preImage } }
      } }
    }
  } }
}
"""
DETAILS = """
query($input: TransactionDetailsInput!) {
  transactionDetails(input: $input) {
    errors { message }
    transactionDetails {
      id accountId amount currency status type fee invoice paymentHash paymentPreimage memo address
    }
  }
}
"""


async def _page(lab: Lab, **variables: Any) -> Any:
    return (await lab.http(ROWS, **variables)).data["me"]["defaultAccount"]["transactions"]


async def _receive(lab: Lab, cents: float, **more: Any) -> Any:
    invoice = await lab.invoice(cents, **more)
    return invoice, lab.sandbox.pay(invoice["paymentRequest"])


async def test_a_receive_is_listed_in_dollars_and_without_its_hash(lab: Lab) -> None:
    """Nothing in the row tells which invoice was paid."""
    await _receive(lab, 250, memo="coffee")
    ((edge),) = (await _page(lab))["edges"]
    row = edge["node"]
    assert (row["settlementAmount"], row["settlementFee"], row["settlementDisplayAmount"]) == (2.5, 0, "2.5")
    assert (row["direction"], row["status"], row["memo"]) == ("RECEIVE", "SUCCESS", None)
    assert row["initiationVia"] == {"paymentHash": ""}
    assert row["settlementVia"] == {"preImage": None}
    assert edge["cursor"] == row["id"]


async def test_usdt_is_listed_in_whole_cents(start_lab: StartLab) -> None:
    """The other currency has the other unit."""
    lab = await start_lab(wallets=("USDT",))
    lab.bearer |= CAPABLE
    await _receive(lab, 250.4)
    assert (await _page(lab))["edges"][0]["node"]["settlementAmount"] == 250


async def test_a_send_is_negative(lab: Lab) -> None:
    """Its direction follows from its sign."""
    await lab.pay(lab.sandbox.foreign_invoice(1_000_000).payment_request)
    row = (await _page(lab))["edges"][0]["node"]
    assert row["settlementAmount"] < 0
    assert row["direction"] == "SEND"


async def test_the_list_is_a_page_of_the_newest(lab: Lab) -> None:
    """The newest come first; there is never a next page."""
    for cents in (100, 200, 300):
        await _receive(lab, cents)
    amounts = {
        (first, last): [
            edge["node"]["settlementAmount"] for edge in (await _page(lab, first=first, last=last))["edges"]
        ]
        for first, last in ((None, None), (2, None), (None, 1))
    }
    assert amounts == {(None, None): [3, 2, 1], (2, None): [3, 2], (None, 1): [1]}
    assert (await _page(lab))["pageInfo"]["hasNextPage"] is False


async def test_an_empty_page_has_no_cursors(lab: Lab) -> None:
    """Nor does a wallet that isn't named show anything."""
    await _receive(lab, 100)
    page = await _page(lab, walletIds=[lab.sandbox.stranger_wallet_id])
    assert page == {"pageInfo": {"hasNextPage": False, "startCursor": None, "endCursor": None}, "edges": []}


async def test_cursors_cannot_be_used(lab: Lab) -> None:
    """Flash wants another kind of id than the ones it hands out."""
    await _receive(lab, 100)
    cursor = (await _page(lab))["pageInfo"]["endCursor"]
    reply = await lab.http(ROWS, after=cursor)
    assert reply.error["code"] == "INVALID_INPUT"


async def test_cash_wallets_are_listed_together(start_lab: StartLab) -> None:
    """Before the move the USDT wallet is hidden; after it the list has both, one wallet after the other."""
    lab = await start_lab(wallets=("USD", "USDT"))
    await _receive(lab, 100, walletId=lab.sandbox.wallet_ids["USDT"])
    await _receive(lab, 200)
    query = "{ me { defaultAccount { wallets { transactions(first: 5) { edges { node { settlementCurrency } } } } } } }"

    async def listed() -> list[list[str]]:
        (wallet,) = (await lab.http(query)).data["me"]["defaultAccount"]["wallets"]
        pages = (wallet["transactions"], await _page(lab))
        return [[edge["node"]["settlementCurrency"] for edge in page["edges"]] for page in pages]

    assert await listed() == [["USD"], ["USD"]]
    lab.sandbox.set_cutover("COMPLETE")
    assert await listed() == [["USDT", "USD"], ["USDT", "USD"]]


async def test_details_of_a_receive_tell_all(lab: Lab) -> None:
    """BOLT11, hash, preimage and memo; the account id is a wallet's, and the amount is in dollars."""
    invoice, preimage = await _receive(lab, 250, memo="coffee")
    row = (await _page(lab))["edges"][0]["node"]
    reply = await lab.http(DETAILS, input={"transactionId": row["id"]})
    assert reply.data["transactionDetails"]["transactionDetails"] == {
        "id": row["id"],
        "accountId": lab.sandbox.wallet_id,
        "amount": 2.5,
        "currency": "USD",
        "status": "completed",
        "type": "RECEIVE",
        "fee": 0,
        "invoice": invoice["paymentRequest"],
        "paymentHash": invoice["paymentHash"],
        "paymentPreimage": preimage,
        "memo": "coffee",
        "address": None,
    }


async def test_details_of_a_send_tell_nothing_of_it(lab: Lab) -> None:
    """Neither hash nor preimage, as at Flash."""
    await lab.pay(lab.sandbox.foreign_invoice(1000).payment_request)
    row = (await _page(lab))["edges"][0]["node"]
    details = (await lab.http(DETAILS, input={"transactionId": row["id"]})).data["transactionDetails"]
    told = details["transactionDetails"]
    assert [told[name] for name in ("invoice", "paymentHash", "paymentPreimage", "memo")] == [None] * 4
    assert told["type"] == "SEND"


async def test_an_unknown_transaction_is_an_error_at_the_top(lab: Lab) -> None:
    """It is the custodian's one error, and there is no data."""
    reply = await lab.http(DETAILS, input={"transactionId": "x"})
    assert (reply.body["data"], reply.error["code"]) == (None, "IBEX_ERROR")
    assert reply.error["path"] == ["transactionDetails", "errors", 0]


async def test_details_are_for_users(lab: Lab) -> None:
    """Nobody is refused; a stranger who knows the id is not, because Flash doesn't look."""
    await _receive(lab, 100)
    transaction_id = (await _page(lab))["edges"][0]["node"]["id"]
    nobody = await lab.http(DETAILS, headers={}, input={"transactionId": transaction_id})
    assert nobody.error["code"] == "NOT_AUTHORIZED"
    stranger = {"Authorization": f"Bearer {lab.sandbox.stranger_token}"}
    seen = await lab.http(DETAILS, headers=stranger, input={"transactionId": transaction_id})
    assert seen.data["transactionDetails"]["errors"] == []


@pytest.mark.parametrize("sats", [1500])
async def test_a_bitcoin_wallet_lists_satoshis(start_lab: StartLab, sats: int) -> None:
    """There the unit is the satoshi, and the display amount a bitcoin's fraction."""
    lab = await start_lab(btc_wallet=True)
    mutation = (
        "mutation($input: LnInvoiceCreateInput!) { lnInvoiceCreate(input: $input) { invoice { paymentRequest } } }"
    )
    order = {"walletId": lab.sandbox.wallet_ids["BTC"], "amount": sats}
    reply = await lab.http(mutation, input=order)
    lab.sandbox.pay(reply.data["lnInvoiceCreate"]["invoice"]["paymentRequest"])
    row = (await _page(lab))["edges"][0]["node"]
    assert (row["settlementAmount"], row["settlementCurrency"], row["settlementDisplayAmount"]) == (
        sats,
        "BTC",
        "0.000015",
    )
