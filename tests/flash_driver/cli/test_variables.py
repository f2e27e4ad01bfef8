from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flash_driver.cli.variables import misspelt_variables

if TYPE_CHECKING:
    from tests.flash_driver.cli.commands import Commands
    from tests.flash_driver.conftest import StartSandbox


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLASH_SETLE_ON", "FLASH_SETTLE_ON"),
        ("FLASH_JOURNAL", "FLASH_JOURNAL_URL"),
        ("FLASH_INVOICES_BUDGET", "FLASH_INVOICE_BUDGET"),
    ],
)
def test_what_was_probably_meant_is_told(name: str, meant: str) -> None:
    """A name that is nearly one of ours is told together with ours."""
    assert misspelt_variables([name]) == [f"nothing reads the environment variable {name}; did you mean {meant}?"]


@pytest.mark.parametrize(
    "name", ["FLASH_SETTLE_ON", "FLASH_CONNECTION_STRING", "FLASH_SANDBOX_TOKEN", "FLASH_X", "HOME"]
)
def test_other_names_are_nobody_s_business(name: str) -> None:
    """What is read, and what belongs to other programs, is passed over."""
    assert misspelt_variables([name]) == []


async def test_command_tells_it_and_goes_on(
    cli: Commands, sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt variable is a note on standard error, without its value; the command does what it does."""
    await sandbox()
    monkeypatch.setenv("FLASH_JOURNAL", "postgresql+asyncpg://me:hunter2@host/shop")
    ended = await cli("balance", "--json")
    assert ended.status == 0
    assert ended.json["balance_msat"] > 0
    assert ended.err == "note: nothing reads the environment variable FLASH_JOURNAL; did you mean FLASH_JOURNAL_URL?\n"
