from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

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
CAPABLE = {"x-flash-client-capabilities": "other, CASH-WALLET-USDT-V1"}
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
    """Any set of currencies, with a default of one's choice and a wallet that Flash does not hold."""
    lab = await start_lab(wallets=("USD", "USDT"), default_wallet="USDT", btc_wallet=True, external_wallet=True)
    account = await _account(lab)
    shown = [(each["__typename"], each["isExternal"], each["balance"]) for each in account["wallets"]]
    assert shown == [
        ("UsdWallet", False, 1_000_000),
        ("UsdtWallet", False, 1_000_000),
        ("BTCWallet", False, 1_000_000),
        ("UsdWallet", True, None),
    ]
    assert account["defaultWalletId"] == lab.sandbox.wallet_ids["USDT"] == lab.sandbox.wallet_id


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


async def test_during_the_cutover_creation_is_refused(start_lab: StartLab) -> None:
    """While the wallet is being moved, nothing is routed anywhere."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="IN_PROGRESS")
    assert (await lab.create())["errors"][0]["code"] == "INVALID_INPUT"


async def test_the_capability_can_be_told_on_the_socket(start_lab: StartLab) -> None:
    """As a header of the handshake, or in connection_init."""
    lab = await start_lab(wallets=("USD", "USDT"), cutover="COMPLETE")
    query = "{ me { defaultAccount { defaultWalletId } } }"
    told_late = await lab.socket({**lab.bearer, **CAPABLE})
    told_early = await lab.raw_socket(headers=CAPABLE)
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
    await lab.invoice(1.23456789)
    assert Decimal(lab.sandbox.ledger_snapshot()["invoices"][0]["cents"]) == Decimal("1.2346")
