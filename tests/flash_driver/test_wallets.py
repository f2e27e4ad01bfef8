"""Which wallet is used: the one asked for, else the default one, and never one that is not the account's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from connection_strings import LightMoney
from connection_strings.errors import BackendUnavailable, ConnectionStringError, RateLimited, RequestRefused
from flash_driver.common.deadline import Deadline
from flash_driver.flash_api.replies import AccountReply, Wallet
from flash_driver.settings.account import FlashSettings
from flash_driver.wallets import choose_wallet
from tests.support.driver import operations
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.driver import Bench

USD, USDT, BTC, FOREIGN, CASHU = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(1, 6))
WALLETS = (Wallet(USD, "USD", is_external=False), Wallet(USDT, "USDT", is_external=False))
EXTERNAL = Wallet(CASHU, "BTC", is_external=True)


def account(*wallets: Wallet, default: str = USD) -> AccountReply:
    """Make an account as the server tells of it."""
    return AccountReply(account_id="account", default_wallet_id=default, wallets=wallets, network="regtest", price=None)


def settings(**keys: str) -> FlashSettings:
    """Make settings with some keys of a connection string."""
    return FlashSettings.model_validate({"token": "ory_st_x", **{key.replace("_", "-"): keys[key] for key in keys}})


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ({}, USD),
        ({"currency": "USDT"}, USDT),
        ({"currency": "usd"}, USD),
        ({"wallet_id": USDT}, USDT),
        ({"wallet_id": USDT.upper()}, USDT),
        ({"wallet_id": USDT, "currency": "USDT"}, USDT),
    ],
)
def test_the_wallet_asked_for(keys: dict[str, str], chosen: str) -> None:
    """The connection string's wallet or currency decides, else the account's default wallet."""
    wallet = choose_wallet(account(*WALLETS, EXTERNAL), settings(**keys))
    assert wallet.id == chosen
    assert wallet.network == "regtest"
    assert wallet.account_wallet_ids == (USD, USDT, CASHU)


def test_unusable_default_wallet() -> None:
    """When the default wallet is external or gone, the first that can be used is."""
    assert choose_wallet(account(EXTERNAL, *WALLETS, default=CASHU), settings()).id == USD
    assert choose_wallet(account(*WALLETS, default=FOREIGN), settings()).id == USD


def test_currency_of_the_future() -> None:
    """A wallet in a currency that this driver does not know is passed over, not guessed at."""
    future = Wallet(FOREIGN, "XAU", is_external=False)
    assert choose_wallet(account(future, *WALLETS, default=FOREIGN), settings()).id == USD
    with pytest.raises(RequestRefused, match="no wallet that can receive"):
        choose_wallet(account(future, EXTERNAL), settings())


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ({"wallet_id": FOREIGN}, "wallet-id", "names no wallet of this account"),
        ({"wallet_id": CASHU}, "wallet-id", "names an external wallet"),
        ({"wallet_id": USD, "currency": "USDT"}, "currency", "asks for USDT, the wallet of 'wallet-id' holds USD"),
        ({"currency": "BTC"}, "currency", "asks for BTC, but the account's wallets hold: USD, USDT"),
    ],
)
def test_wallets_that_cannot_be_used(keys: dict[str, str], key: str, words: str) -> None:
    """A wallet of somebody else's, an external one, or one in another currency is refused, naming the key."""
    with pytest.raises(ConnectionStringError, match=words) as refusal:
        choose_wallet(account(*WALLETS, EXTERNAL), settings(**keys))
    assert refusal.value.key == key
    assert FOREIGN not in str(refusal.value)


def test_account_without_any_wallet() -> None:
    """An account that holds nothing is said to hold nothing."""
    with pytest.raises(ConnectionStringError, match="hold: nothing that this driver knows"):
        choose_wallet(account(), settings(currency="USD"))


# --- against a server ------------------------------------------------------------------------------------------------


async def test_strangers_wallet_is_refused(bench: Bench) -> None:
    """Another user's wallet is refused before an invoice could credit it."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox, wallet_id=sandbox.stranger_wallet_id)
    with pytest.raises(ConnectionStringError, match="names no wallet of this account"):
        await client.validate()


async def test_external_wallet_is_refused(bench: Bench) -> None:
    """A wallet that Flash only links to can't be invoiced for."""
    sandbox = await bench.sandbox(external_wallet=True)
    (external,) = (each for each in sandbox._bank.owner.wallets if each.external)
    client = await bench.client(sandbox, wallet_id=external.id)
    with pytest.raises(ConnectionStringError, match="names an external wallet"):
        await client.validate()


@pytest.mark.parametrize(
    ("cutover", "currency"), [("PRE", "USD"), ("IN_PROGRESS", "USD"), ("COMPLETE", "USDT"), ("ROLLED_BACK", "USD")]
)
async def test_default_wallet_through_the_move(bench: Bench, cutover: str, currency: str) -> None:
    """A client that says it understands the move is shown the wallet that counts at each stage."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"), cutover=cutover)
    client = await bench.client(sandbox)
    wallet = await client._account().wallets.choose(Deadline.after(40))
    assert wallet.currency == currency
    assert wallet.id == sandbox.wallet_ids[currency]


@pytest.mark.parametrize("named", ["wallet_id", "currency", "both"])
async def test_what_the_string_names_follows_the_move(bench: Bench, named: str) -> None:
    """USD and USDT are one cash wallet: a string that names the old one goes on working, with a warning."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    old = {"wallet_id": sandbox.wallet_ids["USD"], "currency": "USD"}
    keys: dict[str, Any] = dict(old) if named == "both" else {named: old[named]}
    client = await bench.client(sandbox, **keys)
    assert (await client.get_balance()).estimate is not None
    sandbox.set_cutover("COMPLETE")
    with capture_logs() as entries:
        balance = await client.get_balance()
        await client.validate()
        await client.create_invoice(LightMoney.from_sat(1000))
        tip = await client.create_invoice(LightMoney.from_sat(0))
    assert balance.estimate is not None
    assert balance.estimate.currency == "USDT"
    assert len([entry for entry in entries if "moved the account's cash wallet" in entry["event"]]) == 1
    record = await client._account().journal.find_invoice(tip.id)
    assert record is not None
    assert record.wallet_id == sandbox.wallet_ids["USDT"]


async def test_an_account_that_is_being_moved(bench: Bench) -> None:
    """Meanwhile everything is to be tried again, and nothing is called wrong with the connection string."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    client = await bench.client(sandbox, currency="USD")
    sandbox.set_cutover("IN_PROGRESS", "MOVING")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="cutover is in progress"):
            await client.create_invoice(LightMoney.from_sat(1000))


@dataclass
class Clock:
    """A clock that a test sets."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


async def test_account_is_looked_up_once_for_all_and_again_when_old(bench: Bench) -> None:
    """Many who ask at once share one request; ten minutes later, or where fresher is wanted, it is repeated."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    wallets = client._account().wallets
    clock = wallets._clock = Clock()
    deadline = Deadline.after(20)
    await asyncio.gather(*(wallets.choose(deadline) for _ in range(20)))
    assert operations(sandbox, "me") == {"websocket": 1}
    clock.now += timedelta(minutes=9)
    await wallets.choose(deadline)
    assert operations(sandbox, "me") == {"websocket": 1}
    await wallets.choose(deadline, at_most_old=timedelta(minutes=1))
    assert operations(sandbox, "me") == {"websocket": 2}
    clock.now += timedelta(minutes=11)
    await wallets.choose(deadline)
    assert operations(sandbox, "me") == {"websocket": 3}
    clock.now -= timedelta(days=1)
    await wallets.choose(deadline)
    assert operations(sandbox, "me") == {"websocket": 4}


async def test_nobody_waits_longer_than_he_said_for_anothers_look_up(bench: Bench) -> None:
    """While a caller with much time looks the account up, one with little is told at his own deadline."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    wallets = client._account().wallets
    sandbox.arm("delay", seconds=60, operation="me", count=99)
    patient = asyncio.create_task(wallets.choose(Deadline.after(30)))
    await until(wallets._known.looking_up.locked)
    with pytest.raises(BackendUnavailable, match="another look-up took all the time") as caught:
        await wallets.choose(Deadline.after(0.05))
    assert caught.value.executed is False
    assert not patient.done()
    patient.cancel()


async def test_moved_from(bench: Bench) -> None:
    """After a refusal the account is looked up again; only another wallet counts as a move."""
    sandbox = await bench.sandbox(wallets=("USD", "USDT"))
    client = await bench.client(sandbox)
    wallets = client._account().wallets
    old = await wallets.choose(Deadline.after(40))
    assert await wallets.moved_from(old.id, Deadline.after(40)) is None
    sandbox.set_cutover("COMPLETE")
    new = await wallets.moved_from(old.id, Deadline.after(40))
    assert new is not None
    assert new.currency == "USDT"
    asked = operations(sandbox, "me")["websocket"]
    assert await wallets.moved_from(old.id, Deadline.after(40)) == new
    assert operations(sandbox, "me")["websocket"] == asked


async def test_price_that_fails_does_not_hide_the_account(bench: Bench) -> None:
    """The price is part of the same answer; when it fails the account is asked for alone."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation="realtimePrice", message="Price service is down", channel="top")
    wallet = await client._account().wallets.choose(Deadline.after(40))
    assert wallet.id == sandbox.wallet_id


async def test_rate_limit_on_the_account_is_not_asked_around(bench: Bench) -> None:
    """Where the server limits the look-up, asking for less of it would only make things worse."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation="me", code="TOO_MANY_REQUESTS", message="Too many", channel="top")
    with pytest.raises(RateLimited):
        await client._account().wallets.choose(Deadline.after(40))
    assert operations(sandbox, "me") == {"websocket": 1}
