"""One invoice of the server: asked for in the wallet's own terms, within the budget, and checked."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from bolt11 import decode

from connection_strings import (
    CreateInvoiceParams,
    LightMoney,
    NotSupported,
)
from connection_strings.errors import (
    AmountMismatch,
    BackendUnavailable,
    InvalidReply,
    InvalidRequest,
    RateLimited,
    RequestRefused,
)
from flash_driver.common.deadline import Deadline
from flash_driver.invoices.budget import ON_ITS_WAY
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.settings.process import ProcessSettings
from tests.support.driver import operations
from tests.support.invoices import ANY, BEHALF, METADATA, SATS, USD, created, lnurl, of_sat, orphans
from tests.support.logs import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from flash_driver.sandbox import Sandbox
    from flash_driver.wallets import ChosenWallet
    from tests.support.driver import Bench

# --- what the server made is checked ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["network", "payment_hash"])
async def test_wrong_invoice_never_reaches_the_host(bench: Bench, what: str) -> None:
    """An invoice for another network or hash than asked is refused and kept nowhere; the next one is right."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("wrong_invoice", what=what)
    with pytest.raises(InvalidReply):
        await client.create_invoice(of_sat(1000))
    assert await client.list_invoices() == []
    assert await orphans(client) == []
    await client.create_invoice(of_sat(1000))


async def test_wrong_amount_is_corrected_and_teaches_nothing(bench: Bench) -> None:
    """An invoice over twice the amount becomes an orphan, and the next request is as good as before."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    await client.create_invoice(lnurl(10_000_000))
    before = created(sandbox)
    sandbox.arm("wrong_invoice", what="amount")
    invoice = await client.create_invoice(lnurl(5_000_000))
    assert invoice.amount == LightMoney.from_sat(5_000)
    assert created(sandbox) == before + 2
    assert (await orphans(client))[-1].amount_msat == 10_000_000


async def test_wrong_description_hash_is_noticed(bench: Bench) -> None:
    """A commitment to another description counts as none."""
    sandbox = await bench.sandbox(description_hash="honour")
    client = await bench.client(sandbox, description_hash="require")
    sandbox.arm("wrong_invoice", what="description_hash")
    with pytest.raises(NotSupported):
        await client.create_invoice(lnurl(1_000_000))


async def test_own_network_overrides_the_servers_word(bench: Bench) -> None:
    """Where the process is set to mainnet, a regtest invoice is refused, whatever the server calls itself."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(network="bitcoin", invoice_budget=None))
    with pytest.raises(InvalidReply, match="for the network regtest, expected bitcoin"):
        await client.create_invoice(of_sat(1000))


# --- description -----------------------------------------------------------------------------------------------------


async def test_description_hash_is_committed_to(bench: Bench) -> None:
    """Where the server honours it, the BOLT11 commits to the SHA-256 of the description (LUD-06)."""
    sandbox = await bench.sandbox(description_hash="honour")
    client = await bench.client(sandbox, description_hash="require")
    with recorded() as story:
        invoice = await client.create_invoice(lnurl(1_000_000))
    assert decode(invoice.bolt11).description_hash == hashlib.sha256(METADATA.encode()).hexdigest()
    assert [entry for entry in story.entries if entry["log_level"] == "warning"] == []


async def test_given_hash_is_committed_to_as_it_is(bench: Bench) -> None:
    """A hash whose text only somebody else knows goes to the server untouched, over exactly the amount asked for."""
    sandbox = await bench.sandbox(description_hash="honour")
    client = await bench.client(sandbox, description_hash="require")
    asked = CreateInvoiceParams(LightMoney.from_sat(12_345), "shown if need be", description_hash="cd" * 32)
    invoice = await client.create_invoice(asked)
    assert decode(invoice.bolt11).description_hash == "cd" * 32
    assert invoice.amount == LightMoney.from_sat(12_345)


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_given_hash_that_is_dropped_is_told_or_refused(bench: Bench, policy: str) -> None:
    """Where the server drops it, the description stands in its place, or there is no invoice, as the client is set."""
    client = await bench.client(await bench.sandbox(), description_hash=policy)
    asked = CreateInvoiceParams(LightMoney.from_sat(1_000), "shown instead", description_hash="cd" * 32)
    if policy == "require":
        with pytest.raises(NotSupported, match="leaves the description hash out"):
            await client.create_invoice(asked)
        return
    with recorded() as story:
        invoice = await client.create_invoice(asked)
    assert decode(invoice.bolt11).description == "shown instead"
    assert story.entry("the invoice carries no description hash")["payment_hash"] == invoice.payment_hash


async def test_missing_description_hash_is_told(bench: Bench) -> None:
    """Today's Flash drops it: by default the invoice carries the readable text instead, and the log says so once."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with recorded() as story:
        invoice = await client.create_invoice(lnurl(1_000_000))
    assert decode(invoice.bolt11).description == "Pay to shop"
    assert story.entry("the invoice carries no description hash")["payment_hash"] == invoice.payment_hash


@pytest.mark.parametrize("amount", [1000, 0])
async def test_required_description_hash_is_insisted_on(bench: Bench, amount: int) -> None:
    """With `description-hash=require` no invoice without it is handed out; the one that was made is an orphan."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, description_hash="require")
    with pytest.raises(NotSupported, match="leaves the description hash out"):
        await client.create_invoice(
            CreateInvoiceParams(LightMoney.from_sat(amount), METADATA, description_hash_only=True)
        )
    assert len(await orphans(client)) == 1
    assert await client.list_invoices() == []


async def test_memo_is_cut_and_the_text_kept(bench: Bench) -> None:
    """The custodian takes fifty characters; the journal keeps all of them."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    description = "coffee " * 7 + "\U0001f469\u200d\U0001f373 and a cake that is far too long for any memo"
    invoice = await client.create_invoice(of_sat(1000, description))
    assert decode(invoice.bolt11).description == "coffee " * 6 + "coffee\u2026"
    record = await client._account().journal.find_invoice(invoice.id)
    assert record is not None
    assert record.description == description


async def test_half_a_character_is_refused(bench: Bench) -> None:
    """A description that no encoding can carry is the caller's mistake, told before anything is sent."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    with pytest.raises(InvalidRequest, match="description"):
        await client.create_invoice(of_sat(1000, "\ud83d"))
    assert operations(sandbox, "me") == {}


async def test_expiry_is_the_bolt11s(bench: Bench) -> None:
    """Flash lets invoices live for a minute whatever is asked; route hints are the custodian's affair."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    invoice = await client.create_invoice(of_sat(1000, expiry=timedelta(hours=9), private_route_hints=True))
    asked = decode(invoice.bolt11)
    assert invoice.expires_at.timestamp() == asked.date + 60


# --- amountless ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [None, LightMoney.ZERO])
async def test_amountless_invoice(bench: Bench, amount: LightMoney | None) -> None:
    """No amount, or zero, makes an invoice whose payer chooses; the server does not limit those, so neither do we."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, process=ProcessSettings(invoice_budget=InvoiceBudget(1, 120)))
    for _ in range(3):
        invoice = await client.create_invoice(CreateInvoiceParams(amount, "tip"))
        assert invoice.amount is None
        assert decode(invoice.bolt11).amount_msat is None
    assert operations(sandbox, ANY) == {"websocket": 3}
    await client.create_invoice(of_sat(1000))


# --- wallets ---------------------------------------------------------------------------------------------------------


async def test_btc_wallet_is_asked_in_satoshi(bench: Bench) -> None:
    """A BTC wallet gets its satoshi in one request; a fraction of one is rounded up within the tolerance."""
    sandbox = await bench.sandbox(btc_wallet=True)
    client = await bench.client(sandbox, currency="BTC")
    assert (await client.create_invoice(lnurl(1_000_000))).amount == LightMoney.from_sat(1000)
    assert (await client.create_invoice(of_sat(Decimal("1000.5")))).amount == LightMoney.from_sat(1001)
    assert operations(sandbox, SATS) == {"websocket": 2}


@pytest.mark.parametrize("params", [lnurl(1500), of_sat(Decimal("1.5"))])
async def test_btc_wallet_has_no_fraction_of_a_satoshi(bench: Bench, params: CreateInvoiceParams) -> None:
    """Where rounding up will not do, both neighbours are named and nothing is asked of the server."""
    sandbox = await bench.sandbox(btc_wallet=True)
    client = await bench.client(sandbox, currency="BTC")
    with pytest.raises(AmountMismatch) as mismatch:
        await client.create_invoice(params)
    assert mismatch.value.available_msat == (1000, 2000)
    assert operations(sandbox, SATS) == {}


async def test_btc_wallet_with_a_wrong_amount(bench: Bench) -> None:
    """There is no rate to correct in a BTC wallet: another amount is an orphan, and the end of it."""
    sandbox = await bench.sandbox(btc_wallet=True)
    client = await bench.client(sandbox, currency="BTC")
    sandbox.arm("wrong_invoice", what="amount")
    with pytest.raises(AmountMismatch, match="could have had: 2000000 msat"):
        await client.create_invoice(of_sat(1000))
    assert len(await orphans(client)) == 1


async def test_server_without_btc_invoices_says_so(bench: Bench) -> None:
    """Flash itself answers that it does not support BTC wallets; its words reach the host."""
    sandbox = await bench.sandbox(wallets=("USD", "BTC"))
    client = await bench.client(sandbox, currency="BTC")
    with pytest.raises(RequestRefused, match="does not support BTC wallets"):
        await client.create_invoice(of_sat(1000))


async def test_usdt_wallet(bench: Bench) -> None:
    """A USDT wallet has a rate book of its own, with its own resolution."""
    sandbox = await bench.sandbox(wallets=("USDT",), invoice_unit="sat")
    client = await bench.client(sandbox, currency="USDT")
    assert (await client.create_invoice(lnurl(1_000_000))).amount == LightMoney.from_sat(1000)
    record = (await client._account().journal.list_invoices())[0]
    assert record.currency == "USDT"
    assert record.wallet_id == sandbox.wallet_ids["USDT"]
    assert record.cents is not None
    assert record.cents == round(record.cents, 4)


# --- the limit of new invoices ---------------------------------------------------------------------------------------


async def test_own_budget_spares_the_servers_block(bench: Bench) -> None:
    """The limit is met before it is hit: the server, which would block for five minutes, is not asked."""
    sandbox = await bench.sandbox(rate_limit="2/120")
    client = await bench.client(sandbox, process=ProcessSettings(invoice_budget=InvoiceBudget(2, 120)))
    for _ in range(2):
        await client.create_invoice(of_sat(1000))
    with pytest.raises(RateLimited) as refusal:
        await client.create_invoice(of_sat(1000))
    assert timedelta(seconds=120) < refusal.value.retry_after <= timedelta(seconds=120) + ON_ITS_WAY
    assert operations(sandbox, USD) == {"websocket": 2}


async def test_budget_is_shared_by_processes_through_the_journal(bench: Bench, tmp_path: Path) -> None:
    """Two processes on one journal keep to one budget: each has its own memory, and neither passes the limit alone."""
    sandbox = await bench.sandbox()
    process = ProcessSettings.model_validate(
        {"journal_url": f"sqlite+aiosqlite:///{tmp_path}/journal.db", "invoice_budget": "2/120"}
    )
    ours, theirs = [await bench.client(sandbox, process=process) for _ in range(2)]
    await ours.create_invoice(of_sat(1000))
    await theirs.create_invoice(of_sat(1000))
    for client in (ours, theirs):
        with pytest.raises(RateLimited):
            await client.create_invoice(of_sat(1000))
    assert sum(operations(sandbox, USD).values()) == 2


@pytest.mark.parametrize("code", ["TOO_MANY_REQUEST", "TOO_MANY_REQUESTS"])
@pytest.mark.parametrize("channel", ["payload", "top"])
async def test_servers_limit_is_understood_in_both_spellings(bench: Bench, code: str, channel: str) -> None:
    """When the server refuses, nothing is asked of it until its block is over."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation=USD, code=code, message="Too many", channel=channel)
    for _ in range(2):
        with pytest.raises(RateLimited) as refusal:
            await client.create_invoice(of_sat(1000))
        assert timedelta(seconds=290) < refusal.value.retry_after <= timedelta(seconds=300)
    assert operations(sandbox, USD) == {"websocket": 1}


async def test_a_request_that_was_written_costs_a_point_whatever_came_of_it(bench: Bench) -> None:
    """A lost answer makes the driver ask once more over the next transport: that is two requests, and two points."""
    sandbox = await bench.sandbox(rate_limit="3/120")
    client = await bench.client(sandbox, process=ProcessSettings(invoice_budget=InvoiceBudget(3, 120)))
    await client.warm_up()
    sandbox.arm("reset", operation=USD, when="after_execute")
    await client.create_invoice(of_sat(1000))
    await client.create_invoice(of_sat(1000))
    with pytest.raises(RateLimited, match="the driver's budget"):
        await client.create_invoice(of_sat(1000))
    assert len(sandbox.ledger_snapshot()["invoices"]) == 3


async def test_what_was_not_executed_costs_nothing(bench: Bench) -> None:
    """While the server executes nothing no point is used up: when it does again, the whole budget is there."""
    sandbox = await bench.sandbox()
    process = ProcessSettings(invoice_budget=InvoiceBudget(2, 120))
    client = await bench.client(sandbox, process=process, transports="websocket,http,graphql")
    await client.create_invoice(of_sat(1000))
    sandbox.arm("error", operation=USD, code="NOT_AUTHENTICATED", channel="top", count=100)
    for _ in range(5):
        with pytest.raises(BackendUnavailable):
            await client.create_invoice(of_sat(1000))
    sandbox.clear_faults()
    await client.create_invoice(of_sat(1000))
    with pytest.raises(RateLimited):
        await client.create_invoice(of_sat(1000))


async def test_an_lnurl_invoice_uses_the_accounts_own_limit(bench: Bench) -> None:
    """One invoice shows that the server drops the description hash; from then on the own mutation makes them."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    for _ in range(4):
        await client.create_invoice(lnurl(1_000_000))
    assert operations(sandbox, BEHALF) == {"websocket": 1}


async def test_a_server_that_keeps_the_hash_goes_on_being_asked_for_it(bench: Bench) -> None:
    """Where the hash is kept each LNURL invoice carries it."""
    sandbox = await bench.sandbox(description_hash="honour")
    client = await bench.client(sandbox)
    made = [await client.create_invoice(lnurl(1_000_000)) for _ in range(3)]
    assert [decode(invoice.bolt11).description for invoice in made] == [None] * 3
    assert operations(sandbox, USD) == {}


@pytest.mark.parametrize("policy", ["prefer", "require"])
async def test_a_public_limit_used_up_by_strangers(bench: Bench, policy: str) -> None:
    """An LNURL invoice is then made with the account's own mutation, and nothing else is stopped.

    Where the hash is required there is no other way: it has to wait.
    """
    sandbox = await bench.sandbox(description_hash="honour")
    client = await bench.client(sandbox, description_hash=policy)
    sandbox.arm("error", operation=BEHALF, code="TOO_MANY_REQUEST", message="Too many", count=100)
    for _ in range(3):
        if policy == "require":
            with pytest.raises(RateLimited, match=r"on behalf of this account until .* UTC, because"):
                await client.create_invoice(lnurl(1_000_000))
        else:
            assert (await client.create_invoice(lnurl(1_000_000))).amount == LightMoney.from_sat(1000)
    await client.create_invoice(of_sat(1000))
    assert operations(sandbox, BEHALF) == {"websocket": 1}


async def test_a_hash_that_is_required_and_dropped_is_asked_for_once(bench: Bench) -> None:
    """After one invoice has shown that the server leaves the hash out, no more are made in vain."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, description_hash="require")
    for _ in range(3):
        with pytest.raises(NotSupported, match="leaves the description hash out"):
            await client.create_invoice(lnurl(1_000_000))
    assert created(sandbox) == 1


# --- the move from USD to USDT ---------------------------------------------------------------------------------------


async def test_follows_the_account_to_its_new_wallet(bench: Bench) -> None:
    """A refusal after the move makes the driver look again: the invoice is made in the USDT wallet, in its terms."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    client = await bench.client(sandbox)
    await client.create_invoice(of_sat(1000))
    move(sandbox)
    sandbox.arm("error", operation=USD, code="INVALID_INPUT", message="The wallet has moved")
    with recorded() as story:
        await client.create_invoice(of_sat(1000))
    assert story.entry("the account has another wallet by now")["currency"] == "USDT"
    assert [each.currency for each in await client._account().journal.list_invoices()] == ["USD", "USDT"]


async def test_wallet_that_keeps_moving(bench: Bench) -> None:
    """A wallet that moves twice during one call is an error to try again after, not an endless chase."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    client = await bench.client(sandbox)
    usd = await client._account().wallets.choose(Deadline.after(40))
    usdt = replace(usd, id=sandbox.wallet_ids["USDT"])
    sandbox.arm("error", operation=USD, code="INVALID_INPUT", message="The wallet has moved", count=2)
    turns = iter([usdt, usd])

    async def moved_from(_wallet_id: str, _deadline: Deadline) -> ChosenWallet:
        return next(turns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client._account().wallets, "moved_from", moved_from)
        with pytest.raises(RequestRefused, match="being moved"):
            await client.create_invoice(of_sat(1000))


async def test_refusal_for_another_reason_stays_one(bench: Bench) -> None:
    """When the wallet is still the same, the server's words reach the host, and nothing is asked twice."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation=USD, code="INVALID_INPUT", message="No such luck")
    with pytest.raises(RequestRefused, match="No such luck"):
        await client.create_invoice(of_sat(1000))
    assert operations(sandbox, USD) == {"websocket": 1}


async def test_amountless_invoice_looks_for_a_moved_wallet(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server routes no amountless invoice to the new wallet, so one that is remembered for long is looked up."""
    monkeypatch.setattr("flash_driver.invoices.creation._FRESH", timedelta(0))
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    client = await bench.client(sandbox)
    await client.create_invoice(of_sat(1000))
    move(sandbox)
    await client.create_invoice(of_sat(1000))
    await client.create_invoice(CreateInvoiceParams(description="tip"))
    assert [each.currency for each in await client._account().journal.list_invoices()] == ["USD", "USD", "USDT"]


def move(sandbox: Sandbox) -> None:
    """Let the server complete its move of wallets."""
    sandbox.set_cutover("COMPLETE")
