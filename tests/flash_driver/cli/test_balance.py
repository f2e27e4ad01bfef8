from __future__ import annotations

from typing import TYPE_CHECKING

from connection_strings import LightMoney, LightningNodeBalance
from connection_strings.lightning import OffchainBalance
from flash_driver.client import FlashLightningClient

if TYPE_CHECKING:
    import pytest

    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox


async def test_balance_is_told_in_its_currency_and_in_satoshi(cli: Commands, sandbox: StartSandbox) -> None:
    """A dollar wallet is shown in dollars, with what they are worth and when the price was struck."""
    await sandbox()
    ended = await cli("balance")
    assert ended.status == 0
    dollars, about = ended.out.splitlines()
    assert dollars == "10,000.00 USD"
    assert about.startswith("about 10,2")
    assert about.endswith("UTC")


async def test_balance_for_programs(cli: Commands, sandbox: StartSandbox) -> None:
    """A program gets whole millisatoshi, and decimals as texts."""
    await sandbox()
    ended = await cli("balance", "--json")
    assert type(ended.json["balance_msat"]) is int
    assert ended.json["estimate"]["currency"] == "USD"
    assert isinstance(ended.json["estimate"]["minor_units"], str)


async def test_balance_in_bitcoin_needs_no_estimate(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wallet that holds bitcoin is shown as it is."""
    await sandbox()

    async def get_balance(_client: object) -> LightningNodeBalance:
        return LightningNodeBalance(offchain=OffchainBalance(local=LightMoney.from_sat(1234)))

    monkeypatch.setattr(FlashLightningClient, "get_balance", get_balance)
    assert (await cli("balance")).out == "1,234 sat\n"
    assert (await cli("balance", "--json")).json == {"balance_msat": 1_234_000, "estimate": None}
