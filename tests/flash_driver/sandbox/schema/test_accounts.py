from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.clients import CAPABLE, CREATE_AMOUNTLESS

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import StartLab

ACCOUNT = """
{
  me {
    id username
    defaultAccount {
      id defaultWalletId displayCurrency realtimePrice { denominatorCurrency }
      wallets {
        __typename id accountId walletCurrency balance isExternal lnurlp pendingIncomingBalance
        transactionsByAddress(address: "x") { edges { cursor } }
      }
    }
  }
}
"""
SEND = """
mutation($input: LnInvoicePaymentInput!) {
  payload: lnInvoicePaymentSend(input: $input) { errors { message code } status }
}
"""


async def _account(lab: Lab, headers: dict[str, str] | None = None) -> Any:
    return (await lab.http(ACCOUNT, headers={**lab.bearer, **(headers or {})})).data["me"]["defaultAccount"]


async def test_an_account_has_one_wallet_by_default(lab: Lab) -> None:
    """A USD wallet with its balance in cents."""
    account = await _account(lab)
    (wallet,) = account["wallets"]
    assert wallet == {
        "__typename": "UsdWallet",
        "id": lab.sandbox.wallet_id,
        "accountId": account["id"],
        "walletCurrency": "USD",
        "balance": 1_000_000,
        "isExternal": False,
        "lnurlp": None,
        "pendingIncomingBalance": 0,
        "transactionsByAddress": {"edges": []},
    }
    assert account["defaultWalletId"] == lab.sandbox.wallet_id


async def test_wallets_are_an_option(start_lab: StartLab) -> None:
    """Bitcoin first, then the cash wallet, which is the default, then one that Flash does not hold."""
    lab = await start_lab(wallets=("USD", "USDT"), btc_wallet=True, external_wallet=True)
    account = await _account(lab)
    shown = [(each["__typename"], each["isExternal"], each["balance"]) for each in account["wallets"]]
    assert shown == [("BTCWallet", False, 1_000_000), ("UsdWallet", False, 1_000_000), ("UsdWallet", True, None)]
    assert account["defaultWalletId"] == lab.sandbox.wallet_ids["USD"] == lab.sandbox.wallet_id


async def test_the_balance_of_a_legacy_bitcoin_wallet_is_an_object(start_lab: StartLab) -> None:
    """Flash answers so for a wallet that nothing credits any more (flash-server.md 3.2)."""
    account = await _account(await start_lab(wallets=("USD", "BTC")))
    balances = {each["walletCurrency"]: each["balance"] for each in account["wallets"]}
    assert balances == {"BTC": {"currencyCode": "USD", "money": ["0", "USD"]}, "USD": 1_000_000}


async def test_a_token_names_its_wallets(start_lab: StartLab) -> None:
    """The same token gives the same account and wallets after a restart; another token gives others."""
    accounts = [await _account(await start_lab(token=f"ory_st_{name}")) for name in ("a", "a", "b")]
    ids = [(each["id"], each["defaultWalletId"]) for each in accounts]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


async def test_the_display_currency_is_an_option(start_lab: StartLab) -> None:
    """The account's own price is in it."""
    account = await _account(await start_lab(display_currency="JPY"))
    assert (account["displayCurrency"], account["realtimePrice"]) == ("JPY", {"denominatorCurrency": "JPY"})


@pytest.mark.parametrize("cutover", ["PRE", "IN_PROGRESS", "COMPLETE", "ROLLED_BACK"])
async def test_the_cutover_is_public(start_lab: StartLab, cutover: str) -> None:
    """Anybody may ask how far the move to USDT is."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover=cutover)
    reply = await lab.http("{ cashWalletCutover { state } }", headers={})
    assert reply.data == {"cashWalletCutover": {"state": cutover}}


async def test_after_the_cutover_a_capable_client_sees_the_new_wallet(start_lab: StartLab) -> None:
    """With the capability header the USDT wallet is shown and default."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    account = await _account(lab, CAPABLE)
    assert [each["walletCurrency"] for each in account["wallets"]] == ["USDT"]
    assert account["defaultWalletId"] == lab.sandbox.wallet_ids["USDT"]


async def test_after_the_cutover_an_old_client_sees_the_new_balance_in_the_old_wallet(start_lab: StartLab) -> None:
    """Without the header the legacy id stands for the USDT wallet: creation is routed there."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    invoice = await lab.invoice(100, walletId=lab.sandbox.wallet_ids["USD"])
    lab.sandbox.pay(invoice["paymentRequest"])
    (entry,) = lab.sandbox.ledger_snapshot()["invoices"]
    assert entry["wallet_id"] == lab.sandbox.wallet_ids["USDT"]
    (wallet,) = (await _account(lab))["wallets"]
    assert (wallet["id"], wallet["balance"]) == (lab.sandbox.wallet_ids["USD"], 1_000_100)


async def test_a_payment_is_not_routed(start_lab: StartLab) -> None:
    """A send with the legacy id draws on the hidden wallet itself."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    order = {
        "walletId": lab.sandbox.wallet_ids["USD"],
        "paymentRequest": lab.sandbox.foreign_invoice(1000).payment_request,
    }
    assert (await lab.http(SEND, input=order)).data["payload"]["status"] == "SUCCESS"
    assert lab.sandbox.ledger_snapshot()["payments"][0]["wallet_id"] == lab.sandbox.wallet_ids["USD"]


MOVING = "Cash Wallet cutover is in progress. Please try again shortly."
FAILED = "Cash Wallet migration needs support review."
MISSING = "USDT Cash Wallet is missing for this account."


@pytest.mark.parametrize(("migration", "words"), [("MOVING", MOVING), ("FAILED", FAILED)])
@pytest.mark.parametrize("capable", [True, False])
async def test_an_account_that_is_being_moved(
    start_lab: StartLab, *, migration: str, words: str, capable: bool
) -> None:
    """Its wallets can't be read and nothing routed is made; its id, amountless invoices and sends go on."""
    lab = await start_lab(wallets=("USD", "USDT"))
    answer = await lab.control("POST", "cutover", {"state": "IN_PROGRESS", "migration": migration})
    assert answer == (200, {})
    lab.bearer |= CAPABLE if capable else {}
    for field in ("defaultWalletId", "wallets { id }"):
        reply = await lab.http(f"{{ me {{ defaultAccount {{ {field} }} }} }}")
        assert (reply.error["message"], reply.error["code"]) == (words, "INVALID_INPUT")
        assert reply.body["data"] == {"me": None}
    assert (await lab.http("{ me { defaultAccount { id } } }")).data["me"]["defaultAccount"]["id"]
    for wallet_id in lab.sandbox.wallet_ids.values():
        assert (await lab.create(walletId=wallet_id))["errors"][0]["message"] == words
    usd = lab.sandbox.wallet_ids["USD"]
    amountless = await lab.http(CREATE_AMOUNTLESS, input={"walletId": usd})
    assert amountless.data["lnNoAmountInvoiceCreate"]["errors"] == []
    order = {"walletId": usd, "paymentRequest": lab.sandbox.foreign_invoice(1000).payment_request}
    assert (await lab.http(SEND, input=order)).data["payload"]["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("state", "migration", "currency"),
    [
        ("PRE", "NOT_BEGUN", "USD"),
        ("IN_PROGRESS", "NOT_BEGUN", "USD"),
        ("IN_PROGRESS", "COMPLETE", "USDT"),
        ("COMPLETE", "NOT_BEGUN", "USDT"),
        ("ROLLED_BACK", "COMPLETE", "USD"),
    ],
)
async def test_the_wallet_that_counts(start_lab: StartLab, state: str, migration: str, currency: str) -> None:
    """A client that understands USDT is shown one cash wallet at each stage, and money goes there."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover=state, migration=migration)
    account = await _account(lab, CAPABLE)
    assert [each["walletCurrency"] for each in account["wallets"]] == [currency]
    await lab.invoice(walletId=lab.sandbox.wallet_ids["USD"])
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["wallet_id"] == lab.sandbox.wallet_ids[currency]


async def test_a_usdt_id_before_the_move_credits_the_hidden_wallet(start_lab: StartLab) -> None:
    """Nothing is routed yet, and nothing warns."""
    lab = await start_lab(wallets=("USD", "USDT"))
    await lab.invoice(walletId=lab.sandbox.wallet_ids["USDT"])
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["wallet_id"] == lab.sandbox.wallet_ids["USDT"]


async def test_an_amountless_invoice_is_not_routed(start_lab: StartLab) -> None:
    """After the move one on the legacy id credits the hidden legacy wallet."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    usd = lab.sandbox.wallet_ids["USD"]
    reply = await lab.http(CREATE_AMOUNTLESS, input={"walletId": usd})
    lab.sandbox.pay(reply.data["lnNoAmountInvoiceCreate"]["invoice"]["paymentRequest"])
    assert lab.sandbox.ledger_snapshot()["invoices"][0]["wallet_id"] == usd


async def test_an_account_that_was_moved_to_nowhere(start_lab: StartLab) -> None:
    """After the move an account without a USDT wallet is of no use."""
    lab = await start_lab(cutover="COMPLETE")
    reply = await lab.http("{ me { defaultAccount { defaultWalletId } } }")
    assert reply.error["message"] == MISSING
    assert (await lab.create())["errors"][0]["message"] == MISSING


async def test_anybody_may_ask_where_to_pay(start_lab: StartLab) -> None:
    """A user name, in any case, gives the cash wallet that counts; the answer follows the capability header."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    query = (
        '{ accountDefaultWallet(username: "Merchant") { id walletCurrency } userDefaultWalletId(username: "merchant") }'
    )
    for headers, currency in (({}, "USD"), (CAPABLE, "USDT")):
        wallet_id = lab.sandbox.wallet_ids[currency]
        assert (await lab.http(query, headers=headers)).data == {
            "accountDefaultWallet": {"id": wallet_id, "walletCurrency": currency},
            "userDefaultWalletId": wallet_id,
        }


async def test_the_capability_can_be_told_on_the_socket(start_lab: StartLab) -> None:
    """As a header of the handshake, or in connection_init."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    query = "{ me { defaultAccount { defaultWalletId } } }"
    told_late = await lab.socket({**lab.bearer, **CAPABLE})
    told_early = await lab.raw_socket(headers={"x-flash-client-capabilities": "other, CASH-WALLET-USDT-V1"})
    await told_early.init(lab.bearer)
    silent = await lab.socket()
    shown = [
        (await socket.ask("1", query))["data"]["me"]["defaultAccount"]["defaultWalletId"]
        for socket in (told_late, told_early, silent)
    ]
    usd, usdt = lab.sandbox.wallet_ids["USD"], lab.sandbox.wallet_ids["USDT"]
    assert shown == [usdt, usdt, usd]


async def test_usdt_invoices_have_the_resolution_of_usdt(start_lab: StartLab) -> None:
    """What is credited is cut to a ten-thousandth of a cent."""
    lab = await start_lab(wallets=("USDT",))
    lab.bearer |= CAPABLE
    await lab.invoice(1.23456789)
    assert Decimal(lab.sandbox.ledger_snapshot()["invoices"][0]["cents"]) == Decimal("1.2346")
