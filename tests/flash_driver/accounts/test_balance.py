"""The balance in millisatoshi: an estimate wherever the wallet holds dollars, and marked as one."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from connection_strings import LightMoney
from connection_strings.errors import LightningError
from tests.support.driver import operations
from tests.support.invoices import lnurl
from tests.support.waiting import HELD, until

if TYPE_CHECKING:
    from tests.support.driver import Bench


@pytest.mark.parametrize("wallets", [("USD",), ("USDT",)])
async def test_dollars_are_an_estimate(bench: Bench, wallets: tuple[str, ...]) -> None:
    """What the cents are worth at the server's price, with the rate and its time."""
    sandbox = await bench.sandbox(wallets=wallets, balance_cents=Decimal("97531.86"), usd_per_btc=Decimal("97531.86"))
    client = await bench.client(sandbox)
    balance = await client.get_balance()
    assert balance.offchain.local == LightMoney.from_sat(1_000_000)
    assert balance.estimate is not None
    assert balance.estimate.currency == wallets[0]
    assert balance.estimate.minor_units == Decimal("97531.86")
    assert balance.estimate.minor_units_per_sat == Decimal("0.09753186")
    assert abs(balance.estimate.rate_time - datetime.now(UTC)) < timedelta(minutes=1)


async def test_price_is_asked_for_beside_the_balance(bench: Bench) -> None:
    """A server that takes two seconds for an answer takes two for a balance, not four."""
    sandbox = await bench.sandbox(ws_mutations="decline")
    client = await bench.client(sandbox)
    await client.get_balance()
    asked = sum(operations(sandbox, "realtimePrice").values())
    sandbox.arm("delay", operation="me", when="before_execute", seconds=HELD, count=10)
    reading = asyncio.create_task(client.get_balance())
    await until(lambda: sum(operations(sandbox, "realtimePrice").values()) > asked)
    sandbox.clear_faults()
    with contextlib.suppress(LightningError):  # what became of it after a pause of the machine is not the question
        await reading


async def test_satoshi_are_no_estimate(bench: Bench) -> None:
    """A BTC wallet's balance is what it says."""
    sandbox = await bench.sandbox(btc_wallet=True, balance_cents=Decimal(4321))
    client = await bench.client(sandbox, currency="BTC")
    balance = await client.get_balance()
    assert balance.offchain.local == LightMoney.from_sat(4321)
    assert balance.estimate is None


async def test_external_wallet_is_not_counted(bench: Bench) -> None:
    """Money that Flash does not hold is no part of the balance; pending money is not asked about."""
    sandbox = await bench.sandbox(external_wallet=True, balance_cents=Decimal(1000))
    client = await bench.client(sandbox)
    balance = await client.get_balance()
    assert balance.estimate is not None
    assert balance.estimate.minor_units == 1000


async def test_price_down_uses_what_was_learned(bench: Bench) -> None:
    """Without a price now, the rate known from before serves, and its time tells how old it is."""
    sandbox = await bench.sandbox(balance_cents=Decimal(1000))
    client = await bench.client(sandbox)
    await client.create_invoice(lnurl(10_000_000))
    sandbox.arm("error", operation="realtimePrice", message="Price service is down", channel="top", count=100)
    balance = await client.get_balance()
    assert balance.offchain.local is not None
    assert 10_200_000 < balance.offchain.local.msat < 10_300_000


async def test_price_down_from_the_start_is_an_error(bench: Bench) -> None:
    """Without any rate there is no number that could be shown."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    sandbox.arm("error", operation="realtimePrice", message="Price service is down", channel="top", count=100)
    with pytest.raises(LightningError):
        await client.get_balance()


async def test_info_invents_nothing(bench: Bench) -> None:
    """Of the custodian's node nothing is known: no height, no peers, no channels (flash-server.md 3.11)."""
    sandbox = await bench.sandbox()
    client = await bench.client(sandbox)
    info = await client.get_info()
    assert (info.block_height, info.peers_count, info.active_channels_count, list(info.node_uris)) == (
        0,
        None,
        None,
        [],
    )
