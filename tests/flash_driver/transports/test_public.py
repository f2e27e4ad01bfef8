"""The public way: only for wallets that the account itself names, and never with a credential."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from connection_strings import ConnectionString
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import (
    ACCOUNT,
    BALANCE,
    FEE_PROBE,
    INVOICE_CREATE_BTC,
    INVOICE_CREATE_NO_AMOUNT,
    INVOICE_CREATE_ON_BEHALF,
    INVOICE_CREATE_USD,
    ME,
    PAY,
    PRICE,
    TRANSACTIONS,
)
from flash_driver.flash_api.outcomes import Answer, Cause, NotConnected, NotExecuted
from flash_driver.settings.account import FlashSettings
from flash_driver.transports.base import perform
from flash_driver.transports.transport_set import TransportSet
from tests.support.driver import operations
from tests.support.web import Reply, posted, replying

if TYPE_CHECKING:
    from flash_driver.flash_api.documents import Document
    from flash_driver.flash_api.outcomes import Evidence
    from flash_driver.sandbox import Sandbox
    from tests.support.driver import Bench

IN_PUBLIC = str(INVOICE_CREATE_ON_BEHALF.field)


def soon() -> Deadline:
    """Return a deadline that a working driver never sees."""
    return Deadline.after(20)


async def carried(sandbox: Sandbox, document: Document, **variables: object) -> Evidence:
    """Carry an operation over the public way of a server, and close it."""
    ways = TransportSet(FlashSettings.from_connection_string(ConnectionString.parse(sandbox.connection_string)))
    (public,) = (way for way in ways.choose(ways._settings) if way.name == "public")
    try:
        return await perform(public, document(input=variables) if variables else document(), soon())
    finally:
        await ways.aclose()


async def only_public(bench: Bench, **options: object) -> Sandbox:
    """Start a server where no other way works."""
    return await bench.sandbox(ws_mutations="decline", http_bearer="reject", **options)


async def test_own_invoice_becomes_one_on_its_behalf(bench: Bench) -> None:
    """The mutation is another, its answer stands where it was asked for, and the server counts it as what it is."""
    sandbox = await only_public(bench)
    evidence = await carried(
        sandbox, INVOICE_CREATE_USD, walletId=sandbox.wallet_id, amount=Decimal(63), memo="x", expiresIn=1
    )
    assert isinstance(evidence, Answer)
    assert evidence.data is not None
    assert evidence.data[str(INVOICE_CREATE_USD.field)]["invoice"]["paymentRequest"].startswith("ln")
    assert operations(sandbox, IN_PUBLIC) == {"http": 1}


@pytest.mark.parametrize("document", [INVOICE_CREATE_USD, INVOICE_CREATE_ON_BEHALF])
async def test_no_invoice_for_another_s_wallet(bench: Bench, document: Document) -> None:
    """The server would make it, so the driver does not ask: only ids that the account itself has just named."""
    sandbox = await only_public(bench)
    name = "walletId" if document is INVOICE_CREATE_USD else "recipientWalletId"
    evidence = await carried(sandbox, document, **{name: sandbox.stranger_wallet_id, "amount": Decimal(63)})
    assert evidence == NotConnected("the account does not name this wallet as its own", Cause.INVALID)
    assert operations(sandbox, IN_PUBLIC) == {}


@pytest.mark.parametrize("amount", [Decimal(0), Decimal(-1), None, "1"])
async def test_no_invoice_over_nothing(bench: Bench, amount: object) -> None:
    """The server passes a zero on to the custodian, so nothing but an amount above zero is sent."""
    sandbox = await only_public(bench)
    evidence = await carried(sandbox, INVOICE_CREATE_USD, walletId=sandbox.wallet_id, amount=amount)
    assert evidence == NotConnected("an invoice in public needs an amount above zero", Cause.INVALID)
    assert operations(sandbox, IN_PUBLIC) == {}


async def test_no_usdt_wallet_before_the_move(bench: Bench) -> None:
    """Before the move such an invoice would credit a wallet that nobody sees; the account does not name it yet."""
    sandbox = await only_public(bench, wallets=("USD", "USDT"))
    hidden = sandbox.wallet_ids["USDT"]
    evidence = await carried(sandbox, INVOICE_CREATE_USD, walletId=hidden, amount=Decimal(63))
    assert isinstance(evidence, NotConnected)


async def test_account_and_balance_by_socket(bench: Bench) -> None:
    """What the account is and holds comes by socket, network and price beside it in public."""
    sandbox = await only_public(bench)
    account = await carried(sandbox, ACCOUNT)
    assert isinstance(account, Answer)
    assert account.data is not None
    assert account.data["me"]["defaultAccount"]["defaultWalletId"] == sandbox.wallet_id
    assert account.data["globals"]["network"] == "regtest"
    assert account.data["realtimePrice"]["btcSatPrice"]["base"] > 0
    balance = await carried(sandbox, BALANCE)
    assert isinstance(balance, Answer)
    assert balance.data is not None
    assert balance.data["me"]["defaultAccount"]["wallets"][0]["balance"] == 1_000_000


@pytest.mark.parametrize("document", [INVOICE_CREATE_NO_AMOUNT, INVOICE_CREATE_BTC, PAY, FEE_PROBE, TRANSACTIONS])
async def test_what_needs_the_token_is_not_sent(bench: Bench, document: Document) -> None:
    """Amountless invoices, payments, fees and receipts can't be had in public: nothing of them is written."""
    sandbox = await only_public(bench)
    assert await carried(sandbox, document) == NotConnected("not possible without the token over HTTP", Cause.UNSUITED)
    assert sandbox.ledger_snapshot()["connections"]["http_requests"] == 0


async def test_a_dead_token_makes_no_invoice(bench: Bench) -> None:
    """When the socket does not know the token, nothing is made, however well the wallet was known before."""
    sandbox = await only_public(bench)
    sandbox.expire_session()
    evidence = await carried(sandbox, INVOICE_CREATE_USD, walletId=sandbox.wallet_id, amount=Decimal(63))
    outcome = classify(ME, evidence)
    assert isinstance(outcome, NotExecuted)
    assert outcome.cause is Cause.CREDENTIAL
    assert operations(sandbox, IN_PUBLIC) == {}


async def test_no_request_shows_the_token() -> None:
    """A refused bearer makes even public fields answer 401, so none is sent; the capability is."""
    reply = Reply(Answer({"realtimePrice": {}}), '{"data":{"realtimePrice":{}}}')
    async with posted(replying(reply)) as site:
        values = {"token": "ory_st_c0ffee", "server": site.url, "allowinsecure": "true"}
        settings = FlashSettings.from_connection_string(ConnectionString("flash", values))
        ways = TransportSet(settings)
        (public,) = (way for way in ways.choose(settings) if way.name == "public")
        assert await perform(public, PRICE(), soon()) == reply.means
        await ways.aclose()
    ((_, headers, _),) = site.requests
    assert "c0ffee" not in str(headers)
    assert headers["x-flash-client-capabilities"] == "cash-wallet-usdt-v1"
